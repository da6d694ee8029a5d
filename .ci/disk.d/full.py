"""A disk that runs full, becomes read-only and goes away under the daemon: full.py DAEMON EMULATOR DIRECTORY."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from world import Emulator, Service, eventually, free_port

MEGABYTE = 1_000_000
MEBIBYTE = 1 << 20
# A destination that is held is looked at again every half minute.
PATIENCE = 60


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


class Daemon(Service):
    def __init__(self, binary, emulator, home, videos, ledger, frozen):
        self.log, self.videos, self.checks, self.failed = home / "log", videos, 0, 0
        public, self.private = free_port(), free_port()
        config = home / "gdrive-webhook.toml"
        config.write_text(
            f"[google]\n"
            f'credentials = "{emulator.credentials}/service-account.json"\n'
            f'api_url = "{emulator.url}"\n'
            f'[webhook]\nlisten = "127.0.0.1:{public}"\npublic_url = "http://127.0.0.1:{public}"\n'
            # One transfer at a time: one that hangs would hold up everything.
            f'[download]\nreserve = "1MB"\nconcurrency = 1\n'
            f'[state]\nurl = "sqlite:{ledger}/state.db"\n'
            f'[admin]\nlisten = "127.0.0.1:{self.private}"\n'
            f'[[folder]]\nid = "{emulator.inbox}"\ndestination = "{videos}"\n'
            f'[[folder]]\nid = "{emulator.frozen}"\ndestination = "{frozen}"\n'
        )
        with open(self.log, "w") as log:
            super().__init__([binary, "--config", config, "run"], cwd=home, env={"PATH": os.environ["PATH"]},
                             stdout=log, stderr=log)  # fmt: skip
        eventually("daemon that is ready", lambda: self.check() or self.ask("readyz"))

    def status(self):
        self.check()
        return json.loads(self.ask("api/status") or "{}")

    def problem(self):
        return "; ".join(held["problem"] for held in self.status().get("destinations", []))

    def claim(self, what, holds, found=""):
        self.checks += 1
        if not holds:
            self.failed += 1
        print(f"{'ok' if holds else 'FAILED'}  {what} {'' if holds else found}", flush=True)

    def waits(self, word, lines):
        """The destination is held for a reason with this word, said once more than before."""
        said = eventually(f"reason with `{word}`", lambda: word in self.problem() and self.problem())
        self.claim(f"it says: {said}", True)
        count = self.log.read_text().count("a destination cannot be used")
        self.claim(f"in one line of the log ({lines} so far)", count == lines, f"there are {count}")

    def delivers(self, name, file, below=None):
        path = (below or self.videos) / name
        eventually(f"{name} at the destination", lambda: self.check() or path.exists(), PATIENCE)
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        self.claim(f"{name} is there and right", found == file["sha256Checksum"], found)
        eventually("destination that is not held", lambda: not self.problem(), PATIENCE)


def fill(path):
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(10_000))
        except OSError as error:
            print(f"    the disk is filled: {error.strerror}")


def free(disk):
    room = os.statvfs(disk)
    return room.f_bavail * room.f_frsize


class Lowest:
    """The least room that was free on a disk for as long as somebody looks."""

    def __init__(self, disk):
        self.disk, self.bytes, self.over = disk, free(disk), threading.Event()
        self.thread = threading.Thread(target=self.look)

    def look(self):
        while not self.over.wait(0.001):
            self.bytes = min(self.bytes, free(self.disk))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def crowd(daemon, emulator, disk):
    """Many that fit one by one, and not together."""
    with Lowest(disk) as lowest:
        files = [emulator.upload(f"crowd-{n}.mp4", MEBIBYTE, emulator.inbox) for n in range(16)]
        word = "do not fit on the disk beside download.reserve"
        eventually("word that not all of them fit", lambda: daemon.check() or word in daemon.log.read_text())
        at_work = ("downloading", "publishing")
        eventually("those that fit", lambda: not any(daemon.status()["deliveries"].get(stage) for stage in at_work))
    there = [n for n in range(16) if (daemon.videos / f"crowd-{n}.mp4").exists()]
    daemon.claim(f"some of them are there: {len(there)}", 0 < len(there) < 16)
    daemon.claim("what is to stay free was free all the time", lowest.bytes >= MEGABYTE, lowest.bytes)
    mount("-o", "remount,size=64m", disk)
    for n, file in enumerate(files):
        daemon.delivers(f"crowd-{n}.mp4", file)


def hang(daemon, emulator, frozen):
    """A disk that stops answering while a transfer writes to it, as a server does that is away."""
    emulator.control("settings", {"rate": MEGABYTE})
    film = emulator.upload("film.mp4", 8 * MEGABYTE, emulator.frozen)
    part = eventually("part", lambda: next((frozen / ".gdrive-webhook").glob("*.part"), None))
    eventually("first bytes", lambda: part.stat().st_size > 0)
    # Whatever happens here, nothing may hang for ever.
    with subprocess.Popen(["sh", "-c", f"sleep 100; fsfreeze --unfreeze {frozen}"]) as watchdog:
        try:
            subprocess.run(["fsfreeze", "--freeze", frozen], check=True)
            other = emulator.upload("other.mp4", 1000, emulator.inbox)
            said = eventually("word about it", lambda: "does not answer" in daemon.problem() and daemon.problem(), 80)
            daemon.claim(f"it says: {said}", True)
            path = daemon.videos / "other.mp4"
            eventually("other file", path.exists, PATIENCE)
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            daemon.claim("what goes to other disks goes on", found == other["sha256Checksum"], found)
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", frozen], check=True)
            watchdog.terminate()
    daemon.delivers("film.mp4", film, frozen)
    emulator.control("settings", {"rate": None})


def play(daemon, emulator, disk, videos, ledger):
    daemon.delivers("first.mp4", emulator.upload("first.mp4", MEGABYTE, emulator.inbox))

    # Somebody else fills the disk while a large file comes, which has taken its room beforehand.
    emulator.control("settings", {"rate": 3 * MEGABYTE})
    film = emulator.upload("film.mp4", 12 * MEGABYTE, emulator.inbox)
    part = eventually("part", lambda: next((videos / ".gdrive-webhook").glob("*.part"), None))
    eventually("first bytes", lambda: part.stat().st_size > 0)
    filler = disk / "filler"
    fill(filler)
    daemon.claim("no partial file is visible", not (videos / "film.mp4").exists())
    daemon.delivers("film.mp4", film)
    filler.unlink()

    # The same while a small one comes, which has not.
    emulator.control("settings", {"rate": MEGABYTE // 5})
    clip = emulator.upload("clip.mp4", MEGABYTE, emulator.inbox)
    part = eventually("part", lambda: next((videos / ".gdrive-webhook").glob("*.part"), None))
    eventually("first bytes", lambda: part.stat().st_size > 0)
    fill(filler)
    daemon.waits("disk is full", 2)
    daemon.claim("no partial file is visible", not (videos / "clip.mp4").exists())
    # The next look finds nothing free before anything is written; from then on it is the same each time.
    time.sleep(70)
    daemon.waits("download.reserve", 3)
    filler.unlink()
    daemon.delivers("clip.mp4", clip)
    ranges = [r["range"] for r in emulator.requests("files.media") if r.get("range")]
    daemon.claim("what was on disk was not fetched again", bool(ranges))
    emulator.control("settings", {"rate": None})

    # Less is free than is to stay free.
    with open(filler, "wb") as file:
        file.write(bytes(free(disk) - MEGABYTE // 2))
    small = emulator.upload("small.mp4", 1000, emulator.inbox)
    daemon.waits("download.reserve", 4)
    filler.unlink()
    daemon.delivers("small.mp4", small)

    crowd(daemon, emulator, disk)

    mount("-o", "remount,ro", disk)
    late = emulator.upload("late.mp4", 1000, emulator.inbox)
    daemon.waits("read-only", 5)
    time.sleep(35)
    daemon.waits("read-only", 5)
    mount("-o", "remount,rw", disk)
    daemon.delivers("late.mp4", late)

    subprocess.run(["umount", videos], check=True)
    lost = emulator.upload("lost.mp4", 1000, emulator.inbox)
    daemon.waits("is its disk mounted?", 6)
    daemon.claim("nothing is put into the empty mount point", not list(videos.iterdir()), list(videos.iterdir()))
    mount("--bind", disk, videos)
    daemon.delivers("lost.mp4", lost)

    # The ledger's own disk.
    fill(ledger / "filler")
    unwritten = [emulator.upload(f"unwritten-{n}.mp4", 1000, emulator.inbox) for n in range(3)]
    said = eventually("word about the ledger", lambda: [r for r in daemon.status()["not_ready"] if "database" in r])
    daemon.claim(f"it says: {said[0]}", True)
    (ledger / "filler").unlink()
    for n, file in enumerate(unwritten):
        daemon.delivers(f"unwritten-{n}.mp4", file)


def main():
    daemon_binary, emulator_binary, home = (Path(argument) for argument in sys.argv[1:4])
    disk, videos = home / "disk", home / "videos"
    ledger, frozen = home / "ledger", home / "frozen"
    for directory in (disk, videos, ledger, frozen):
        directory.mkdir()
    image = home / "image"
    with open(image, "wb") as file:
        file.truncate(64 * MEGABYTE)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    mount("-o", "loop", image, frozen)
    mount("-t", "tmpfs", "-o", "size=16m", "none", ledger)
    mount("-t", "tmpfs", "-o", "size=20m", "none", disk)
    mount("--bind", disk, videos)
    with Emulator(emulator_binary, home) as emulator:
        emulator.frozen = emulator.folder("Frozen")
        with Daemon(daemon_binary, emulator, home, videos, ledger, frozen) as daemon:
            try:
                hang(daemon, emulator, frozen)
                play(daemon, emulator, disk, videos, ledger)
            except BaseException:
                print(daemon.log.read_text())
                raise
            print(f"{daemon.checks - daemon.failed} passed, {daemon.failed} failed")
            return 1 if daemon.failed else 0


if __name__ == "__main__":
    sys.exit(main())
