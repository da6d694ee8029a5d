"""The package in a Debian that boots systemd: run.py ROOT EMULATOR PACKAGE_BEFORE PACKAGE HOME."""

import sys
from pathlib import Path

import changes
import install
import life
import login
from container import Container
from hardening import Hardening
from machine import Machine
from report import Report
from world import Emulator


def main():
    root, emulator, before, package, home = map(Path, sys.argv[1:])
    report = Report()
    with report.part("the whole"), Emulator(emulator, home) as google, Container(root, home) as container:
        machine = Machine(container, google, report)
        machine.people()
        install.hands_over(machine, before)
        for title, part in [
            ("the package is installed and says what is next", install.first),
            ("the lines of the README bring it up", install.readme),
            ("a media server reads what is delivered", install.media_server),
            ("it survives what is done to it", life.everything),
            ("its file is edited", changes.everything),
            ("a login is needed, and root logs in", login.everything),
            ("ngrok beside it", life.ngrok),
            ("it is restarted a hundred times", install.restarts),
        ]:
            with report.part(title):
                part(machine)
            if not machine.service.active() and part is not install.first:
                report.true("the service runs, so that the other parts can run", False)
                return report.close()
        with report.part("it is upgraded"):
            install.upgrade(machine, package)
        with report.part("each line of the unit forbids something"):
            hardening = Hardening(container, report)
            hardening.exposure()
            hardening.prepare()
            hardening.every_line()
        with report.part("it is removed"):
            install.remove(machine)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
