"""How often folders are made durable for a thousand files in a tree three folders deep, as strace sees it:
folders.py DAEMON EMULATOR DIRECTORY."""

import collections
import os
import sys
from pathlib import Path

from filesystems import Ext4
from inbox import HIDDEN, Daemon, Drive, Place
from report import Report
from trace import MOVES, SYNCS, Trace

COUNT = 1000
SHAPE = (4, 5, 5)
CALLS = ["fsync", "fdatasync", "rename", "renameat", "renameat2", "link", "linkat", "mkdir", "mkdirat"]


def tree(drive):
    """The folders at the ends of the tree."""
    level = [drive.inbox]
    for depth, width in enumerate(SHAPE):
        level = [drive.directory(f"folder {depth}-{n}", parent) for parent in level for n in range(width)]
    return level


def above(path, root):
    """The folders from the destination down to the one that this file is in."""
    path = os.path.dirname(path)
    found = [path]
    while path != root:
        path = os.path.dirname(path)
        found.append(path)
    return found


def judge(report, trace, root):
    """Between two looks at the hidden folder lies one batch: those that it made durable are moved after it."""
    hidden = f"{root}/{HIDDEN}"
    batches, moved, batch = collections.defaultdict(set), 0, 0
    syncs, mine = collections.Counter(), set()
    for call in trace.calls:
        if call.name in SYNCS and call.path == hidden:
            batch += bool(mine)
            mine = set()
        elif call.name in SYNCS and call.path and (call.path == root or call.path.startswith(root + "/")):
            syncs[call.path] += 1
        elif call.name in MOVES and call.paths[0].startswith(hidden) and not call.paths[-1].startswith(hidden):
            moved += 1
            mine.add(call.paths[-1])
            for folder in above(call.paths[-1], root):
                batches[folder].add(batch)
    folders = {path: count for path, count in syncs.items() if not path.startswith(hidden) and path in batches}
    report.equal("every file is moved once", moved, COUNT)
    report.true(f"they are moved in batches: {batch + 1}", batch + 1 <= COUNT / 4, batch + 1)
    unsynced = [path for path in batches if not folders.get(path)]
    report.equal("every folder is made durable", unsynced, [])
    wanted, found = sum(map(len, batches.values())), sum(folders.values())
    claim = f"folders are made durable {found} times, once a folder and batch would be {wanted} times"
    report.true(claim, found <= wanted * 1.1, found)
    print(f"    in the hidden folder: {sum(1 for c in trace.calls if c.name in SYNCS and c.path == hidden)}")
    for depth in range(len(SHAPE) + 1):
        at = [path for path in batches if path.count("/") - root.count("/") == depth]
        print(f"    {len(at)} folders {depth} deep: {sum(folders.get(path, 0) for path in at)} times")


def main():
    binary, emulator, home = (Path(argument) for argument in sys.argv[1:4])
    report = Report()
    disk = Ext4(home)
    root = disk.path / "videos"
    root.mkdir()
    traced = home / "trace"
    strace = ["strace", "-f", "-tt", "-y", "-x", "-s", "4096", "--seccomp-bpf", "-o", traced]
    strace += ["-e", "trace=" + ",".join(f"?{name}" for name in CALLS)]
    with report.part("a thousand files in a tree three folders deep"), Drive(emulator, home) as drive:
        ends = tree(drive)
        files = [drive.put(f"{n}.mp4", ends[n % len(ends)]) for n in range(COUNT)]
        with Daemon(binary, drive, home / "home", [(drive.inbox, root)], strace, existing="download") as daemon:
            place = Place(root, daemon, report)
            place.holds("a thousand files are delivered", files, 240)
            pid = int(traced.read_text().split(None, 1)[0])
            os.kill(pid, 15)
            daemon.process.wait(30)
        with open(traced, errors="surrogateescape") as lines:
            lines = [line for line in lines if not line.split(None, 2)[2].startswith(("+++", "---"))]
        judge(report, Trace(lines, home / "home"), str(root))
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
