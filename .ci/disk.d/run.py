"""All parts side by side, each with mounts of its own: run.py DAEMON EMULATOR DIRECTORY [PART]."""

import re
import subprocess
import sys
import time
from pathlib import Path

from filesystems import DISKS
from planted import PLANTS

HERE = Path(__file__).parent
# Most of the time they wait for disks that are looked at again every half minute.
LIMIT = 460
# name: (program, what it is told)
PARTS = {
    "full": ("full.py",),
    **{f"ten-{kind}": ("ten.py", kind) for kind in DISKS},
    **{f"shared-{kind}": ("shared.py", kind) for kind in ("ext4", "xfs", "btrfs", "tmpfs")},
    **{f"below-{kind}": ("below.py", kind) for kind in ("ext4", "xfs")},
    **{f"planted-{what}": ("planted.py", what) for what in PLANTS},
    "folders": ("folders.py",),
}
COUNTED = re.compile(r"^(\d+) passed, (\d+) failed$", re.M)
NOT_RUN = re.compile(r"^NOT RUN .*", re.M)


class Part:
    def __init__(self, name, home, programs):
        self.name, self.home, self.said = name, home / name, home / f"{name}.said"
        program, *told = PARTS[name]
        self.home.mkdir()
        self.began, self.took = time.monotonic(), None
        with open(self.said, "w") as said:
            command = [sys.executable, HERE / program, *programs, self.home, *told]
            self.process = subprocess.Popen(command, stdout=said, stderr=said)

    def is_over(self):
        if self.process.poll() is None and time.monotonic() - self.began > LIMIT:
            self.process.kill()
            self.process.wait()
        return self.process.poll() is not None

    def outcome(self):
        """How much passed and failed, and what could not be run."""
        said = self.said.read_text(errors="replace")
        print(f"==== {self.name}\n{said}==== {self.name} took {time.monotonic() - self.began:.0f} s\n", flush=True)
        not_run = NOT_RUN.findall(said)
        counted = COUNTED.findall(said)
        passed, failed = map(int, counted[-1]) if counted else (0, 0)
        if self.process.returncode and not failed:
            failed = 1
        if not passed and not failed and not not_run:
            failed = 1
        return passed, failed, not_run


def main():
    programs, home = sys.argv[1:3], Path(sys.argv[3])
    names = sys.argv[4:] or list(PARTS)
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        sys.exit(f"there is no {', '.join(unknown)}; there are {', '.join(PARTS)}")
    running = [Part(name, home, programs) for name in names]
    passed, failed, not_run, broken = 0, 0, [], []
    while running:
        time.sleep(0.2)
        for part in [part for part in running if part.is_over()]:
            running.remove(part)
            outcome = part.outcome()
            passed, failed, not_run = passed + outcome[0], failed + outcome[1], not_run + outcome[2]
            if outcome[1]:
                broken.append(part.name)
    for what in not_run:
        print(what)
    if broken:
        print(f"failed: {', '.join(broken)}")
    print(f"{passed + failed} checks, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
