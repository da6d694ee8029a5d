"""Dependencies and reproducibility of the shipped binary: run.py TARGET_DIRECTORY DIRECTORY."""

import json
import re
import subprocess
import sys
import zlib
from pathlib import Path

from report import Report

DENY = ["cargo", "deny", "--config", ".cargo/deny.toml", "--locked"]


def run(*command, cwd=None):
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout, done.returncode


def dependencies(report, home):
    with report.part("dependencies"):
        said, status = run(*DENY, "check", "--hide-inclusion-graph", "bans", "licenses", "sources")
        report.true("no forbidden crate, licence or source, and none twice without a reason", status == 0, said)
        report.true("no allowed licence or exception is unused", not re.search(r"^warning", said, re.M), said)
        config = Path(".cargo/deny.toml").read_text()
        strict = home / "strict.toml"
        strict.write_text(config.replace("deny = [", 'deny = [\n    { crate = "ring" },').replace('"ISC", ', ""))
        said, status = run(*DENY[:3], strict, "--locked", "check", "--hide-inclusion-graph", "bans", "licenses")
        both = "bans FAILED" in said and "licenses FAILED" in said
        report.true("a forbidden crate and a licence that is not allowed would be found", status and both, said)


def advisories(report):
    with report.part("advisories"):
        said, status = run(*DENY, "check", "advisories")
        if "failed to fetch advisory database" in said:
            print("not checked: the database of advisories is not available")
        else:
            report.true("no advisory against a dependency", status == 0, said)


def licences(report, place):
    """Of the shipped crates, by crate."""
    with report.part("licences"):
        said, status = run(*DENY, "--no-default-features", "--exclude-dev", "list", "--layout", "crate")
        lines = [line for line in said.splitlines() if "@" in line or ":" in line]
        (place / "licences.txt").write_text(said)
        report.true(f"a list for {len(lines)} crates: {place}/licences.txt", status == 0 and len(lines) > 100, said[-500:])


def checkout(place):
    """A copy of the committed files with the changes since, in a separate folder."""
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ".", place], check=True)
    changes = subprocess.run(["git", "diff", "--binary", "HEAD"], check=True, stdout=subprocess.PIPE).stdout
    if changes:
        subprocess.run(["git", "apply"], cwd=place, input=changes, check=True)
    return place


def sbom(report, tree, place):
    with report.part("SBOM"):
        said, status = run("cargo", "cyclonedx", "--format", "json", "--spec-version", "1.5", "--describe", "binaries",
                           "--no-default-features", "--quiet", cwd=tree)  # fmt: skip
        report.true("an SBOM is created", status == 0, said)
        text = (tree / "gdrive-webhook_bin.cdx.json").read_text()
        (place / "sbom.cdx.json").write_text(text)
        parts = {(part["name"], part["version"]): part for part in json.loads(text)["components"]}
        report.true(f"it has {len(parts)} crates: {place}/sbom.cdx.json", len(parts) > 100)
        unclear = [name for name, part in parts.items() if not part.get("licenses") or not part.get("hashes")]
        report.equal("each has its licence and its checksum", unclear, [])
        report.true("the emulator is not among them", not any(name == "drive-emulator" for name, _ in parts))
        return set(parts)


def listed(binary, home):
    """The list that `cargo auditable` wrote into it."""
    section = home / "section"
    subprocess.run(["objcopy", "--dump-section", f".dep-v0={section}", binary, home / "copy"], check=True)
    packages = json.loads(zlib.decompress(section.read_bytes()))["packages"]
    return {(package["name"], package["version"]) for package in packages if package.get("source") != "local"}


def build(tree, target):
    done = subprocess.run([".ci/build-release", target, "static"], cwd=tree, stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.strip())


def version(binary):
    return run(binary, "--version")[0]


def bytes_of(report, tree, home, image, parts):
    with report.part("bytes"):
        first = build(tree, home / "first-target")
        if image.exists() and version(image) == version(first):
            other = "the image was built of"
        else:
            image = build(checkout(home / "another" / "folder"), home / "another" / "target")
            other = "another folder gives"
        same = first.read_bytes() == image.read_bytes()
        report.true(f"{other} the same {first.stat().st_size} bytes: {version(first).strip()}", same, differences(first, image))
        inside = listed(first, home)
        report.true(f"the binary lists its {len(inside)} crates for scanners", len(inside) > 100)
        report.equal("all of them are in the SBOM", sorted(inside - parts), [])
        places = [place for place in (str(home), str(Path.cwd()), f"{Path.home()}/.") if place.encode() in first.read_bytes()]
        report.equal("no folder of this machine is in it", places, [])


def differences(one, other):
    """The first difference."""
    one, other = one.read_bytes(), other.read_bytes()
    at = next((n for n in range(0, min(len(one), len(other)), 64) if one[n : n + 64] != other[n : n + 64]), None)
    return (len(one), len(other), at, one[at : at + 64], other[at : at + 64]) if at is not None else (len(one), len(other))


def main():
    target, home = (Path(argument) for argument in sys.argv[1:3])
    report, place = Report(), target / "supply"
    dependencies(report, home)
    advisories(report)
    licences(report, place)
    tree = checkout(home / "tree")
    parts = sbom(report, tree, place)
    bytes_of(report, tree, home, target / "image" / "gdrive-webhook", parts or set())
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
