"""The service in its container, with an emulated Google outside."""

import hashlib
import json
import re
import socket
import threading
import time
from pathlib import Path

from container import Unit
from report import eventually
from world import HTTP

CONFIGURATION = "/etc/gdrive-webhook/gdrive-webhook.toml"
VIDEOS = "/srv/videos"
README = Path("README.md")


def block(name):
    """The README's lines below the comment with this name."""
    found = re.search(rf"<!-- {name} -->\n```sh\n(.*?)```", README.read_text(), re.DOTALL)
    if not found:
        raise RuntimeError(f"README.md has no block `{name}`")
    return found[1]


class Machine:
    def __init__(self, container, emulator, report):
        self.container, self.emulator, self.report = container, emulator, report
        self.service = Unit(container, "gdrive-webhook.service")
        self.socket = Unit(container, "gdrive-webhook.socket")
        self.videos = container.root / VIDEOS.lstrip("/")
        self.sums = {}

    def people(self):
        """The users in the README: one with sudo, and a media server."""
        name = self.container.output("hostname").strip()
        self.container.write("/etc/hosts", f"127.0.0.1 localhost {name}\n")
        self.container.write("/etc/apt/apt.conf.d/proof", 'APT::Get::Assume-Yes "true";\n')
        self.container.output("useradd", "--create-home", "--shell", "/bin/bash", "ann")
        self.container.output("useradd", "--system", "jellyfin")
        self.container.write("/etc/sudoers.d/ann", "ann ALL=(ALL) NOPASSWD: ALL\nDefaults env_keep += SUDO_EDITOR\n")
        # Like an editor: a new file replaces the old one.
        editor = '#!/bin/sh\numask 077 && cp /home/ann/wanted.toml "$1.new" && mv "$1.new" "$1"\n'
        self.container.write("/usr/bin/editor", editor, 0o755)

    def ann(self, text):
        return self.container.run("bash", "-euo", "pipefail", "-c", f"cd && {text}", user="ann")

    def configuration(self, key="credentials.json", folders=(), extra=""):
        folders = "".join(
            f'[[folder]]\nid = "{folder}"\ndestination = "{destination}"\n' for folder, destination in folders
        )
        return (
            f'[google]\ncredentials = "{key}"\napi_url = "{self.emulator.url}"\n'
            f'[webhook]\npublic_url = "http://127.0.0.1:8080"\n'
            # Only notifications and starts find files; downloads use one connection.
            f'[sync]\npoll = "1h"\n[download]\nstreams = 1\nreserve = "1MB"\n{extra}'
            f'[[folder]]\nid = "{self.emulator.inbox}"\ndestination = "{VIDEOS}"\n{folders}'
        )

    def want(self, **wanted):
        """The text that the editor saves."""
        self.container.write("/home/ann/wanted.toml", self.configuration(**wanted))

    def save(self, text=None, **wanted):
        """Saved by root, without the README; its owner and mode stay as the package made them."""
        (self.container.root / CONFIGURATION.lstrip("/")).write_text(text or self.configuration(**wanted))

    def program(self, *arguments, **options):
        """As root types it."""
        return self.container.run("gdrive-webhook", *arguments, **options)

    def status_text(self):
        return self.service.show("StatusText")

    def says(self, words, seconds=30):
        """The line of `systemctl status`, once it has these words."""

        def look():
            said = self.status_text()
            return said if words in said else None

        return self.service.until(f"word of `{words}` in systemctl status", look, seconds)

    def ready(self, seconds=60):
        return self.says("Ready", seconds)

    def upload(self, name, size, parent=None):
        file = self.emulator.upload(name, size, parent or self.emulator.inbox)
        self.sums[name] = file["sha256Checksum"]
        return file

    def delivered(self, name, below="", seconds=30):
        path = self.videos / below / name
        self.service.until(f"{name} at the destination", path.exists, seconds)
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        self.report.equal(f"{name} is delivered", found, self.sums[name])
        return path

    def status(self):
        """What the admin address says."""
        with HTTP.open("http://127.0.0.1:8081/api/status", timeout=10) as answer:
            return json.load(answer)

    def live_channels(self):
        with HTTP.open(f"{self.emulator.url}/control/channels", timeout=10) as answer:
            return [channel for channel in json.load(answer)["channels"] if not channel.get("stopped")]

    def notifications(self):
        with HTTP.open(f"{self.emulator.url}/control/notifications", timeout=10) as answer:
            return json.load(answer)["notifications"]

    def listens(self):
        try:
            socket.create_connection(("127.0.0.1", 8080), timeout=5).close()
        except OSError:
            return False
        return True

    def closed(self):
        return eventually("webhook address that is closed", lambda: not self.listens(), 10)


class Stream:
    """Strangers' requests to the webhook address, and Google's own for each file that is uploaded meanwhile."""

    REQUEST = (
        b"POST /webhook HTTP/1.1\r\nhost: 127.0.0.1:8080\r\n"
        b"content-length: 0\r\nx-goog-channel-id: nobody\r\n\r\n"
    )

    def __init__(self, machine, uploads=True):
        self.machine, self.over = machine, threading.Event()
        self.answered, self.refused, self.slowest, self.files = 0, [], 0.0, []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.post) for _ in range(8)]
        if uploads:
            self.threads.append(threading.Thread(target=self.upload))

    def post(self):
        while not self.over.wait(0.05):
            began = time.monotonic()
            try:
                with socket.create_connection(("127.0.0.1", 8080), timeout=30) as connection:
                    connection.sendall(self.REQUEST)
                    answer = connection.recv(4096)
                error = None if answer.startswith(b"HTTP/1.1 404") else f"answered {answer[:40]!r}"
            except OSError as failure:
                error = str(failure)
            with self.lock:
                self.answered += not error
                self.refused += [error] if error else []
                self.slowest = max(self.slowest, time.monotonic() - began)

    def upload(self):
        while not self.over.wait(0.5):
            name = f"stream-{id(self)}-{len(self.files)}.mp4"
            self.machine.upload(name, 10_000)
            self.files.append(name)

    def __enter__(self):
        self.before = len(self.machine.notifications())
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def judge(self, what):
        """The result, after everything has arrived."""
        report, machine = self.machine.report, self.machine
        report.true(
            f"{what}: {self.answered} requests answered, the slowest in {self.slowest * 1000:.0f} ms, none refused",
            self.answered and not self.refused, self.refused[:3],
        )  # fmt: skip
        mine = machine.notifications()[self.before :]
        report.equal(
            f"{what}: Google's {len(mine)} notifications were taken",
            [record for record in mine if record["status"] not in (200, 204)][:3], [],
        )  # fmt: skip
        wrong = []
        for name in self.files:
            path = machine.videos / name
            machine.service.until(f"{name} at the destination", path.exists)
            if hashlib.sha256(path.read_bytes()).hexdigest() != machine.sums[name]:
                wrong.append(name)
        # One of each: a second one would have a longer name.
        there = sorted(path.name for path in machine.videos.glob(f"stream-{id(self)}-*"))
        report.true(
            f"{what}: all {len(self.files)} files that were uploaded meanwhile are there, once each",
            there == sorted(self.files) and not wrong, (there, wrong),
        )  # fmt: skip
