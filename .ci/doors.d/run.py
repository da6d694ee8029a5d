"""Connections held open at both addresses of the daemon: run.py DAEMON EMULATOR DIRECTORY."""

import contextlib
import hashlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from report import Report
from strangers import COUNT, KINDS, Strangers, may_hold_so_many
from world import HTTP, Emulator, Service, eventually, free_port

FILES = 1024
# The longest acceptable answer time, on a machine that is busy with strangers.
AT_ONCE = 1.0
STOP = 2.0
# The limit for all connections of one address together. By default Linux keeps 4 MiB for one that does not read.
KERNEL = 32 << 20


class Daemon(Service):
    def __init__(self, binary, emulator, home):
        self.home, self.videos, self.log = home, home / "videos", home / "log"
        home.mkdir()
        self.public, self.private = free_port(), free_port()
        config = home / "gdrive-webhook.toml"
        config.write_text(
            f"[google]\n"
            f'credentials = "{emulator.credentials}/service-account.json"\n'
            f'api_url = "{emulator.url}"\n'
            f'[webhook]\nlisten = "127.0.0.1:{self.public}"\npublic_url = "http://127.0.0.1:{self.public}"\n'
            f'[state]\nurl = "sqlite:{home}/state.db"\n'
            f'[admin]\nlisten = "127.0.0.1:{self.private}"\n'
            f'[[folder]]\nid = "{emulator.inbox}"\ndestination = "{self.videos}"\n'
        )
        with open(self.log, "w") as log:
            super().__init__(
                [binary, "--config", config, "run"], cwd=home, env={"PATH": os.environ["PATH"]},
                stdout=log, stderr=log, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES)),
            )  # fmt: skip
        eventually("daemon that is ready", lambda: self.check() or self.ask("readyz"))

    def status(self):
        return json.loads(self.ask("api/status"))["process"]

    def full_since(self, name):
        return next(found["full_since"] for found in self.status()["addresses"] if found["name"] == name)

    def kernel(self, port):
        """The kernel's memory for the connections of an address: bytes to be read, to be sent, and reserved."""
        found = subprocess.run(["ss", "-tmnOHa", f"( sport = :{port} )"], check=True, capture_output=True, text=True)
        sizes = re.findall(r"skmem:\(r(\d+),rb\d+,t(\d+),tb\d+,f(\d+),w(\d+)", found.stdout)
        return sum(int(size) for connection in sizes for size in connection), len(sizes)

    def stop(self):
        """Seconds from SIGTERM to the end, and the exit code."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        return time.monotonic() - began, code


def notify(daemon, channel):
    """The answer to a notification, and the seconds that it took, including the connection."""
    request = (
        "POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"
        f"X-Goog-Channel-ID: {channel['id']}\r\nX-Goog-Channel-Token: {channel['token']}\r\n"
        "X-Goog-Resource-State: change\r\n\r\n"
    )
    began, answer = time.monotonic(), b""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", daemon.public), timeout=10) as caller:
        caller.sendall(request.encode())
        while read := caller.recv(1000):
            answer += read
    return answer.split(b"\r\n")[0].decode(), time.monotonic() - began


def timed(call):
    began = time.monotonic()
    return call(), time.monotonic() - began


def at_work(report, daemon, emulator, channel, name):
    """All requests of people and Google."""
    answers = []
    for _ in range(20):
        answers.append(notify(daemon, channel))
        time.sleep(0.05)
    slowest = max(took for _, took in answers)
    report.equal("each of 20 notifications is answered", {said for said, _ in answers}, {"HTTP/1.1 204 No Content"})
    report.true(f"the slowest took {slowest * 1000:.0f} ms", slowest < AT_ONCE, slowest)
    file = emulator.upload(name, 1_000_000, emulator.inbox)
    began = time.monotonic()
    eventually(f"{name} at the destination", lambda: daemon.check() or (daemon.videos / name).exists())
    took = time.monotonic() - began
    found = hashlib.sha256((daemon.videos / name).read_bytes()).hexdigest()
    report.equal(f"a file is delivered in {took * 1000:.0f} ms", found, file["sha256Checksum"])
    answers = [timed(lambda: daemon.ask("api/status")) for _ in range(5)]
    slowest = max(took for _, took in answers)
    report.true("the admin address answers each time", all(found for found, _ in answers))
    report.true(f"the slowest took {slowest * 1000:.0f} ms", slowest < AT_ONCE, slowest)
    process = daemon.status()
    report.true(f"{process['open_files']} of {FILES} files are open", process["open_files"] < FILES * 3 // 4, process)
    for address, port in (("webhook", daemon.public), ("admin", daemon.private)):
        size, count = daemon.kernel(port)
        report.true(f"the kernel keeps {size >> 10} KiB for {count} at the {address} address", size < KERNEL, size)


def hold(report, emulator, binary, home, kind):
    """One kind of strangers, first at one address, then at both, and a stop meanwhile."""
    name = kind.replace(" ", "-")
    with Daemon(binary, emulator, home / name) as daemon:
        channel = eventually("channel", lambda: channel_of(emulator, daemon))
        with Strangers(kind, daemon.public, "/webhook") as callers:
            at_work(report, daemon, emulator, channel, f"{name}-1.mp4")
            report.true("status says that the webhook address is full", daemon.full_since("webhook"))
            report.true("and the admin address is not", not daemon.full_since("admin"))
            with Strangers(kind, daemon.private, "/api/status") as askers:
                at_work(report, daemon, emulator, channel, f"{name}-2.mp4")
                report.true("status says that the admin address is full", daemon.full_since("admin"))
                emulator.control("settings", {"rate": 200_000})
                emulator.upload(f"{name}-3.mp4", 2_000_000, emulator.inbox)
                parts = daemon.videos / ".gdrive-webhook"
                eventually("download that is under way", lambda: daemon.check() or list(parts.glob("*.part")))
                print(f"   strangers opened {callers.opened()} and {askers.opened()} connections", flush=True)
                took, code = daemon.stop()
        emulator.control("settings", {"rate": None})
        report.equal("SIGTERM in the middle of a download: exit code 0", code, 0)
        report.true(f"in {took * 1000:.0f} ms", took < STOP, took)
        left = [path.name for path in (daemon.home / "state.db-wal", daemon.home / "state.db-shm") if path.exists()]
        report.equal("its database is closed", left, [])
        lines = [line for line in daemon.log.read_text().splitlines() if "WARN" in line.upper()]
        report.true(f"the log has {len(lines)} warnings", 1 <= len(lines) <= 4, lines[:10])


def channel_of(emulator, daemon):
    with HTTP.open(f"{emulator.url}/control/channels", timeout=10) as answer:
        found = json.load(answer)["channels"]
    return next((channel for channel in found if f":{daemon.public}/" in channel["address"]), None)


def main():
    daemon, emulator_binary, home = (Path(argument) for argument in sys.argv[1:4])
    may_hold_so_many()
    report = Report()
    with Emulator(emulator_binary, home) as emulator:
        for kind in KINDS:
            with report.part(f"{COUNT} connections: {kind}"):
                hold(report, emulator, daemon, home, kind)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
