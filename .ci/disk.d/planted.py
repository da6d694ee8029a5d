"""A destination that others can write to, and what one of them puts there before the daemon does:
planted.py DAEMON EMULATOR DIRECTORY PLANT."""

import os
import sys
from pathlib import Path

from filesystems import mount
from inbox import HIDDEN, PATIENCE, Daemon, Drive, Place
from report import Report
from world import eventually

US, THEM, SHARE = 30_001, 30_002, 30_003
MEGABYTE = 1_000_000
AS_US = ["setpriv", f"--reuid={US}", f"--regid={US}", f"--groups={SHARE}"]


def theirs(path):
    os.chown(path, THEM, THEM, follow_symlinks=False)


def link_to_their_folder(root, home):
    folder = home / "their-folder"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    theirs(folder)
    (root / HIDDEN).symlink_to(folder)
    theirs(root / HIDDEN)
    return folder


def link_to_our_state(root, home):
    """A way to write among the daemon's own files."""
    (root / HIDDEN).symlink_to(home / "home")
    theirs(root / HIDDEN)
    return home / "home"


def their_folder(root, _home):
    folder = root / HIDDEN
    folder.mkdir()
    folder.chmod(0o777)
    theirs(folder)
    return folder


def their_fifo(root, home):
    """Whoever opens it for reading waits until somebody writes to it."""
    folder = their_folder(root, home)
    os.mkfifo(folder / "marker", 0o666)
    theirs(folder / "marker")
    return folder


def our_folder_with_a_fifo(root, _home):
    """As it is left when somebody could write there for a moment."""
    folder = root / HIDDEN
    folder.mkdir(mode=0o700)
    os.chown(folder, US, US)
    os.mkfifo(folder / "marker", 0o600)
    os.chown(folder / "marker", US, US)
    return folder


def remove(root, home):
    hidden = root / HIDDEN
    if hidden.is_symlink():
        hidden.unlink()
    elif hidden.exists():
        hidden.rename(home / "planted")


def play(report, binary, emulator, home, plant):
    root = home / "videos"
    root.mkdir()
    os.chown(root, US, SHARE)
    root.chmod(0o2770)
    (home / "home").mkdir()
    os.chown(home / "home", US, US)
    folder = plant(root, home)
    before = set(os.listdir(folder))
    with Drive(emulator, home) as drive:
        drive.credentials.chmod(0o755)
        for path in drive.credentials.iterdir():
            path.chmod(0o644)
        # It is not ready, so nothing tells when it has begun to watch the folder.
        options = {"existing": "download", "ready": "livez"}
        with Daemon(binary, drive, home / "home", [(drive.inbox, root)], AS_US, **options) as daemon:
            place = Place(root, daemon, report)
            film = drive.put("film.mp4", size=MEGABYTE)
            try:
                said = eventually("word", lambda: [said for said in daemon.says() if HIDDEN in said], PATIENCE)
                report.true(f"it says: {said[0]}", True)
            except TimeoutError:
                report.true("it says that the folder is not its own", False, daemon.says())
            report.equal("nothing came through it", [path for path in place.files() if path.endswith(".mp4")], [])
            ours = {name for name in set(os.listdir(folder)) - before if name.startswith("marker") or "part" in name}
            report.equal("nothing is written to it", ours, set())
            is_ready = daemon.ask("readyz") is not None
            report.true("the daemon is not ready meanwhile", not is_ready)
            remove(root, home)
            place.holds("the file is delivered once that is gone", [film], PATIENCE + 30)
            if report.failed:
                print("what the daemon logged:", *daemon.logged(), sep="\n    ")


def swapped(report, binary, emulator, home):
    """A part becomes a link, or another file, while it comes."""
    root, secret = home / "videos", home / "secret"
    root.mkdir()
    secret.write_bytes(b"token")
    swaps = {"link": lambda part: part.symlink_to(secret), "file": lambda part: part.write_bytes(b"x")}
    with Drive(emulator, home) as drive, Daemon(binary, drive, home / "home", [(drive.inbox, root)]) as daemon:
        place = Place(root, daemon, report)
        files = []
        for name, swap in swaps.items():
            drive.rate(MEGABYTE)
            files.append(drive.put(f"{name}.mp4", size=3 * MEGABYTE))
            eventually("a megabyte of it", lambda: daemon.received(files[-1]) > MEGABYTE, PATIENCE)
            part = root / HIDDEN / place.parts()[0]
            part.unlink()
            swap(part)
            drive.rate(None)
            if name == "link":
                said = eventually("word", lambda: [said for said in daemon.says() if part.name in said], PATIENCE)
                report.true(f"it says: {said[0]}", True)
                report.equal("nothing comes meanwhile", list(place.files()), [])
                part.unlink()
            place.holds(f"a part became another {name}, and the right file is delivered", files, PATIENCE + 30)
            report.equal("nothing is written to what it was linked to", secret.read_bytes(), b"token")
        if report.failed:
            print("what the daemon logged:", *daemon.logged(), sep="\n    ")


def planted(plant):
    return lambda *told: play(*told, plant)


PLANTS = {
    "link": planted(link_to_their_folder),
    "link-to-state": planted(link_to_our_state),
    "folder": planted(their_folder),
    "fifo": planted(their_fifo),
    "own-fifo": planted(our_folder_with_a_fifo),
    "swapped": swapped,
}


def main():
    binary, emulator, home = (Path(argument) for argument in sys.argv[1:4])
    report = Report()
    # Everybody may enter it, unlike the directory that it is in: others are who this is about.
    mount("-t", "tmpfs", "-o", "size=200m,mode=755", "none", home)
    os.chdir(home)
    # The program itself may lie where only its maker may go.
    (home / "daemon").touch()
    mount("--bind", binary, home / "daemon")
    binary = home / "daemon"
    name = sys.argv[4]
    with report.part(f"planted: {name}"):
        PLANTS[name](report, binary, emulator, home)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
