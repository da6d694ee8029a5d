"""The same ten files on one kind of disk: ten.py DAEMON EMULATOR DIRECTORY DISK."""

import os
import re
import sys
from pathlib import Path

from filesystems import DISKS, LONG, TALK, NotHere, mount, unmount
from inbox import HIDDEN, PATIENCE, Daemon, Drive, Place
from report import Report
from world import eventually

MEGABYTE = 1_000_000
FILM = "film.mp4"
# (folder, name) as Drive has them. "Elsewhere" is on another file system below the destination.
TEN = [
    ("", "plain.mp4"),
    ("", TALK),
    ("", LONG),
    ("", "trailing dot."),
    ("", "Same.mp4"),
    ("", "same.mp4"),
    ("", FILM),
    ("Trip", "Grüße aus Köln 🎬.mp4"),
    ("Day 1: noon?", "first.mp4"),
    ("Elsewhere", "second.mp4"),
]


def words(path):
    """What a person recognises a name by, whatever a file system makes of the rest."""
    stem = re.sub(r"\.mp4$", "", path)
    return re.sub(r"[\W_]+", "", stem).casefold()


class Stage:
    """A disk with a destination, another file system in one of its folders, and a daemon."""

    def __init__(self, daemon, emulator, home, kind, report):
        self.report, self.disk = report, DISKS[kind](home)
        self.root, self.other = self.disk.path / "videos", home / "other"
        self.root.mkdir(exist_ok=True)
        self.other.mkdir()
        mount("-t", "tmpfs", "-o", "size=20m", "none", self.other)
        self.below = self.root / "Elsewhere"
        self.below.mkdir()
        self.attach_other()
        self.drive = Drive(emulator, home)
        self.folders = {"": None}
        for folder in ("Trip", "Day 1: noon?", "Elsewhere"):
            self.folders[folder] = self.drive.directory(folder)
        self.accepted = {name: self.accepts(name) for _, name in TEN}
        self.daemon = Daemon(daemon, self.drive, home / "home", [(self.drive.inbox, self.root)])
        self.place = Place(self.root, self.daemon, report)
        self.mine = []

    def attach_other(self):
        mount("--bind", self.other, self.below)

    def accepts(self, name):
        """Whether the disk takes this name as it is, below or beside others."""
        path = self.root / name.rstrip(".")
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except OSError as error:
            print(f"    {self.disk.__class__.__name__} refuses {name!r}: {error.strerror}")
            return False
        os.close(descriptor)
        path.unlink()
        return True

    def detach(self):
        unmount(self.below)
        self.disk.detach()

    def attach(self):
        self.disk.attach()
        self.attach_other()

    def all(self):
        """Every content that has to be there."""
        return [*self.files.values(), *self.mine]

    def close(self):
        self.daemon.__exit__()
        self.drive.__exit__()


def delivered(stage):
    """All ten, under their names where the disk takes them, else under names that a person recognises."""
    for name in stage.disk.refuses:
        stage.report.true(f"this disk refuses {name[:20]!r}, or else nothing is shown here", not stage.accepted[name])
    stage.files = {}
    for folder, name in TEN:
        size = 12 * MEGABYTE if name == FILM else 1000
        stage.files[folder, name] = stage.drive.put(name, stage.folders[folder], size) | {"name": name}
    found = stage.place.holds("ten files are delivered, each once", stage.files.values())
    at = {checksum: path for path, checksum in found.items()}
    for (folder, name), file in stage.files.items():
        if file.get("lost"):
            continue
        path = at.get(file["sha256Checksum"])
        wanted = os.path.join(folder, name.rstrip("."))
        if stage.accepted[name] and name.casefold() != "same.mp4" and "?" not in folder:
            stage.report.equal(f"{wanted[:40]} has its name", path, wanted)
            continue
        is_known = path and words(os.path.basename(path)).startswith(words(name)[:60])
        keeps_ending = path and (path.endswith(".mp4") or not name.endswith(".mp4"))
        stage.report.true(f"{wanted[:40]} can be recognised and keeps its ending", is_known and keeps_ending, path)
    stage.paths = set(found)


def revised(stage, **sizes):
    """New contents of all ten. Where one cannot take the place of the earlier one, that stays."""
    for key, file in stage.files.items():
        if file.get("lost"):
            continue
        if key[1] in getattr(stage.disk, "keeps", ()):
            at = next(path for path, checksum in stage.place.files().items() if checksum == file["sha256Checksum"])
            stage.mine.append({"id": at, "sha256Checksum": file["sha256Checksum"]})
        size = sizes.get("film", 1000) if key[1] == FILM else 1000
        stage.files[key] = stage.drive.change(file, size) | {"name": key[1]}


def replaced(stage, claim):
    found = stage.place.holds(claim, stage.all())
    # When it fails to, ntfs-3g leaves a second name, cut to what exceeds 256 bytes.
    kept = tuple(name[:13] for name in getattr(stage.disk, "keeps", ()))
    grown = {path for path in set(found) - stage.paths if not path.startswith(kept)}
    stage.report.true("and took their earlier places", not grown, sorted(path[:60] for path in grown))
    stage.paths |= grown


def resumed(stage):
    """New contents of all ten; killed in the middle of the largest, while the disk is attached anew."""
    stage.drive.rate(MEGABYTE)
    revised(stage, film=12 * MEGABYTE)
    film = stage.files["", FILM]
    # What has come in the last second may not be durable yet.
    eventually("four megabytes of it", lambda: stage.daemon.received(film) > 4 * MEGABYTE, PATIENCE)
    stage.daemon.kill()
    before = len(stage.drive.fetched(film))
    stage.detach()
    stage.attach()
    stage.drive.rate(None)
    stage.daemon.start()
    replaced(stage, "ten new contents came, one of them across a kill and a mount")
    later = stage.drive.fetched(film)[before:]
    sent = sum(request["bytesSent"] for request in later)
    stage.report.true("the download went on where it was", 0 < sent < film["size"] - MEGABYTE, sent)


def changed_again(stage):
    """The disk was attached anew since: its inode numbers may be others."""
    revised(stage)
    replaced(stage, "ten newer contents came after that")


def edited(stage):
    """A file that its user has changed stays, and the newer content comes beside it."""
    plain = stage.files["", "plain.mp4"]
    at = next((path for path, checksum in stage.place.files().items() if checksum == plain["sha256Checksum"]), None)
    if at is None:
        return stage.report.true("there is a file to edit", False)
    path = stage.root / at
    path.write_bytes(b"edited by its user")
    before = stage.place.files()[at]
    stage.mine.append({"id": at, "sha256Checksum": before})
    stage.files["", "plain.mp4"] = stage.drive.change(plain) | {"name": "plain.mp4"}
    found = stage.place.holds("a new content of an edited file came beside it", stage.all())
    stage.report.equal("which stayed as it was", found.get(at), before)
    stage.paths = set(found)


def taken_away(stage):
    """Somebody clears the hidden folder while a file comes."""
    stage.drive.rate(MEGABYTE)
    file = stage.drive.put("cleared.mp4", size=4 * MEGABYTE) | {"name": "cleared.mp4"}
    stage.files["", "cleared.mp4"] = file
    eventually("a megabyte of it", lambda: stage.daemon.received(file) > MEGABYTE, PATIENCE)
    for name in stage.place.parts():
        (stage.root / HIDDEN / name).unlink()
    stage.drive.rate(None)
    stage.place.holds("a file whose part was taken away is delivered", stage.all())


def adopted(stage):
    """What lies there already with the same bytes is not fetched once more, and stays its user's file."""
    content = b"made earlier with another tool" * 50
    (stage.root / "copy.mp4").write_bytes(content)
    known = stage.daemon.known()
    file = stage.drive.write("copy.mp4", content) | {"name": "copy.mp4"}
    eventually("delivery of it", lambda: stage.daemon.known() > known, PATIENCE)
    stage.files["", "copy.mp4"] = file
    found = stage.place.holds("a file that lies at its place already is not doubled", stage.all())
    stage.report.equal("and not downloaded", len(stage.drive.fetched(file)), 0)
    copies = [path for path in found if found[path] == file["sha256Checksum"]]
    stage.report.equal("it keeps its name", copies, ["copy.mp4"])
    stage.mine.append({"id": "copy.mp4", "sha256Checksum": file["sha256Checksum"]})
    stage.files["", "copy.mp4"] = stage.drive.change(file) | {"name": "copy.mp4"}
    stage.place.holds("a newer content comes beside it", stage.all())


def says_read_only(daemon):
    return [said for said in daemon.says() if "read-only" in said]


def healed(stage):
    """A disk that becomes read-only, for what is new and for what is replaced."""
    stage.disk.read_only()
    try:
        key = "", "late.mp4"
        stage.files[key] = stage.drive.put(key[1]) | {"name": key[1]}
        said = eventually("word about it", lambda: says_read_only(stage.daemon), PATIENCE)
        stage.report.true(f"it says: {said[0]}", True)
    finally:
        stage.disk.read_only("rw")
    # A destination that is held is looked at again every half minute.
    stage.place.holds("what waited for the disk is delivered", stage.all(), PATIENCE + 30)


def main():
    daemon, emulator, home = (Path(argument) for argument in sys.argv[1:4])
    kind = sys.argv[4]
    report = Report()
    try:
        stage = Stage(daemon, emulator, home, kind, report)
    except NotHere as why:
        print(f"NOT RUN {kind}: {why}")
        return 0
    for part in (delivered, resumed, changed_again, edited, adopted, taken_away, healed):
        with report.part(f"{kind}: {part.__name__.replace('_', ' ')}"):
            part(stage)
    if report.failed:
        print(f"{kind}: what the daemon logged:", *stage.daemon.logged(), sep="\n    ")
    stage.close()
    stage.detach()
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
