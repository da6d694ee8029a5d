"""Folders below a destination to which nothing can be renamed: below.py DAEMON EMULATOR DIRECTORY DISK."""

import os
import sys
from pathlib import Path

from filesystems import DISKS, NotHere, mount, run
from inbox import Daemon, Drive, Place
from report import Report


def other_disk(root, home):
    (home / "other").mkdir()
    mount("-t", "tmpfs", "-o", "size=20m", "none", home / "other")
    mount("--bind", home / "other", root)


def same_disk(root, home):
    """The device is the same, and the kernel refuses all the same."""
    aside = home / "disk/aside"
    aside.mkdir()
    mount("--bind", aside, root)


def project(root, _home):
    """A folder with a quota of its own."""
    run("chattr", "-p", "42", "+P", root)


WAYS = {"another disk": other_disk, "the same disk, mounted again": same_disk, "a project of its own": project}


def refuses(root, folder):
    """Whether a rename from the destination to this folder is refused."""
    probe = root / "probe"
    probe.touch()
    try:
        os.rename(probe, root / folder / "probe")
    except OSError as error:
        probe.unlink()
        return error.strerror
    (root / folder / "probe").unlink()
    return None


def play(report, drive, daemon, place, folder):
    parent = drive.folders[folder]
    files = [drive.put(f"{n}.mp4", parent, 100_000) | {"name": f"{folder}/{n}.mp4"} for n in range(3)]
    beside = drive.put("beside.mp4")
    found = place.holds(f"what goes to {folder} is delivered, and what goes beside it", [*place.kept, *files, beside])
    if any(file.get("lost") for file in files):
        place.kept.append(beside)
        return
    names = {path for path in found if path.startswith(folder)}
    report.equal("under its names", names, {f"{folder}/{n}.mp4" for n in range(3)})
    files = [drive.change(file, 100_000) for file in files]
    found = place.holds("new contents take their places", [*place.kept, *files, beside])
    report.equal("and no others", {path for path in found if path.startswith(folder)}, names)
    (place.root / folder / "0.mp4").write_bytes(b"edited by its user")
    edited = {"id": "edited", "sha256Checksum": place.files()[f"{folder}/0.mp4"]}
    files[0] = drive.change(files[0], 100_000)
    found = place.holds("a newer content of an edited one comes beside it", [*place.kept, *files, edited, beside])
    report.equal("which stays", found.get(f"{folder}/0.mp4"), edited["sha256Checksum"])
    hidden = [name for name in os.listdir(place.root / folder) if name.startswith(".")]
    report.equal("nothing hidden is left there", hidden, [])
    place.kept += [*files, edited, beside]


def main():
    binary, emulator, home = (Path(argument) for argument in sys.argv[1:4])
    kind = sys.argv[4]
    report = Report()
    try:
        disk = DISKS[kind](home)
    except NotHere as why:
        print(f"NOT RUN {kind}, folders on other file systems: {why}")
        return 0
    root = disk.path / "videos"
    root.mkdir()
    with Drive(emulator, home) as drive:
        drive.folders = {}
        ways = {folder: way for folder, way in WAYS.items() if way is not project or disk.projects}
        for folder, way in ways.items():
            (root / folder).mkdir()
            way(root / folder, home)
            said = refuses(root, folder)
            report.true(f"nothing can be renamed to {folder}: {said}", said)
            drive.folders[folder] = drive.directory(folder)
        with Daemon(binary, drive, home / "home", [(drive.inbox, root)]) as daemon:
            place = Place(root, daemon, report)
            place.kept = []
            for folder in ways:
                with report.part(f"{kind}: a folder below is {folder}"):
                    play(report, drive, daemon, place, folder)
            if report.failed:
                print(f"{kind}: what the daemon logged:", *daemon.logged(), sep="\n    ")
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
