"""A destination that is shared with a media server, by setgid or by a default access list:
shared.py DAEMON EMULATOR DIRECTORY DISK."""

import os
import struct
import sys
from pathlib import Path

from filesystems import DISKS, NotHere
from inbox import Daemon, Drive, Place
from report import Report

# Nobody of these is on this machine.
MEDIA, VIEWER, STRANGER = 30_001, 30_002, 30_003
NO_ID = 0xFFFFFFFF
READ, WRITE, SEARCH = 4, 2, 1
ALL = READ | WRITE | SEARCH
# The tags of linux/posix_acl.h, in the order that the kernel wants.
OWNER, USER, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x10, 0x20


def access_list(*entries):
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


FOR_THE_VIEWER = access_list(
    (OWNER, ALL, NO_ID), (USER, ALL, VIEWER), (GROUP, ALL, NO_ID), (MASK, ALL, NO_ID), (OTHER, 0, NO_ID)
)


def may(user, groups, root, path, wanted):
    """Whether somebody may do this with a path below `root`, whoever may come to `root` itself."""
    at = os.open(root, os.O_PATH)
    child = os.fork()
    if child == 0:
        os.setgroups(groups)
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        os._exit(0 if os.access(path, wanted, dir_fd=at, effective_ids=True) else 1)
    os.close(at)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def by_group(root):
    os.chown(root, -1, MEDIA)
    root.chmod(0o2750)


def by_list(root):
    root.chmod(0o750)
    for kind in ("access", "default"):
        os.setxattr(root, f"system.posix_acl_{kind}", FOR_THE_VIEWER)


def shows(report, how, root, found):
    """Those that a destination is shared with read every file in it, and nobody else does."""
    user, groups = (STRANGER, [MEDIA]) if how is by_group else (VIEWER, [])
    for path in found:
        has = rights(root / path)
        report.true(f"{path} can be read", may(user, groups, root, path, os.R_OK), has)
        report.true(f"{path} cannot be read by others", not may(STRANGER, [], root, path, os.R_OK), has)
    for folder in {os.path.dirname(path) for path in found} - {""}:
        can = may(user, groups, root, folder, os.R_OK | os.X_OK)
        report.true(f"{folder} can be listed", can, rights(root / folder))
    modes = {path: oct((root / path).stat().st_mode & 0o7) for path in found}
    report.true("nothing is open to everybody", set(modes.values()) <= {"0o0"}, modes)


def rights(path):
    about = path.stat()
    found = {name: os.getxattr(path, name).hex() for name in os.listxattr(path)}
    return f"{oct(about.st_mode)} {about.st_uid}:{about.st_gid} {found}"


def play(report, drive, daemon, root, how, title):
    place = Place(root, daemon, report)
    folder = drive.folders[root]
    trip = drive.directory("Trip", folder)
    files = [drive.put("first.mp4", folder), drive.put("second.mp4", trip)]
    shows(report, how, root, place.holds(f"{title}: two files are delivered", files))
    files[0] = drive.change(files[0])
    shows(report, how, root, place.holds(f"{title}: one has a new content", files))


def main():
    binary, emulator, home = (Path(argument) for argument in sys.argv[1:4])
    kind = sys.argv[4]
    report = Report()
    try:
        disk = DISKS[kind](home)
    except NotHere as why:
        print(f"NOT RUN {kind}, shared: {why}")
        return 0
    ways = {"setgid": by_group, "list": by_list}
    with Drive(emulator, home) as drive:
        drive.folders = {}
        for name, how in ways.items():
            for when in ("before", "later"):
                root = disk.path / f"{name}-{when}"
                root.mkdir(mode=0o750)
                drive.folders[root] = drive.directory(f"{name}-{when}")
                if when == "before":
                    how(root)
        with Daemon(binary, drive, home / "home", [(id, root) for root, id in drive.folders.items()]) as daemon:
            for name, how in ways.items():
                with report.part(f"{kind}: shared by {name} before the first start"):
                    play(report, drive, daemon, disk.path / f"{name}-before", how, name)
                with report.part(f"{kind}: shared by {name} later"):
                    root = disk.path / f"{name}-later"
                    first = drive.put("earlier.mp4", drive.folders[root])
                    Place(root, daemon, report).holds("the first file is delivered before it is shared", [first])
                    (root / "earlier.mp4").unlink()
                    how(root)
                    play(report, drive, daemon, root, how, name)
            if report.failed:
                print(f"{kind}: what the daemon logged:", *daemon.logged(), sep="\n    ")
    disk.detach()
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
