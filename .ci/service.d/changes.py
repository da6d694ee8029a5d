"""The configuration is edited with and without mistakes, and a key is passed with LoadCredential."""

from machine import CONFIGURATION, block


def everything(machine):
    wrong(machine)
    right(machine)
    private_key(machine)


def wrong(machine):
    report, service = machine.report, machine.service
    cursor = service.now()
    machine.container.write("/home/ann/wanted.toml", machine.configuration(extra="concurency = 2\n"))
    done = machine.ann(block("change"))
    report.true("a wrong edit is refused by the README's lines `change`", done.returncode, done.stdout)
    journal = service.journal(cursor)
    report.true("the journal names the line", "gdrive-webhook.toml:" in journal and "concurency" in journal, journal)
    report.equal("the daemon goes on", machine.program("status", "--check").returncode, 0)
    report.true("it is active", service.active())
    machine.save("[google\n")
    report.true("a file that is not TOML is refused too", service.control("reload").returncode)
    checked = machine.program("status", "--check")
    report.equal("a health check asks the daemon nevertheless", checked.returncode, 0)
    machine.upload("with-a-wrong-file.mp4", 1000)
    machine.delivered("with-a-wrong-file.mp4")


def right(machine):
    report, service, container = machine.report, machine.service, machine.container
    other = machine.emulator.folder("Other")
    machine.container.write("/home/ann/wanted.toml", machine.configuration(extra="rate_limit = '50MB'\n"))
    pid = service.show("MainPID")
    done = machine.ann(block("change"))
    report.true("a correct edit takes effect", done.returncode == 0, done.stdout)
    report.equal("without a restart", service.show("MainPID"), pid)

    folders = [(other, "/srv/others")]
    container.output("install", "-d", "-o", "gdrive-webhook", "-g", "videos", "-m", "2750", "/srv/others")
    cursor = service.now()
    machine.container.write("/home/ann/wanted.toml", machine.configuration(folders=folders))
    done = machine.ann(block("change"))
    said = service.journal(cursor)
    report.true("a destination that the unit does not permit is refused", done.returncode, done.stdout)
    report.true("and its path is named", "/srv/others" in said, said)
    report.equal("the daemon goes on", machine.program("status", "--check").returncode, 0)
    dropped = machine.ann(block("start").replace("enable --now", "restart"))
    report.true("with its drop-in and a restart it is permitted", dropped.returncode == 0, dropped.stdout)
    machine.ready()
    machine.sums["other.mp4"] = machine.emulator.upload("other.mp4", 1000, other)["sha256Checksum"]
    machine.delivered("other.mp4", "../others")


def private_key(machine):
    """A key that only root may read."""
    report, service, container = machine.report, machine.service, machine.container
    container.output("chown", "root:root", "/etc/gdrive-webhook/credentials.json")
    container.output("chmod", "600", "/etc/gdrive-webhook/credentials.json")
    service.control("restart")
    state = service.show("ActiveState", "ExecMainStatus", "NRestarts")
    report.equal("a key that the service may not read is 78", state, ["failed", "78", "0"])
    said = container.run("systemctl", "status", "--no-pager", "--full", service.name).stdout
    report.true("systemctl status names it", "credentials.json" in said and "ermission" in said, said)
    service.drop_in("key", "[Service]\nLoadCredential=credentials.json:/etc/gdrive-webhook/credentials.json\n")
    container.output("systemctl", "start", service.name)
    report.true(f"with LoadCredential it is read: {machine.ready()}", True)
    machine.upload("with-a-credential.mp4", 1000)
    machine.delivered("with-a-credential.mp4")
    service.no_drop_in("key")
    container.output("chgrp", "gdrive-webhook", "/etc/gdrive-webhook/credentials.json")
    container.output("chmod", "640", "/etc/gdrive-webhook/credentials.json")
    container.output("systemctl", "restart", service.name)
    machine.ready()
    mode = container.output("stat", "--format=%a %U:%G", CONFIGURATION).strip()
    report.equal("edits have left owner and mode", mode, "640 root:gdrive-webhook")
