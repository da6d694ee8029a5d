"""Starts the emulator, lets both clients at it, and counts: run.py EMULATOR RCLONE DIRECTORY."""

import os
import signal
import sys
from pathlib import Path

from emulator import Emulator
from report import Report


def google(emulator, report, home, rclone):
    import google_client

    google_client.run(emulator, report)


def rclone(emulator, report, home, rclone):
    import rclone_client

    rclone_client.run(emulator, report, home, rclone)


def main():
    binary, rclone_binary, home = (Path(argument).resolve() for argument in sys.argv[1:4])
    # Nothing here leaves the machine, so no proxy of the surroundings may have a say.
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("RCLONE_", "GOOGLE_")):
            del os.environ[name]
    # Whoever ends this ends the emulator too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    report = Report()
    for title, part in (("Google's Python client", google), ("rclone", rclone)):
        with report.part(title), Emulator(binary, home) as emulator:
            part(emulator, report, home, rclone_binary)
            report.equal("the emulator ends cleanly", emulator.stop(), 0)
    sys.exit(report.close())


main()
