"""rclone as the user who puts files into Drive, and the daemon that runs meanwhile."""

import hashlib
import json
import os
import random
import socket
import subprocess
import urllib.error
import urllib.request

from rclone_client import Rclone
from report import eventually
from tunnel import Tunnel

# Longer than the daemon ever takes to settle one change, also on a busy machine.
PATIENCE = 60


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Daemon:
    """The daemon on one folder, called by the emulator."""

    def __init__(self, binary, emulator, home, folder):
        home.mkdir()
        self.videos, self.log = home / "videos", home / "log"
        public, self.admin = free_port(), f"127.0.0.1:{free_port()}"
        (home / "gdrive-webhook.toml").write_text(
            f'[google]\ncredentials = "{emulator.credentials / "authorized-user.json"}"\napi_url = "{emulator.url}"\n'
            f'[webhook]\nlisten = "127.0.0.1:{public}"\npublic_url = "http://127.0.0.1:{public}"\n'
            f'[admin]\nlisten = "{self.admin}"\n[state]\nurl = "sqlite:state.db"\n'
            f'[[folder]]\nid = "{folder}"\ndestination = "videos"\n'
        )
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([binary, "run"], cwd=home, env={"PATH": os.environ["PATH"]}, stderr=log)
        try:
            eventually("daemon that is ready", self._is_ready, PATIENCE)
        except BaseException:
            print(self.log.read_text())
            self.stop()
            raise

    def _ask(self, path):
        with urllib.request.urlopen(f"http://{self.admin}{path}", timeout=10) as answer:
            return answer.read()

    def _is_ready(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"the daemon ended with {self.process.returncode}")
        try:
            return self._ask("/readyz")
        except (urllib.error.URLError, OSError):
            return False

    def counts(self):
        return json.loads(self._ask("/api/status"))["deliveries"]

    def delivered(self):
        """SHA-256 of each delivered file, by its path."""
        files = (path for path in self.videos.rglob("*") if path.is_file())
        found = ((str(path.relative_to(self.videos)), path) for path in files)
        return {name: _sha256(path) for name, path in found if not name.startswith(".")}

    def stop(self):
        """Its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(60)


def _sha256(path):
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        # It was moved between the listing and now.
        return None


class User:
    """What the user does, and what has to lie at the destination then."""

    def __init__(self, rclone, daemon, report, home):
        self.rclone, self.daemon, self.report, self.home = rclone, daemon, report, home
        self.noise, self.expected = random.Random(7), {}

    def content(self, size):
        """A new local file, and its SHA-256."""
        path = self.home / "content"
        path.write_bytes(self.noise.randbytes(size))
        return path, _sha256(path)

    def upload(self, target, size):
        path, sum_ = self.content(size)
        self.rclone("copyto", path, f"person:{target}")
        return sum_

    def settled(self, claim):
        """Waits until exactly what is expected lies at the destination, and nothing is in the queue."""
        def is_right():
            open_ = {"unready", "pending", "downloading", "publishing"} & set(self.daemon.counts())
            return self.daemon.delivered() == self.expected and not open_
        try:
            eventually(claim, is_right, PATIENCE)
            self.report.true(claim, True)
        except TimeoutError:
            self.report.equal(claim, self.daemon.delivered(), self.expected)
            print("".join(self.daemon.log.read_text().splitlines(keepends=True)[-20:]))


def run(emulator, report, home, rclone_binary, daemon_binary):
    tunnel = Tunnel(emulator.tls_port)
    place = home / "watching"
    place.mkdir()
    rclone = Rclone(rclone_binary, place, emulator, tunnel, "drive")
    try:
        rclone("mkdir", "person:Inbox")
        rclone("mkdir", "person:Elsewhere")
        entries = json.loads(rclone("lsjson", "person:"))
        folder = next(entry["ID"] for entry in entries if entry["Path"] == "Inbox")
        daemon = Daemon(daemon_binary, emulator, place / "daemon", folder)
        try:
            play(User(rclone, daemon, report, place))
        finally:
            ended = daemon.stop()
        report.equal("the daemon ends cleanly", ended, 0)
    finally:
        tunnel.close()


def play(user):
    expected, rclone = user.expected, user.rclone
    expected["small.mp4"] = user.upload("Inbox/small.mp4", 200_000)
    user.settled("a small upload of rclone's is delivered")
    # Beyond the limit for one request rclone uploads in chunks.
    expected["large.mov"] = user.upload("Inbox/large.mov", 20_000_000)
    user.settled("an upload in chunks is delivered")
    expected["2026/May/Été – 夏.mkv"] = user.upload("Inbox/2026/May/Été – 夏.mkv", 50_000)
    user.upload("Inbox/2026/May/notes.txt", 500)
    user.settled("a video in new folders is delivered at its path, and a text is not")

    rclone("moveto", "person:Inbox/small.mp4", "person:Inbox/renamed.mp4")
    expected["other.mp4"] = user.upload("Inbox/other.mp4", 1_000)
    user.settled("a renamed video stays where it was delivered")
    user.upload("Elsewhere/trip/a.mp4", 3_000)
    moved = user.upload("Elsewhere/moved.mp4", 4_000)
    expected["mark.mp4"] = user.upload("Inbox/mark.mp4", 10)
    user.settled("what lies elsewhere is not delivered")
    rclone("moveto", "person:Elsewhere/moved.mp4", "person:Inbox/moved.mp4")
    expected["moved.mp4"] = moved
    user.settled("a video that is moved in is delivered")
    inside = rclone("cat", "person:Elsewhere/trip/a.mp4")
    rclone("moveto", "person:Elsewhere/trip", "person:Inbox/trip")
    expected["trip/a.mp4"] = hashlib.sha256(inside).hexdigest()
    user.settled("a folder that is moved in brings its video")
    rclone("copyto", "person:Inbox/other.mp4", "person:Inbox/copied.mp4")
    expected["copied.mp4"] = expected["other.mp4"]
    user.settled("a copy that Drive makes is a file of its own")

    rclone("deletefile", "person:Inbox/other.mp4")
    rclone("--drive-use-trash=false", "deletefile", "person:Inbox/moved.mp4")
    rclone("moveto", "person:Inbox/2026", "person:Elsewhere/2026")
    user.upload("Elsewhere/2026/late.mp4", 2_000)
    expected["mark 2.mp4"] = user.upload("Inbox/mark 2.mp4", 10)
    user.settled("what is trashed, deleted or moved out stays at the destination")
    expected["small.mp4"] = user.upload("Inbox/renamed.mp4", 300_000)
    user.settled("a new content takes the place of the delivered one, where that lies")
    rclone("purge", "person:Inbox/trip")
    rclone("cleanup", "person:")
    expected["last.mp4"] = user.upload("Inbox/last.mp4", 10)
    user.settled("an empty trash takes nothing from the destination")
