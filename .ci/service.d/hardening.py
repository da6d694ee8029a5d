"""Each line of the unit that forbids something, tried by what it forbids.

Three times: without the line it works, with this line alone it does not, in the unit as it is shipped it does not.
"""

import re
from pathlib import Path

PROBE = "/usr/local/lib/probe.py"
WORST = 1.2
# Lines of the unit that forbid nothing, or that other parts test.
OTHER = {
    "Type", "NotifyAccess", "ExecStart", "ExecReload", "ExecStopPost", "User", "Group", "StateDirectory",
    "StateDirectoryMode",
    "WorkingDirectory", "EnvironmentFile", "Environment", "Restart", "RestartSec", "RestartPreventExitStatus",
    "TimeoutStartSec", "TimeoutStopSec", "WatchdogSec", "LimitNOFILE", "SystemCallErrorNumber",
}  # fmt: skip
# The action that a line forbids, and other settings that the test needs.
TRIES = {
    "UMask=0077": [("world_readable",)],
    "NoNewPrivileges=yes": [("become_root", "User=nobody")],
    "CapabilityBoundingSet=": [("change_owner",)],
    "PrivateMounts=yes": [("mount",)],
    "PrivateTmp=yes": [("read_tmp",)],
    "PrivateDevices=yes": [("make_device",)],
    "PrivateIPC=yes": [("attach_memory",)],
    "ProtectSystem=strict": [("write_system",), ("write_etc",), ("write_var",)],
    "ProtectHome=yes": [("read_home",), ("read_root_home",)],
    "ProtectKernelTunables=yes": [("kernel_tunable",)],
    "ProtectKernelModules=yes": [("read_modules",)],
    "ProtectKernelLogs=yes": [("kernel_log",)],
    "ProtectControlGroups=yes": [("make_group",)],
    "ProtectHostname=yes": [("set_hostname",)],
    "ProtectProc=invisible": [("see_processes", "User=nobody")],
    "ProcSubset=pid": [("see_memory",)],
    "RemoveIPC=yes": [("leave_memory", "User=nobody")],
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX": [("packet_socket",), ("netlink_socket",)],
    "RestrictNamespaces=yes": [("new_namespace",)],
    "RestrictRealtime=yes": [("real_time",)],
    "RestrictSUIDSGID=yes": [("make_setuid",)],
    "LockPersonality=yes": [("personality",)],
    "MemoryDenyWriteExecute=yes": [("write_and_execute",)],
    "SystemCallArchitectures=native": [("foreign_call",)],
    "SystemCallFilter=@system-service": [("trace",)],
    "SystemCallFilter=~@privileged @resources": [("change_root",), ("change_priority",)],
    "LimitCORE=0": [("core",)],
}
# Lines that cannot be tested in a container, and the reason.
UNSEEN = {
    "DevicePolicy=closed": "the control group of devices is not the container's",
    "ProtectClock=yes": "no container may set the clock",
    "KeyringMode=private": "the default of every unit of the system",
    "SystemCallFilter=landlock_create_ruleset landlock_add_rule landlock_restrict_self": "it allows",
}
# The effect of an attempt, as seen from outside. No effect counts as a refusal.
LEFT = {
    "mount": "mountpoint --quiet /mnt/proof && umount /mnt/proof",
    "leave_memory": "ipcs --shmems | grep --quiet '^0x000112..' && ipcrm --all=shm",
}


def lines_of(text):
    """The lines of [Service], as key=value."""
    section = text.split("[Service]", 1)[1].split("[Install]", 1)[0]
    return [line for line in section.splitlines() if "=" in line and not line.startswith("#")]


class Hardening:
    def __init__(self, container, report):
        self.container, self.report = container, report
        unit = (container.root / "usr/lib/systemd/system/gdrive-webhook.service").read_text()
        self.lines = lines_of(unit)

    def exposure(self):
        for name in ("gdrive-webhook", "gdrive-webhook-ngrok"):
            said = self.container.run("systemd-analyze", "security", "--no-pager", f"{name}.service").stdout
            score = float(re.search(r"exposure level for \S+: ([0-9.]+)", said)[1])
            print(f"   the exposure of {name}.service is {score}")
            if name == "gdrive-webhook":
                self.report.true(f"the exposure is at most {WORST}", score <= WORST, said)

    def prepare(self):
        container = self.container
        container.write(PROBE, (Path(__file__).parent / "probe.py").read_text())
        container.write("/etc/systemd/system/probe@.service", self._shipped())
        container.write("/home/ann/letter", "private")
        container.write(str(Path("/root", "letter")), "private")
        container.write("/usr/lib/modules/proof", "")
        container.output(
            "sh", "-c",
            "install -m 4755 /usr/bin/id /usr/local/bin/id-of-root && echo > /tmp/of-somebody && mkdir -p /mnt/proof"
            " && python3 -c 'import ctypes; ctypes.CDLL(None).shmget(4711, 4096, 0o1666)'"
            " && systemctl daemon-reload",
        )  # fmt: skip

    def _shipped(self):
        """The lines of the unit, around the probe instead of the daemon."""
        ours = [line for line in self.lines if line.split("=", 1)[0] not in OTHER]
        return "\n".join([
            "[Service]", "Type=oneshot", "User=gdrive-webhook", "Group=gdrive-webhook",
            f"ExecStart=/usr/bin/python3 {PROBE} %i", "StateDirectory=gdrive-webhook",
            "StandardOutput=truncate:/run/probe-%i",
            "StandardError=inherit", "SystemCallErrorNumber=EPERM", *ours, "",
        ])  # fmt: skip

    def attempt(self, name, *properties):
        properties = [f"--property={line}" for line in properties]
        done = self.container.run(
            "systemd-run", "--quiet", "--wait", "--pipe", "--collect", *properties, "python3", PROBE, name
        )
        return self.seen(name, done.stdout.strip())

    def attempt_as_shipped(self, name):
        self.container.run("systemctl", "start", f"probe@{name}.service")
        return self.seen(name, self.container.run("cat", f"/run/probe-{name}").stdout.strip())

    def seen(self, name, said):
        if said == "done" and name in LEFT and self.container.run("sh", "-c", LEFT[name]).returncode:
            return "refused: nothing is left of it"
        return said

    def every_line(self):
        tried = set()
        for line in self.lines:
            if line.split("=", 1)[0] in OTHER:
                continue
            tried.add(line)
            if line in UNSEEN:
                print(f"   {line} is not tested: {UNSEEN[line]}")
            elif line not in TRIES:
                self.report.true(f"{line} is tried", False, "no test is defined for it")
            for name, *setting in TRIES.get(line, []):
                self.one(line, name, setting)
        self.report.equal("every tested line is in the unit", sorted((set(TRIES) | set(UNSEEN)) - tried), [])

    def one(self, line, name, setting):
        without, alone = self.attempt(name, *setting), self.attempt(name, line, *setting)
        shipped = self.attempt_as_shipped(name)
        holds = without == "done" and alone.startswith("refused") and shipped.startswith("refused")
        self.report.true(f"{line}: {name}: {shipped}", holds, (without, alone, shipped))
