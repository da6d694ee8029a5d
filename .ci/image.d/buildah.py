"""The image without an engine: its build and its contents. buildah.py DIRECTORY."""

import subprocess
import sys
from pathlib import Path

import contents
from report import Report

IMAGE, LARGEST = "gdrive-webhook", 20_000_000


def buildah(*arguments):
    return subprocess.run(["buildah", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def main():
    home, report = Path(sys.argv[1]), Report()
    subprocess.run([".ci/image.d/base", "rust:1-slim-bookworm", home, "buildah"], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    with report.part("build"):
        # The OCI format has no health check.
        build = ["bud", "--format", "docker", "--layers", "--tag", IMAGE, "--build-arg", f"COMMIT={head}", "."]
        subprocess.run(["buildah", *build], check=True)
        container = buildah("from", IMAGE)
        root = Path(buildah("mount", container))
        size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())
        report.true(f"the files in it have {size / 1e6:.1f} MB, {LARGEST / 1e6:.0f} at most", size <= LARGEST)
        contents.inside(report, root)
        version = buildah("run", container, "--", "/usr/bin/gdrive-webhook", "--version")
        report.true(f"it says which commit it is: {version}", version.endswith(f"({head[:12]})"), head)
        buildah("rm", container)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
