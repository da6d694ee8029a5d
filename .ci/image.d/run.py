"""The image and the compose file, from the README's first command to the upgrade: run.py EMULATOR DIRECTORY [--keep]."""

import hashlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import contents
from drive import NAME, Drive
from engine import Container, docker, images, remove_images, steps
from readme import USER, User, blocks
from report import Report, eventually
from world import free_port

PROJECT, SERVICE = "gdrive-webhook", "gdrive-webhook"
MEGABYTE = 1_000_000
LARGEST = 20_000_000
# The longest wait for downloads, the log and the engine's health checks.
PATIENCE = 60


def checkout(tree):
    """A copy of the committed files with the changes since, as in a clone."""
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ".", tree], check=True)
    changes = subprocess.run(["git", "diff", "--binary", "HEAD"], check=True, stdout=subprocess.PIPE).stdout
    if changes:
        subprocess.run(["git", "apply"], cwd=tree, input=changes, check=True)


def own(path, user):
    subprocess.run(["chown", "-R", f"{user}:{user}", path], check=True)


class Proof:
    def __init__(self, report, drive, home, place):
        self.report, self.drive, self.tree, self.place = report, drive, home / "tree", place
        checkout(self.tree)
        self.local, self.videos = self.tree / "local", self.tree / "local/videos"
        downloads = home / "user/Downloads"
        downloads.mkdir(parents=True)
        (downloads / "credentials.json").write_text((drive.credentials / "client.json").read_text())
        own(home / "user", USER)
        own(self.tree, USER)
        self.user = User(self.tree, home / "user", "/var/run/docker.sock")
        self.preparing, self.asking, self.running = blocks(self.tree / "README.md", "Docker")
        self.container, self.port, self.count = Container(PROJECT, SERVICE), free_port(), 0

    def holds(self, claim, holds, found=""):
        self.report.true(claim, holds, found)

    def lines(self, lines, claim):
        text, status = self.user.type(lines)
        self.holds(claim, status == 0, status)
        return text

    def write(self, path, text):
        """Like an editor: a new file replaces the old one."""
        new = path.with_name(path.name + "~")
        new.write_text(text)
        os.chown(new, USER, USER)
        new.rename(path)

    def surroundings(self):
        """The differences of this machine: the emulator instead of Google, and another port."""
        self.write(self.tree / "config/here.yaml",
            f"services:\n  {SERVICE}:\n"
            f'    extra_hosts: ["{NAME}:host-gateway"]\n'
            f"    environment: {{ SSL_CERT_FILE: /etc/gdrive-webhook/authority.pem }}\n"
            # Half a minute for each of these would be too long.
            f"    healthcheck: {{ interval: 1s, start_period: 1s }}\n"
        )  # fmt: skip
        self.write(self.local / "config/authority.pem", (self.drive.credentials / "authority.pem").read_text())
        environment = self.tree / "config/.env"
        self.write(environment, f"{environment.read_text()}PORT={self.port}\n")
        self.user.exports.append("export COMPOSE_FILE=$COMPOSE_FILE:config/here.yaml")

    def fill_in(self):
        file = self.local / "config/gdrive-webhook.toml"
        text = file.read_text()
        text = re.sub(r'^id = .*$', f'id = "{self.drive.inbox}"', text, flags=re.M)
        text = re.sub(r"^# (public_url = ).*$", rf'\1"http://127.0.0.1:{self.port}"', text, count=1, flags=re.M)
        self.write(file, text.replace("[google]", f'[google]\napi_url = "{self.drive.tls}"'))

    def build(self):
        with self.report.part("build"):
            began = time.monotonic()
            self.lines(self.preparing, "the README's first commands prepare everything and build the image")
            print(f"    in {time.monotonic() - began:.0f} s")
            size = int(docker("image", "inspect", "--format", "{{.Size}}", PROJECT))
            self.holds(f"the image has {size / 1e6:.1f} MB, {LARGEST / 1e6:.0f} at most", size <= LARGEST)
            contents.check(self.report, self.tree, PROJECT, self.place)
            again = self.preparing.splitlines()[-1]
            self.lines(f"{again} --build-arg UID=1234 --build-arg GID=1235", "it is built for another user")
            user = docker("image", "inspect", "--format", "{{.Config.User}}", PROJECT)
            self.report.equal("which is the one that it runs as", user, "1234:1235")
            self.lines(again, "it is built for user 1000 again")

    def login(self):
        with self.report.part("the first login, in a container"):
            self.surroundings()
            self.fill_in()
            check, login = self.asking.splitlines()
            self.lines(check, "the filled-in example is right")
            with Terminal(self.user, login) as terminal:
                address = terminal.wait(r"https://\S+")
                terminal.type(self.drive.consent(address))
                self.holds("it logs in with the pasted address", "Logged in as" in terminal.wait(r"Logged in .*"))
            token = self.local / "state/token.json"
            found = (token.stat().st_uid, oct(token.stat().st_mode & 0o777)) if token.exists() else "nothing"
            self.holds("the login lies in local/state, for its owner only", found == (USER, "0o600"), found)

    def delivers(self, claim, size=1000, patience=PATIENCE):
        self.count += 1
        name = f"clip-{self.count}.mp4"
        file = self.drive.upload(name, size, self.drive.inbox)
        path, began = self.videos / name, time.monotonic()
        eventually(name, path.exists, patience)
        took = time.monotonic() - began
        right = hashlib.sha256(path.read_bytes()).hexdigest() == file["sha256Checksum"]
        self.holds(f"{claim} ({took:.1f} s)", right and path.stat().st_uid == USER, path.stat())
        return took

    def healthy(self, claim):
        eventually("healthy container", lambda: self.container.health() == "healthy", PATIENCE)
        self.holds(claim, True)

    def up(self):
        with self.report.part("up"):
            text = self.lines(self.running, "the README's commands start it and show its state")
            self.holds("they show what it logs and what it does", "gdrive-webhook" in text, text)
            self.healthy("it becomes healthy")
            state = self.container.state()
            status = Path(f"/proc/{self.container.pid()}/status").read_text()
            ids = re.search(r"^Uid:\s+(.*)$", status, re.M)[1].split()
            self.holds("it runs as the user", set(ids) == {str(USER)}, ids)
            self.holds("with no rights to lose", re.search(r"^CapEff:\s+0+$", status, re.M), status)
            mounts = Path(f"/proc/{self.container.pid()}/mountinfo").read_text()
            root = next(line.split() for line in mounts.splitlines() if line.split()[4] == "/")
            self.holds("on a read-only root", "ro" in root[5].split(","), root)
            self.holds("its health is asked by itself", state["Config"]["Healthcheck"]["Test"][1:] ==
                       ["/usr/bin/gdrive-webhook", "status", "--check"])  # fmt: skip
            self.delivers("it delivers what Drive announces")
            log = self.container.log()
            self.holds("nothing of its own is readable by others", "is a secret" not in log, log)
            calls = [call for call in self.drive.notifications() if call.get("status") == 204]
            self.holds("notifications reach the published port", calls, self.drive.notifications()[-2:])

    def edit(self):
        with self.report.part("an edited file"):
            file = self.local / "config/gdrive-webhook.toml"
            good, log = file.read_text(), len(self.container.log())
            self.write(file, f'{good}\n[download]\nrate_limit = "1MB"\n')
            eventually("word of it", lambda: "rate_limit" in self.container.log()[log:], PATIENCE)
            took = self.delivers("a new limit holds after the edit", 5 * MEGABYTE)
            self.holds("and slows it down", took > 2, took)
            self.write(file, f"{good}\n[download]\nrate_limitt = 1\n")
            eventually("word of the mistake", lambda: "rate_limitt" in self.container.log()[log:], PATIENCE)
            time.sleep(3)
            self.holds("a wrong edit leaves it healthy", self.container.health() == "healthy")
            self.write(file, good)

    def end(self):
        with self.report.part("ends"):
            os.kill(self.container.pid(), 9)
            eventually("restart", lambda: self.container.state()["RestartCount"] == 1, PATIENCE)
            self.healthy("it is back after a kill")
            self.delivers("and delivers")
            began = time.monotonic()
            self.lines("docker-compose stop", "it is told to stop")
            took = time.monotonic() - began
            code = self.container.state()["State"]["ExitCode"]
            self.holds(f"it ends cleanly within its grace ({took:.1f} s)", took < 20 and code == 0, code)
            left = [path.name for path in (self.local / "state").glob("state.db-*")]
            self.holds("with its database closed", not left, left)

    def owners(self):
        """Errors at the first start, which are corrected while it runs."""
        with self.report.part("directories that are missing or of another owner"):
            state = self.local / "state"
            self.videos.rmdir()
            text, status = self.user.type("docker-compose up -d")
            self.holds("a directory that is not there is an error, and not made for root",
                       status != 0 and "does not exist" in text and not self.videos.exists(), text)  # fmt: skip
            self.videos.mkdir(mode=0o755)
            self.lines("docker-compose up -d", "it starts over videos that belong to root")
            said = eventually("word of it", lambda: explained(self.container.tell("status"), "/videos"), PATIENCE)
            self.holds(f"it says what to do: {said}", True)
            os.chown(self.videos, USER, USER)
            self.healthy("with the right owner it becomes healthy by itself")
            self.lines("docker-compose stop", "it stops")
            os.chown(state, 0, 0)
            os.chmod(state, 0o700)
            try:
                self.user.type("docker-compose up -d")
                said = eventually("word of it", lambda: explained(self.container.log(), "/var/lib/gdrive-webhook"), PATIENCE)
                self.holds(f"it says what to do: {said}", True)
            finally:
                os.chown(state, USER, USER)
            self.healthy("with the right owner it is started again and becomes healthy")
            self.lines("docker-compose down", "it is taken away")

    def profiles(self):
        with self.report.part("profiles"):
            for profile, image in (("ngrok", "ngrok/ngrok:3"), ("caddy", "caddy:2")):
                text, status = self.user.type(f"docker-compose --profile {profile} config")
                self.holds(f"the profile {profile} is understood", status == 0 and f"image: {image}" in text, text)

    def change(self):
        """Stops as soon as it is clear what is compiled: the rest takes as long as the first build."""
        with self.report.part("a change in src"):
            file = self.tree / "src/main.rs"
            self.write(file, file.read_text() + "// A comment.\n")
            process = subprocess.Popen(
                self.user.command("docker-compose build --build-arg COMMIT=changed"), cwd=self.tree, text=True,
                env=self.user.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                **self.user.identity,
            )  # fmt: skip
            output = ""
            for line in process.stdout:
                output += line
                if "Compiling" in line:
                    time.sleep(3)
                    break
            os.killpg(process.pid, signal.SIGTERM)
            output += process.communicate()[0]
            found = steps(output)
            dependencies = next((cached for line, cached, _ in found if "build-release /target static" in line), None)
            self.holds("the layer of the dependencies is used again", dependencies, output[-2000:])
            compiled = re.findall(r"Compiling\s+(\S+)", found[-1][2])
            self.holds("the program alone is compiled", set(compiled) == {"gdrive-webhook"}, compiled)


def explained(text, place):
    """The line that names the place, both owners, and the command that helps."""
    words = (place, "sudo ch", str(USER))
    return next((line.strip() for line in text.splitlines() if all(word in line for word in words)), None)


class Terminal:
    """One line at a terminal of its own."""

    def __init__(self, user, line):
        print(f"    $ {line}", flush=True)
        self.outer, inner = pty.openpty()
        self.process = subprocess.Popen(user.command(line), cwd=user.tree, env=user.environment | {"TERM": "dumb"},
                                        stdin=inner, stdout=inner, stderr=inner, start_new_session=True, **user.identity)  # fmt: skip
        os.close(inner)
        self.said = ""

    def wait(self, pattern):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if found := re.search(rf"({pattern})\s", self.said):
                return found[1]
            if select.select([self.outer], [], [], 1)[0]:
                try:
                    self.said += os.read(self.outer, 65536).decode(errors="replace")
                except OSError:
                    break
        raise TimeoutError(f"{pattern} was not said, but: {self.said}")

    def type(self, line):
        os.write(self.outer, f"{line}\n".encode())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        os.close(self.outer)


def main():
    emulator, home = (Path(argument) for argument in sys.argv[1:3])
    keep = "--keep" in sys.argv
    report, before = Report(), images()
    subprocess.run([".ci/image.d/base", "rust:1-slim-bookworm", home], check=True)
    proof = None
    try:
        with Drive(emulator, home) as drive:
            proof = Proof(report, drive, home, emulator.parent.parent / "image")
            for step in (proof.build, proof.login, proof.owners, proof.up, proof.edit, proof.end, proof.profiles, proof.change):  # fmt: skip
                step()
    finally:
        if proof:
            proof.user.type("docker-compose down --volumes --remove-orphans")
        if not keep:
            left = remove_images(before)
            print(f"{len(left)} images could not be removed" if left else "the images made here are removed")
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
