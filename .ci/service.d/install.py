"""Installed, restarted, upgraded, removed."""

import os
import shutil

from container import timed
from machine import CONFIGURATION, VIDEOS, Stream, block

DOWNLOADED = "gdrive-webhook_1_amd64.deb"


def hands_over(machine, package):
    """The files in ann's home: the package, and Google's key."""
    home = machine.container.root / "home/ann"
    for old in home.glob("*.deb"):
        old.unlink()
    shutil.copy(package, home / DOWNLOADED)
    key = machine.emulator.credentials / "service-account.json"
    if key.exists():
        shutil.copy(key, home / "credentials.json")
    machine.container.output("chown", "--recursive", "ann:", "/home/ann")


def first(machine):
    report, container, service = machine.report, machine.container, machine.service
    apt = block("install").splitlines()[0]
    done = machine.ann(apt)
    report.true(f"`{apt}`", done.returncode == 0, done.stdout)
    report.true("it prints the next steps", "sudoedit /etc/gdrive-webhook" in done.stdout, done.stdout)
    report.equal("it is enabled", container.run("systemctl", "is-enabled", service.name).stdout.strip(), "enabled")
    report.equal("it does not run before it is configured", service.show("ActiveState"), "inactive")
    report.equal("nobody listens", machine.listens(), False)
    mode = container.output("stat", "--format=%a %U:%G", CONFIGURATION).strip()
    report.equal("the configuration is readable for the service only", mode, "640 root:gdrive-webhook")

    # Started nevertheless, as a boot does.
    report.true("it does not start with an incomplete configuration", service.control("start").returncode, "it started")
    state = service.show("ActiveState", "Result", "ExecMainStatus", "NRestarts")
    report.equal("it has failed with 78 and is not restarted", state, ["failed", "exit-code", "78", "0"])
    report.true("its webhook address is closed again", machine.closed())
    said = machine.status_text()
    report.true(f"its line in systemctl status: {said}", "folder.id" in said, said)

    manual = container.output("sh", "-c", "ls /usr/share/man/man1/gdrive-webhook*.gz | wc -l").strip()
    report.true(f"there are {manual} man pages", int(manual) > 10)
    completes = ". /usr/share/bash-completion/completions/gdrive-webhook && complete -p gdrive-webhook"
    bash = container.run("bash", "-c", completes)
    report.true("bash completes it", bash.returncode == 0, bash.stdout)


def readme(machine):
    report, service = machine.report, machine.service
    machine.want()
    for name in ("install", "destination", "start"):
        done = machine.ann(block(name))
        report.true(f"the README's lines `{name}`", done.returncode == 0, done.stdout)
        print("\n".join(f"    {line}" for line in done.stdout.splitlines()[-12:]), flush=True)
    service.until("service that is active", service.active)
    report.true("it is active, and its socket", machine.socket.active(), machine.socket.show("ActiveState"))
    report.true(f"its line: {machine.ready()}", True)
    machine.upload("first.mp4", 1_000_000)
    machine.delivered("first.mp4")
    report.equal("it does not disturb a health check", machine.program("status", "--check").returncode, 0)


def media_server(machine):
    report, container = machine.report, machine.container
    folder = machine.emulator.folder("Trip")
    machine.upload("in-a-folder.mp4", 1000, folder)
    machine.delivered("in-a-folder.mp4", "Trip")
    for path in (f"{VIDEOS}/first.mp4", f"{VIDEOS}/Trip/in-a-folder.mp4"):
        read = container.run("sha256sum", path, user="jellyfin")
        report.equal(f"jellyfin reads {path}", read.stdout.split(" ")[0], machine.sums[path.rsplit("/", 1)[1]])
        report.true("ann, who is not in the group, cannot read it", container.run("cat", path, user="ann").returncode)
    below = machine.emulator.control("folders", {"name": "Day 1", "parent": folder})["id"]
    machine.upload("deeper.mp4", 1000, below)
    machine.delivered("deeper.mp4", "Trip/Day 1")
    read = container.run("cat", f"{VIDEOS}/Trip/Day 1/deeper.mp4", user="jellyfin")
    report.equal("jellyfin reads a file in a nested folder", read.returncode, 0)
    # Another group, set while the service runs.
    container.output("groupadd", "--system", "films")
    container.output("usermod", "--append", "--groups", "films", "jellyfin")
    container.output("chgrp", "films", VIDEOS)
    machine.upload("later.mp4", 1000)
    machine.delivered("later.mp4")
    group = container.output("stat", "--format=%G %a", f"{VIDEOS}/later.mp4").strip()
    report.equal("files that are delivered after a change of the group have the new group", group, "films 640")
    container.output("chgrp", "videos", VIDEOS)


def restarts(machine):
    report, service = machine.report, machine.service
    count = int(os.environ.get("SERVICE_RESTARTS", "100"))
    machine.container.output("systemctl", "reset-failed", service.name)
    with Stream(machine) as stream:
        restart = ("systemctl", "restart", service.name)
        _, seconds = timed(lambda: [machine.container.output(*restart) for _ in range(count)])
        machine.ready()
        machine.upload("after-the-restarts.mp4", 1000)
        machine.delivered("after-the-restarts.mp4")
    stream.judge(f"{count} restarts in {seconds:.0f} s")


def upgrade(machine, package):
    report, service = machine.report, machine.service
    machine.ready()
    channels = {channel["id"] for channel in machine.live_channels()}
    old, opened = service.show("MainPID"), machine.socket.show("ActiveEnterTimestampMonotonic")
    machine.container.output("systemctl", "reset-failed", service.name)
    hands_over(machine, package)
    with Stream(machine) as stream:
        done = machine.ann(block("install").splitlines()[0])
        report.true("the same command upgrades the package", done.returncode == 0, done.stdout)
        report.true("another process runs", service.show("MainPID") not in (old, "0"), done.stdout)
        machine.ready()
        machine.upload("after-the-upgrade.mp4", 1000)
        machine.delivered("after-the-upgrade.mp4")
    stream.judge("an upgrade")
    report.equal("its socket was open all the time", machine.socket.show("ActiveEnterTimestampMonotonic"), opened)
    report.equal("its push channels stay open", {channel["id"] for channel in machine.live_channels()}, channels)
    version = machine.container.output("dpkg-query", "--show", "--showformat=${Version}", "gdrive-webhook")
    report.true(f"it is {version} now", version != "0.0.1-1")


def remove(machine):
    report, container = machine.report, machine.container
    # The hardest case: a key that only root can read.
    service = machine.service
    container.output("chmod", "600", "/etc/gdrive-webhook/credentials.json")
    container.output("chown", "root:root", "/etc/gdrive-webhook/credentials.json")
    service.drop_in("key", "[Service]\nLoadCredential=credentials.json:/etc/gdrive-webhook/credentials.json\n")
    container.output("systemctl", "restart", service.name)
    machine.ready()
    report.true("Drive has push channels", machine.live_channels(), "none")
    done = machine.ann(block("remove"))
    report.true("the README's line `remove`", done.returncode == 0, done.stdout)
    service.no_drop_in("key")
    report.equal("Drive has no push channels left", machine.live_channels(), [])
    report.true("the package has stopped them", machine.emulator.requests("channels.stop"), "no channels.stop")
    report.equal("nobody listens", machine.listens(), False)
    report.true("the database is still there", (container.root / "var/lib/gdrive-webhook/state.db").exists())
    report.true("so is the configuration", (container.root / CONFIGURATION.lstrip("/")).exists())
    done = machine.ann("sudo apt purge gdrive-webhook --yes")
    report.true("`sudo apt purge gdrive-webhook`", done.returncode == 0, done.stdout)
    left = container.run(
        "find", "/etc", "/usr", "/var/lib", "-path", "/var/lib/dpkg", "-prune",
        "-o", "-path", "*gdrive-webhook*", "-print",
    ).stdout.split()  # fmt: skip
    report.equal("no file of it is left", left, [])
    there = sorted(path.name for path in machine.videos.glob("*.mp4"))
    report.true(f"the {len(there)} videos are still there", "first.mp4" in there, there)
    owner = container.output("stat", "--format=%U:%G", f"{VIDEOS}/first.mp4").strip()
    report.equal("and their owner is unchanged", owner, "gdrive-webhook:videos")
