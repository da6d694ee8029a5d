"""An emulated Drive, a daemon that can be killed and started again, and what lies at its destination."""

import hashlib
import itertools
import json
import os
import urllib.parse

from world import HTTP, Emulator, Service, eventually, free_port

HIDDEN = ".gdrive-webhook"
# Many daemons share the processors here, and a failed attempt is repeated after seconds.
PATIENCE = 40
BUSY = ("unready", "pending", "downloading", "publishing")


class Drive(Emulator):
    """Every content that is put there has a size of its own."""

    def __init__(self, binary, home):
        super().__init__(binary, home)
        self.seeds = itertools.count(1)

    def put(self, name, parent=None, size=1000):
        query = urllib.parse.urlencode({"name": name, "parent": parent or self.inbox, "mimeType": "video/mp4"})
        return self._told(f"files?{query}", size)

    def write(self, name, content, parent=None):
        """A file with these very bytes."""
        query = urllib.parse.urlencode({"name": name, "parent": parent or self.inbox, "mimeType": "video/mp4"})
        with HTTP.open(f"{self.url}/control/files?{query}", content, timeout=30) as answer:
            return json.load(answer) | {"size": len(content)}

    def change(self, file, size=1000):
        """The same file with another content."""
        return self._told(f"files/{file['id']}/content", size)

    def _told(self, path, size):
        seed = next(self.seeds)
        size += seed
        return self.control(path, {"pattern": {"seed": seed, "size": size}}) | {"size": size}

    def directory(self, name, parent=None):
        return self.control("folders", {"name": name, "parent": parent or self.inbox})["id"]

    def rate(self, bytes_per_second):
        self.control("settings", {"rate": bytes_per_second})

    def fetched(self, file):
        """The requests for the bytes of a file."""
        return [request for request in self.requests("files.media") if file["id"] in request["path"]]


class Daemon(Service):
    """`folders`: pairs of a folder of Drive and a destination. `before`: what its command begins with."""

    def __init__(self, binary, drive, home, folders, before=(), existing="ignore", ready="readyz"):
        home.mkdir(exist_ok=True)
        self.home, self.log, self.lost = home, home / "log", 0
        public, self.private = free_port(), free_port()
        config = home / "gdrive-webhook.toml"
        config.write_text(
            f"[google]\n"
            f'credentials = "{drive.credentials}/service-account.json"\n'
            f'api_url = "{drive.url}"\n'
            f'[webhook]\nlisten = "127.0.0.1:{public}"\npublic_url = "http://127.0.0.1:{public}"\n'
            f'[download]\nreserve = "1MB"\n'
            f'[state]\nurl = "sqlite:{home}/state.db"\n'
            f'[admin]\nlisten = "127.0.0.1:{self.private}"\n'
            + "".join(
                f'[[folder]]\nid = "{folder}"\ndestination = "{destination}"\nexisting = "{existing}"\n'
                for folder, destination in folders
            )
        )
        self.command = [*before, binary, "--config", config, "run"]
        self.start(ready)

    def start(self, ready="readyz"):
        with open(self.log, "a") as log:
            super().__init__(self.command, cwd=self.home, env={"PATH": os.environ["PATH"]}, stdout=log, stderr=log)
        eventually("daemon that is ready", lambda: self.check() or self.ask(ready), 3 * PATIENCE)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def status(self):
        self.check()
        return json.loads(self.ask("api/status") or "{}")

    def is_idle(self):
        """Nothing is left to do, but for those that were given up here."""
        counts = self.status().get("deliveries")
        return counts is not None and sum(counts.get(stage, 0) for stage in BUSY) <= self.lost

    def known(self):
        """How many deliveries it has heard of."""
        return sum(self.status().get("deliveries", {}).values())

    def received(self, file):
        """How much of a file has come in this attempt."""
        transfers = self.status().get("transfers", [])
        return sum(transfer["received"] for transfer in transfers if transfer["size"] == file["size"])

    def says(self):
        """Everything that it tells somebody who asks why a file is not there."""
        status = self.status()
        said = [*status.get("not_ready", [])]
        said += [f"{held['path']}: {held['problem']}" for held in status.get("destinations", [])]
        said += [
            f"{file['name']} ({file['stage']}, attempt {file['attempt']}): {file['reason']}"
            for file in status.get("attention", [])
        ]
        return said

    def logged(self, levels=("WARN", "ERROR")):
        """The messages of its log, each once, without the times."""
        found = {}
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                found[line] = None
                continue
            if entry.get("level", "").upper() in levels:
                fields = {key: text for key, text in entry.items() if key not in ("timestamp", "level", "target")}
                found[json.dumps(fields, ensure_ascii=False)] = None
        return list(found)


class Place:
    """A destination, and what has to be there. What was wrong once is left out later, so that each fault shows once."""

    def __init__(self, root, daemon, report):
        self.root, self.daemon, self.report = root, daemon, report
        self.strange = set()

    def files(self):
        """The visible files and their checksums; hidden ones count too, but not those in the daemon's folder."""
        found = {}
        for directory, folders, names in os.walk(self.root):
            folders[:] = [folder for folder in folders if folder != HIDDEN]
            for name in names:
                path = os.path.join(directory, name)
                relative = os.path.relpath(path, self.root)
                if relative not in self.strange:
                    found[relative] = content(path)
        return found

    def parts(self):
        return [name for name in os.listdir(self.root / HIDDEN) if name.endswith(".part")]

    def holds(self, claim, files, seconds=PATIENCE):
        """The contents of these files are there, each once, and nothing is left to do. Returns {path: checksum}."""
        files = [file for file in files if not file.get("lost")]
        wanted = sorted(file["sha256Checksum"] for file in files)

        def look():
            # In this order: what is still at work may put something there after it was looked at.
            if not self.daemon.is_idle():
                return None
            try:
                found = self.files()
            except OSError:
                return None
            return found if sorted(found.values()) == wanted else None

        try:
            found = eventually(claim, look, seconds)
            self.report.true(claim, True)
            return found
        except TimeoutError:
            return self._fails(claim, files, wanted)

    def _fails(self, claim, files, wanted):
        found = self.files()
        missing = [file for file in files if file["sha256Checksum"] not in found.values()]
        extra = {path for path, checksum in found.items() if checksum not in wanted}
        twice = {path for path, checksum in found.items() if list(found.values()).count(checksum) > 1}
        names = [file.get("name", file["id"])[:40] for file in missing]
        told = {"missing": names, "too many": short(extra), "twice": short(twice), "it says": self.daemon.says()}
        self.report.true(claim, False, told)
        for file in missing:
            file["lost"] = True
        self.daemon.lost += len(missing)
        self.strange |= extra
        return self.files()


def short(paths):
    return sorted(path if len(path) < 60 else path[:20] + "…" + path[-25:] for path in paths)


def content(path):
    if os.path.islink(path):
        return "a link to " + os.readlink(path)
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()
