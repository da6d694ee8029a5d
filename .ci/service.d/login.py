"""A desktop client: the login is missing, created by root, revoked, and created again."""

import shutil
import subprocess

from world import HTTP

TOKEN = "/var/lib/gdrive-webhook/token.json"


def everything(machine):
    report, service, container = machine.report, machine.service, machine.container
    shutil.copy(machine.emulator.credentials / "client.json", container.root / "etc/gdrive-webhook/client.json")
    container.output("chgrp", "gdrive-webhook", "/etc/gdrive-webhook/client.json")
    container.output("chmod", "640", "/etc/gdrive-webhook/client.json")
    machine.save(key="client.json")
    service.control("restart")
    said = service.until("word about the login", lambda: "login" in machine.status_text() and machine.status_text())
    report.true(f"its line: {said}", True)
    if service.show("ActiveState") == "failed":
        report.equal("it waits for the login", service.show("ExecMainStatus", "NRestarts"), ["77", "0"])
    log_in(machine)
    if not service.active():
        service.control("start")
    report.true(f"its line: {machine.ready()}", True)
    owner = container.output("stat", "--format=%a %U:%G", TOKEN).strip()
    report.equal("the file that root has written belongs to the service", owner, "600 gdrive-webhook:gdrive-webhook")

    for what in ("refresh-tokens/revoke", "access-tokens/expire"):
        machine.emulator.control(what, {})
    machine.upload("logged-out.mp4", 1000)
    report.true(f"a revoked login: {machine.says('login needed')}", True)
    report.true("it keeps running", service.active())
    pid = service.show("MainPID")
    log_in(machine)
    machine.delivered("logged-out.mp4", seconds=60)
    report.true(f"its line: {machine.ready()}", True)
    report.equal("without a restart", service.show("MainPID"), pid)

    container.output("systemctl", "stop", service.name)
    machine.upload("by-root.mp4", 1000)
    done = machine.program("sync")
    report.equal("root syncs while it is stopped", done.returncode, 0)
    machine.delivered("by-root.mp4")
    machine.save()
    started = service.control("start")
    report.true("the service starts afterwards", started.returncode == 0, started.stdout)
    machine.ready()
    for path in sorted((container.root / "var/lib/gdrive-webhook").iterdir()):
        name = f"/var/lib/gdrive-webhook/{path.name}"
        mode = container.output("stat", "--format=%a %U:%G", name).strip()
        right = [f"{bits} gdrive-webhook:gdrive-webhook" for bits in (600, 700)]
        report.true(f"{name} is {mode}", mode in right)


def log_in(machine):
    """`sudo gdrive-webhook login`, with a browser on this machine."""
    command = machine.container.command("gdrive-webhook", "login")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, text=True, **pipes) as login:
        address = next(line for line in login.stdout if line.startswith("http"))
        with HTTP.open(address.strip(), timeout=10) as page:
            page.read()
        said = login.communicate(timeout=30)[0]
    machine.report.equal("root logs in", login.returncode, 0)
    if login.returncode:
        print(said)
