"""An emulated Drive, and the daemon under strace."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request

from trace import OPTIONS

# Nothing here leaves the machine, so no proxy of the surroundings may have a say.
HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def eventually(what, look, seconds=20):
    """What `look` returns once it is anything."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.02)
    raise TimeoutError(f"in {seconds} s there was no {what}")


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Process:
    def __init__(self, command, **options):
        self.process = subprocess.Popen(command, **options)

    def check(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.process.args[0]} ended with {self.process.returncode}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Service(Process):
    """A daemon with a private door."""

    def ask(self, path):
        try:
            with HTTP.open(f"http://127.0.0.1:{self.private}/{path}", timeout=10) as answer:
                return answer.read()
        except OSError:
            return None


class Emulator(Process):
    def __init__(self, binary, home):
        said = home / "emulator-said"
        self.credentials = home / "credentials"
        command = [binary, "--port", "0", "--credentials-dir", self.credentials, "--folder", "Inbox"]
        with open(said, "w") as out:
            super().__init__(command, stdout=out)
        eventually("emulator", lambda: self.check() or "ready: yes" in said.read_text())
        facts = dict(line.split(": ", 1) for line in said.read_text().splitlines())
        self.url = facts["address"]
        self.inbox = facts["folder"].split()[0]

    def control(self, path, body):
        request = urllib.request.Request(
            f"{self.url}/control/{path}", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with HTTP.open(request, timeout=30) as answer:
            return json.load(answer)

    def requests(self, operation):
        with HTTP.open(f"{self.url}/control/requests?operation={operation}", timeout=30) as answer:
            return json.load(answer)["requests"]

    def folder(self, name):
        return self.control("folders", {"name": name, "parent": self.inbox})["id"]

    def upload(self, name, size, parent):
        return self.control(f"files?name={name}&parent={parent}", pattern(len(name), size))

    def revise(self, file, size):
        return self.control(f"files/{file}/content", pattern(size, size))


def pattern(seed, size):
    return {"pattern": {"seed": seed, "size": size}}


class Daemon(Service):
    """Starts, and may be started again; all its runs are in one trace."""

    def __init__(self, binary, emulator, home):
        self.binary = binary
        self.home, self.traced = home / "home", home / "trace"
        self.home.mkdir()
        self.log = home / "log"
        public, self.private = free_port(), free_port()
        self.config = self.home / "gdrive-webhook.toml"
        self.config.write_text(
            f"[google]\n"
            f'credentials = "{emulator.credentials}/service-account.json"\n'
            f'api_url = "{emulator.url}"\n'
            f'[webhook]\nlisten = "127.0.0.1:{public}"\npublic_url = "http://127.0.0.1:{public}"\n'
            f'[state]\nurl = "sqlite:{self.home}/state.db"\n'
            f'[admin]\nlisten = "127.0.0.1:{self.private}"\n'
            f'[[folder]]\nid = "{emulator.inbox}"\ndestination = "{self.home}/videos"\n'
        )
        self.start()

    def start(self, **variables):
        # A slow mkdirat leaves another delivery to the same new folder the time to come in between.
        delay = ["-e", "inject=mkdirat:delay_exit=200000"]
        self.before = self.traced.stat().st_size if self.traced.exists() else 0
        with open(self.log, "a") as log:
            super().__init__(
                ["strace", "-A", *OPTIONS, *delay, "-o", self.traced, self.binary, "--config", self.config, "run"],
                cwd=self.home, env={"PATH": os.environ["PATH"], **variables}, stdout=log, stderr=log,
            )  # fmt: skip
        eventually("daemon that is ready", lambda: self.check() or self.ask("readyz"))

    def until_done(self, count):
        def look():
            self.check()
            counts = json.loads(self.ask("api/status") or '{"deliveries": {}}')["deliveries"]
            return {stage: n for stage, n in counts.items() if n} == {"done": count}

        eventually(f"end of {count} deliveries", look)

    def until_writing(self):
        """Several connections write to one part."""
        hidden = self.home / "videos/.gdrive-webhook"
        eventually("part with gaps", lambda: self.check() or list(hidden.glob("*.ranges")))
        # It comes at the rate that the emulator has been told.
        time.sleep(1)

    def until_killed(self):
        return self.process.wait(30) == -signal.SIGKILL

    def pid(self):
        """strace hands no signals on; every line that it writes begins with a process, the first with the program."""
        with open(self.traced, "rb") as trace:
            trace.seek(self.before)
            return int(trace.readline().split(None, 1)[0])

    def terminate(self):
        os.kill(self.pid(), signal.SIGTERM)
        return self.process.wait(30)

    def __exit__(self, *_):
        if self.process.poll() is None:
            try:
                os.kill(self.pid(), signal.SIGKILL)
                self.process.wait(10)
            except (OSError, IndexError, ValueError, subprocess.TimeoutExpired):
                super().__exit__()
