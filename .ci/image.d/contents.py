"""The files that must and must not be in the image."""

import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from engine import docker

# Directories during the build of the image, and on developers' machines.
PLACES = rb"/(build/|root/\.|usr/local/(cargo|rustup)/)"
SECRETS = ["local/config/credentials.json", "credentials.json", "config/.env", ".env", "token.json", "client_secret_1.json",
           "service-account.json", "state.db", "gdrive-webhook.toml", "src/credentials.json"]  # fmt: skip


def check(report, tree, image, place):
    with tempfile.TemporaryDirectory() as home:
        unpack(image, Path(home))
        inside(report, Path(home))
        # Another build is compared with it.
        place.mkdir(exist_ok=True)
        shutil.copy(Path(home) / "usr/bin/gdrive-webhook", place)
    labels(report, tree, image)
    secrets(report, tree)


def inside(report, root):
    files(report, root)
    binary(report, root / "usr/bin/gdrive-webhook")


def unpack(image, home):
    container = docker("create", image)
    with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as export:
        with tarfile.open(fileobj=export.stdout, mode="r|") as archive:
            archive.extractall(home, filter="tar") if hasattr(tarfile, "data_filter") else archive.extractall(home)
    docker("rm", container)


def files(report, root):
    # The engine itself adds these.
    own = {".dockerenv", "dev", "proc", "sys", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf"}
    found = {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}
    found = {path for path in found if path not in own and path.split("/")[0] not in own}
    others = {path for path in found if not path.startswith("usr/share/zoneinfo/")}
    expected = {"usr/bin/gdrive-webhook", "etc/ssl/certs/ca-certificates.crt"}
    report.equal("the program and certificates are in it, and nothing else", others, expected)
    report.true("it has time zones", "usr/share/zoneinfo/Europe/Berlin" in found)


def binary(report, path):
    headers = subprocess.run(["readelf", "--wide", "--sections", "--segments", path], stdout=subprocess.PIPE, text=True)
    report.true("the program is linked statically", "INTERP" not in headers.stdout, headers.stdout)
    report.true("and stripped", ".symtab" not in headers.stdout and ".debug_info" not in headers.stdout, headers.stdout)
    data = path.read_bytes()
    report.equal("it names no folder of the building machine", sorted({m[0] for m in re.finditer(PLACES + rb"[^\0]{0,40}", data)}), [])
    report.true("the emulator is not in it", b"drive-emulator" not in data)


def labels(report, tree, image):
    head = subprocess.run(["git", "-c", "safe.directory=*", "rev-parse", "HEAD"], cwd=tree, stdout=subprocess.PIPE, text=True).stdout.strip()
    version = docker("run", "--rm", image, "--version")
    report.true(f"its version has the commit: {version}", version.endswith(f"({head[:12]})"), head)
    label = docker("image", "inspect", "--format", '{{index .Config.Labels "org.opencontainers.image.revision"}}', image)
    report.equal("so does its label", label, head)
    report.equal("it runs as a non-root user", docker("image", "inspect", "--format", "{{.Config.User}}", image), "1000:1000")
    health = docker("image", "inspect", "--format", "{{.Config.Healthcheck.Test}}", image)
    report.true("it has a health check", "status --check" in health, health)


def secrets(report, tree):
    """Keys, logins and results in the folder get neither into a commit nor into a build."""
    made = []
    for name in SECRETS:
        path = tree / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("secret")
            made.append(path)
    shown = subprocess.run(["git", "-c", "safe.directory=*", "status", "--porcelain", "--untracked-files=all"],
                           cwd=tree, stdout=subprocess.PIPE, text=True).stdout  # fmt: skip
    known = [name for name in SECRETS if any(line.endswith(f" {name}") for line in shown.splitlines())]
    report.equal("git ignores keys, logins, database and videos", known, [])
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "Dockerfile").write_text("FROM scratch\nCOPY . /\nCMD [\"none\"]\n")
        docker("build", "--quiet", "--tag", "gdrive-webhook-context", "--file", f"{home}/Dockerfile", str(tree))
        unpack("gdrive-webhook-context", Path(home) / "context")
        docker("rmi", "gdrive-webhook-context")
        sent = [name for name in SECRETS if (Path(home) / "context" / name).exists()]
        report.equal("none of these goes into a build", sent, [])
        report.true("the sources do", (Path(home) / "context/src/main.rs").exists())
    for path in made:
        path.unlink()
