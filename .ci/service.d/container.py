"""A Debian that boots systemd in a directory, and commands for it from outside."""

import os
import signal
import subprocess
import time
from pathlib import Path

from report import eventually

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "SYSTEMD_PAGER": "",
    "DEBIAN_FRONTEND": "noninteractive",
}

JOURNAL = ["journalctl", "--no-pager", "--quiet", "--output=cat"]


class Container:
    def __init__(self, root, home):
        self.root, self.said = Path(root), home / "container"
        with open(self.said, "w") as out:
            self.process = subprocess.Popen(
                [
                    "systemd-nspawn", "--boot", "--quiet", f"--directory={root}", "--machine=gdrive-webhook-proof",
                    "--register=no", "--keep-unit", "--console=pipe", "--link-journal=no", "--resolv-conf=off",
                ],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip
        self.init = eventually("first process of the container", self._init, 20)

        def booted():
            if self.process.poll() is not None:
                raise RuntimeError(f"the container does not boot: {self.said.read_text()}")
            return self.run("systemctl", "is-system-running", "--wait").stdout.strip() in ("running", "degraded")

        eventually("container that has booted", booted, 60)

    def _init(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"the container does not start: {self.said.read_text()}")
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return next((pid for pid in children if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd"), None)

    def command(self, *arguments, user=None):
        """The command that enters the container; `user`: as a login of this user."""
        switched = ["runuser", "--user", user, "--"] if user else []
        environment = [f"{key}={value}" for key, value in ENVIRONMENT.items()]
        home = f"HOME=/home/{user}" if user else "HOME=/root"
        inside = ["env", "--ignore-environment", *environment, home, *switched, *map(str, arguments)]
        return ["nsenter", f"--target={self.init}", "--all", "--", *inside]

    def run(self, *arguments, user=None, seconds=120, **options):
        """Standard output and error together, as a person sees them."""
        return subprocess.run(
            self.command(*arguments, user=user), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            stdin=options.pop("stdin", subprocess.DEVNULL), text=True, errors="replace", timeout=seconds, **options,
        )  # fmt: skip

    def output(self, *arguments, **options):
        """Fails where the command does."""
        done = self.run(*arguments, **options)
        if done.returncode:
            raise RuntimeError(f"{' '.join(map(str, arguments))} ended with {done.returncode}: {done.stdout}")
        return done.stdout

    def script(self, text, user):
        """Commands of the README, as a user types them; stops at the first failure."""
        return self.run("bash", "-euo", "pipefail", "-c", text, user=user, cwd="/")

    def write(self, path, text, mode=0o644):
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def stop(self):
        if self.process.poll() is None:
            # An orderly end.
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                os.kill(int(self.init), signal.SIGKILL)
                self.process.kill()
                self.process.wait(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Unit:
    """One unit in the container."""

    def __init__(self, container, name):
        self.container, self.name = container, name

    def show(self, *names):
        """Properties, in the order in which they were asked for."""
        said = self.container.output("systemctl", "show", self.name, *(f"--property={name}" for name in names))
        found = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
        values = [found[name] for name in names]
        return values if len(values) > 1 else values[0]

    def active(self):
        return self.show("ActiveState") == "active"

    def pid(self):
        """In the view of this side."""
        inside = self.show("MainPID")
        for path in Path("/proc").glob("[0-9]*/status"):
            try:
                numbers = next(line.split()[1:] for line in path.read_text().splitlines() if line.startswith("NSpid:"))
            except (OSError, StopIteration):
                continue
            if len(numbers) == 2 and numbers[1] == inside and self._is_here(path.parent.name):
                return int(path.parent.name)
        raise RuntimeError(f"{self.name} has no process {inside}")

    def _is_here(self, pid):
        try:
            return os.readlink(f"/proc/{pid}/ns/pid") == os.readlink(f"/proc/{self.container.init}/ns/pid")
        except OSError:
            return False

    def control(self, verb, seconds=120):
        return self.container.run("systemctl", verb, self.name, seconds=seconds)

    def drop_in(self, name, text):
        """For this boot only."""
        self.container.write(f"/etc/systemd/system/{self.name}.d/{name}.conf", text)
        self.container.output("systemctl", "daemon-reload")

    def no_drop_in(self, name):
        (self.container.root / f"etc/systemd/system/{self.name}.d/{name}.conf").unlink()
        self.container.output("systemctl", "daemon-reload")

    def journal(self, cursor=None):
        since = [f"--after-cursor={cursor}"] if cursor else []
        return self.container.output(*JOURNAL, f"--unit={self.name}", *since)

    def now(self):
        """A place in the journal, to read on from."""
        said = self.container.output(*JOURNAL, "--lines=1", "--show-cursor")
        return said.rsplit("-- cursor: ", 1)[1].strip()

    def started(self):
        return self.show("ExecMainStartTimestampMonotonic")

    def until(self, what, look, seconds=30):
        try:
            return eventually(what, look, seconds)
        except TimeoutError as error:
            status = self.container.run("systemctl", "status", "--no-pager", self.name).stdout
            raise TimeoutError(f"{error}; {status}") from None


def timed(action):
    began = time.monotonic()
    value = action()
    return value, time.monotonic() - began
