"""Starts the emulator, lets all clients at it, and counts: run.py EMULATOR RCLONE DAEMON RUST DIRECTORY."""

import os
import signal
import sys
from pathlib import Path

from emulator import Emulator
from report import Report


def google(emulator, report, home, binaries):
    import google_client

    google_client.run(emulator, report)


def rclone(emulator, report, home, binaries):
    import rclone_client

    rclone_client.run(emulator, report, home, binaries["rclone"])


def writers(emulator, report, home, binaries):
    import writers

    writers.run(emulator, report, home, binaries["rclone"])


def rust(emulator, report, home, binaries):
    import rust_client

    rust_client.run(emulator, report, binaries["rust"])


def watching(emulator, report, home, binaries):
    import watching_daemon

    watching_daemon.run(emulator, report, home, binaries["rclone"], binaries["daemon"])


def daemon(emulator, report, home, binaries):
    import proxied_daemon

    proxied_daemon.run(emulator, report, home, binaries["daemon"])


def main():
    binary, rclone_binary, daemon_binary, rust_binary, home = (Path(name).resolve() for name in sys.argv[1:6])
    binaries = {"rclone": rclone_binary, "daemon": daemon_binary, "rust": rust_binary}
    # Nothing here leaves the machine, so no proxy of the surroundings may have a say.
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("RCLONE_", "GOOGLE_")):
            del os.environ[name]
    # Whoever ends this ends the emulator too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    report = Report()
    parts = (("Google's Python client", google), ("rclone", rclone), ("clients that write", writers),
             ("the crate google-drive3", rust), ("the daemon while rclone writes", watching),
             ("the daemon behind a proxy", daemon))
    for title, part in parts:
        with report.part(title), Emulator(binary, home) as emulator:
            part(emulator, report, home, binaries)
            report.equal("the emulator ends cleanly", emulator.stop(), 0)
    sys.exit(report.close())


main()
