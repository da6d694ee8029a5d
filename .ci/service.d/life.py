"""The service is killed, frozen and stopped, and fails."""

import os
import signal
import time

from container import Unit, timed
from machine import VIDEOS

MEGABYTE = 1_000_000
# Shorter than in the unit, to shorten the test.
SOON = "[Service]\nRestartSec=200ms\n"


def everything(machine):
    killed(machine)
    frozen(machine)
    stopped(machine)
    codes(machine)
    unwritable(machine)


def slow_download(machine, name):
    """A file that is being downloaded, with a part of it on the disk."""
    machine.emulator.control("settings", {"rate": 4 * MEGABYTE})
    machine.upload(name, 20 * MEGABYTE)

    def some():
        return any(transfer["received"] > 5 * MEGABYTE for transfer in machine.status()["transfers"])

    machine.service.until("first megabytes", some)


def killed(machine):
    report, service = machine.report, machine.service
    service.drop_in("soon", SOON)
    slow_download(machine, "killed.mp4")
    before = len(machine.emulator.requests("files.media"))
    restarts = int(service.show("NRestarts"))
    opened = machine.socket.show("ActiveEnterTimestampMonotonic")
    os.kill(service.pid(), signal.SIGKILL)
    service.until("restart", lambda: int(service.show("NRestarts")) == restarts + 1 and service.active())
    machine.delivered("killed.mp4")
    machine.emulator.control("settings", {"rate": None})
    ranges = [request["range"] for request in machine.emulator.requests("files.media")[before:]]
    starts = [int(asked.removeprefix("bytes=").split("-")[0]) for asked in ranges if asked]
    report.true(
        f"killed by kill -9, it goes on at byte {min(starts, default=0)}",
        len(starts) == len(ranges) and min(starts, default=0) > MEGABYTE, ranges,
    )  # fmt: skip
    report.equal("its socket was open all the time", machine.socket.show("ActiveEnterTimestampMonotonic"), opened)


def frozen(machine):
    report, service = machine.report, machine.service
    service.drop_in("soon", SOON + "WatchdogSec=2\nTimeoutAbortSec=1\n")
    machine.container.output("systemctl", "restart", service.name)
    machine.ready()
    time.sleep(3)
    report.equal("a daemon that makes progress is not restarted", service.show("NRestarts"), "0")
    cursor, pid = service.now(), service.pid()
    os.kill(pid, signal.SIGSTOP)

    def again():
        return service.show("NRestarts") == "1" and service.active()

    _, seconds = timed(lambda: service.until("restart", again, 20))
    said = service.journal(cursor)
    report.true(f"frozen, it is restarted after {seconds:.1f} s", "atchdog" in said, said)
    machine.ready()
    machine.upload("after-the-frost.mp4", 1000)
    machine.delivered("after-the-frost.mp4")
    service.no_drop_in("soon")


def stopped(machine):
    report, service, container = machine.report, machine.service, machine.container
    machine.container.output("systemctl", "restart", service.name)
    machine.ready()
    slow_download(machine, "stopped.mp4")
    _, seconds = timed(lambda: container.output("systemctl", "stop", service.name))
    report.true(f"stopped in the middle of a download, it ends in {seconds:.1f} s", seconds < 5)
    report.equal("by itself", service.show("Result", "ExecMainStatus"), ["success", "0"])
    left = sorted(path.name for path in (container.root / "var/lib/gdrive-webhook").glob("state.db*"))
    report.true(f"its database is closed: {left}", "state.db" in left and "state.db-wal" not in left, left)
    report.true("its webhook address is closed too", machine.closed())
    machine.emulator.control("settings", {"rate": None})
    container.output("systemctl", "start", service.name)
    machine.delivered("stopped.mp4")


def codes(machine):
    """The exit code decides whether it is restarted."""
    report, service = machine.report, machine.service
    for code in (64, 77, 78):
        service.drop_in("ends", f"{SOON}ExecStart=\nExecStart=/bin/sh -c 'exit {code}'\n")
        service.control("restart")
        time.sleep(1)
        state = service.show("ActiveState", "ExecMainStatus", "NRestarts")
        report.equal(f"after {code} it is not restarted", state, ["failed", str(code), "0"])
        report.equal("and nobody listens", machine.listens(), False)
    service.drop_in("ends", f"{SOON}ExecStart=\nExecStart=/bin/sh -c 'exit 1'\n")
    service.control("restart")
    service.until("third restart", lambda: int(service.show("NRestarts")) > 2)
    report.true("after 1 it is restarted", True)
    service.drop_in("ends", "[Unit]\nStartLimitBurst=5\n" + SOON + "ExecStart=\nExecStart=/bin/sh -c 'exit 1'\n")
    service.until("end of the restarts", lambda: service.show("ActiveState") == "failed")
    report.true("but not more often than StartLimitBurst", True)
    service.no_drop_in("ends")
    # The real ones.
    service.drop_in("ends", f"{SOON}ExecStart=\nExecStart=/usr/bin/gdrive-webhook run --nonsense\n")
    machine.container.output("systemctl", "reset-failed", service.name)
    service.control("start")
    report.equal("wrong usage is 64", service.show("ExecMainStatus", "NRestarts"), ["64", "0"])
    service.no_drop_in("ends")
    service.drop_in("ends", SOON + "User=nobody-of-this-name\n")
    service.control("start")
    report.equal("without its user it fails once", service.show("ActiveState", "ExecMainStatus", "NRestarts"),
                 ["failed", "217", "0"])  # fmt: skip
    service.no_drop_in("ends")
    machine.container.output("systemctl", "reset-failed", service.name)
    machine.container.output("systemctl", "start", service.name)
    report.true(f"then it comes up again: {machine.ready()}", True)


def unwritable(machine):
    """The message about a destination that cannot be used."""
    report, container = machine.report, machine.container
    container.output("chown", "root:root", VIDEOS)
    machine.upload("held.mp4", 1000)
    said = machine.says(f"{VIDEOS} cannot be used", 60)
    report.true(f"its line: {said}", "gdrive-webhook" in said or "chown" in said or "ermission" in said, said)
    report.true("it is not ready", machine.program("status", "--check").returncode)
    container.output("chown", "gdrive-webhook:videos", VIDEOS)
    container.output("chmod", "2750", VIDEOS)
    machine.delivered("held.mp4", seconds=60)
    report.true(f"its line: {machine.ready(60)}", True)


def ngrok(machine):
    """A program of that name that says how it was called."""
    report, container, service = machine.report, machine.container, machine.service
    unit = Unit(container, "gdrive-webhook-ngrok.service")
    container.write("/usr/local/bin/ngrok", '#!/bin/sh\necho "called with: $*"\nexec sleep infinity\n', 0o755)
    environment = "NGROK_AUTHTOKEN=secret\nNGROK_ARGUMENTS=--url=https://a.example\n"
    container.write("/etc/gdrive-webhook/ngrok.environment", environment, 0o600)
    container.output("systemctl", "enable", "--now", unit.name)
    unit.until("ngrok that runs", unit.active)
    wanted = "called with: http --log=stdout --log-format=logfmt --url=https://a.example 127.0.0.1:8080"
    unit.until("its call in the journal", lambda: wanted in unit.journal())
    report.true(wanted, True)
    pid = unit.show("MainPID")
    container.output("systemctl", "restart", service.name)
    report.equal("a restart of the daemon leaves it alone", unit.show("MainPID"), pid)
    container.output("systemctl", "stop", service.name)
    unit.until("end of ngrok", lambda: unit.show("ActiveState") == "inactive")
    container.output("systemctl", "start", service.name)
    unit.until("ngrok that runs again", unit.active)
    report.true("it ends and starts with the daemon", True)
    container.output("systemctl", "disable", "--now", unit.name)
