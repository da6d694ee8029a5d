"""rclone: whole trees, names, ranges on several threads, retries."""

import hashlib
import json
import random
import subprocess

from emulator import pattern, status
from tunnel import Tunnel

LARGE = 300 << 20


class Rclone:
    """The binary, reaching www.googleapis.com and oauth2.googleapis.com through a tunnel."""

    def __init__(self, binary, home, emulator, tunnel, scope="drive.readonly"):
        self.binary, self.ca = binary, emulator.ca
        config = home / "rclone.conf"
        user = emulator.credential("authorized-user.json")
        token = {
            "access_token": "long over",
            "token_type": "Bearer",
            "refresh_token": user["refresh_token"],
            "expiry": "2020-01-01T00:00:00Z",
        }
        config.write_text(
            f"[account]\ntype = drive\nscope = {scope}\n"
            f"service_account_file = {emulator.credentials / 'service-account.json'}\n"
            f"[person]\ntype = drive\nscope = {scope}\n"
            f"client_id = {user['client_id']}\nclient_secret = {user['client_secret']}\n"
            f"token = {json.dumps(token)}\n"
        )
        self.environment = {
            "HOME": str(home),
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "RCLONE_CONFIG": str(config),
            "HTTPS_PROXY": tunnel.address,
        }

    def __call__(self, *arguments):
        """What it prints, or an error with what it complained about."""
        command = [self.binary, "--ca-cert", self.ca, "--retries", "1", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, timeout=150)
        if done.returncode:
            raise RuntimeError(f"rclone {' '.join(map(str, arguments))}: {done.stderr.decode()}")
        return done.stdout

    def listing(self, *arguments):
        """Path, kind, size and SHA-256 of each entry."""
        found = json.loads(self("lsjson", "-R", "--hash", *arguments))
        return sorted(
            (entry["Path"], entry["IsDir"], entry["Size"], entry.get("Hashes", {}).get("sha256")) for entry in found
        )


def run(emulator, report, home, binary):
    tunnel = Tunnel(emulator.tls_port)
    rclone = Rclone(binary, home, emulator, tunnel)
    try:
        expected = tree(emulator)
        lists(rclone, emulator, report, expected)
        copies(rclone, emulator, report, home, expected)
        odds(rclone, emulator, report, home)
        retries(rclone, emulator, report, home)
        large(rclone, emulator, report, home)
    finally:
        tunnel.close()
    hosts = sorted(set(tunnel.wanted))
    report.equal("rclone asked for Google's hosts and no other", hosts,
                 ["CONNECT oauth2.googleapis.com:443", "CONNECT www.googleapis.com:443"])


def tree(emulator):
    """Makes folders and files; path, kind, size and SHA-256 of each."""
    noise = random.Random(4)
    contents = {
        "plain.mp4": noise.randbytes(200_000),
        "Bob's films/Été à la mer – 夏の海 🎬.mp4": noise.randbytes(70_000),
        "Bob's films/two  spaces, 100% & a + #1.mov": noise.randbytes(12_345),
        "Bob's films/back\\slash \"quoted\".mkv": noise.randbytes(1_000),
        "Bob's films/2026/März/naïve.mp4": noise.randbytes(33_333),
        "Bob's films/2026/empty.mp4": b"",
        "Bob's films/2026/one byte.mp4": b"x",
        "空 フォルダ/深い/もっと深い/clip.webm": noise.randbytes(65_536),
    }
    folders, expected = {"": emulator.root}, []

    def folder(path):
        if path not in folders:
            parent, _, name = path.rpartition("/")
            folders[path] = emulator.folder(name, folder(parent))
            expected.append((path, True, 0, None))
        return folders[path]

    for path, content in contents.items():
        parent, _, name = path.rpartition("/")
        emulator.upload(name, content, folder(parent))
        expected.append((path, False, len(content), hashlib.sha256(content).hexdigest()))
    folder("an empty folder")
    trashed = emulator.upload("trashed.mp4", b"gone", folder("Bob's films"))["id"]
    emulator.control("PATCH", f"files/{trashed}", {"trashed": True})
    return sorted(expected)


def lists(rclone, emulator, report, expected):
    report.equal("lsjson -R lists the tree", rclone.listing("account:"), expected)
    # With a refresh token rclone goes to oauth2.googleapis.com, with the client in HTTP Basic.
    report.equal("and for a person with a refresh token", rclone.listing("person:"), expected)
    report.equal("and with several folders in one query", rclone.listing("--fast-list", "account:"), expected)
    emulator.control("DELETE", "requests")
    report.equal("and in pages of two", rclone.listing("--drive-list-chunk", "2", "account:"), expected)
    paged = [request for request in emulator.requests("files.list") if "pageToken=" in request["query"]]
    report.true("which are real pages", len(paged) >= 3, emulator.requests())
    below = [(path[len("Bob's films/"):], *rest) for path, *rest in expected if path.startswith("Bob's films/")]
    found = rclone.listing("account:Bob's films")
    report.equal("a folder with a quote in its name is found by path", found, sorted(below))
    size = json.loads(rclone("size", "--json", "account:"))
    files = [entry for entry in expected if not entry[1]]
    report.equal("size adds up", (size["count"], size["bytes"]), (len(files), sum(entry[2] for entry in files)))


def local(directory):
    """The same as a listing, of what is on disk."""
    found = []
    for path in directory.rglob("*"):
        is_folder = path.is_dir()
        content = b"" if is_folder else path.read_bytes()
        found.append((
            str(path.relative_to(directory)), is_folder, len(content),
            None if is_folder else hashlib.sha256(content).hexdigest(),
        ))
    return sorted(found)


def copies(rclone, emulator, report, home, expected):
    copy = home / "copy"
    rclone("copy", "--create-empty-src-dirs", "account:", copy)
    report.equal("copy brings the tree, byte for byte", local(copy), expected)
    rclone("check", "--download", "account:", copy)
    report.true("check --download finds no difference", True)
    for kind in ("md5", "sha1", "sha256"):
        rclone("checksum", kind, sums(home, kind, copy), "account:")
        report.true(f"checksum {kind} finds no difference", True)
    emulator.control("DELETE", "requests")
    rclone("copy", "account:", copy)
    report.equal("a second copy downloads nothing", emulator.requests("files.media"), [])
    changed = next(copy.rglob("naïve.mp4"))
    changed.write_bytes(b"y" + changed.read_bytes()[1:])
    try:
        rclone("check", "--download", "account:", copy)
        report.true("check --download notices one wrong byte", False)
    except RuntimeError as error:
        report.true("check --download notices one wrong byte", "1 differences found" in str(error), error)


def sums(home, kind, directory):
    """A file as md5sum and its like write it."""
    path = home / f"sums.{kind}"
    lines = [
        f"{hashlib.new(kind, file.read_bytes()).hexdigest()}  {file.relative_to(directory)}\n"
        for file in directory.rglob("*") if file.is_file()
    ]
    path.write_text("".join(lines))
    return path


def odds(rclone, emulator, report, home):
    found = rclone("cat", "--offset", "100", "--count", "50", "account:plain.mp4")
    report.equal("cat reads a range", found, (home / "copy" / "plain.mp4").read_bytes()[100:150])
    quota = json.loads(rclone("about", "--json", "person:"))
    report.true("about shows the quota", quota["total"] > quota["used"] > 0, quota)
    team = emulator.control("POST", "drives", {"name": "Team"})["id"]
    emulator.upload("shared.mp4", b"shared", emulator.folder("Rushes", team))
    drives = json.loads(rclone("backend", "drives", "person:"))
    report.equal("the shared drive is there", [(drive["id"], drive["name"]) for drive in drives], [(team, "Team")])
    found = rclone.listing(f"person,team_drive={team}:")
    expected = [("Rushes", True, 0, None), ("Rushes/shared.mp4", False, 6, hashlib.sha256(b"shared").hexdigest())]
    report.equal("and is listed", found, expected)
    folder = emulator.folder("links")
    target = emulator.upload("target.mp4", b"target", folder)["id"]
    emulator.control("POST", "shortcuts", {"name": "link.mp4", "target": target, "parent": folder})
    report.equal("a shortcut leads to its target", rclone("cat", "account:links/link.mp4"), b"target")


def retries(rclone, emulator, report, home):
    content = random.Random(5).randbytes(3 << 20)
    emulator.upload("film.mp4", content, emulator.folder("faults"))
    target = home / "faults" / "film.mp4"
    for claim, operation, action in (
        ("a rate limit while listing", "files.list", status(403, "userRateLimitExceeded")),
        ("a 429 while listing", "files.list", status(429, "rateLimitExceeded")),
        ("a 503 instead of media", "files.media", status(503, "backendError")),
        ("a cut connection", "files.media", {"cutAfter": {"bytes": 1_000_000}}),
        ("a reset connection", "files.media", {"resetAfter": {"bytes": 2_000_000}}),
    ):
        emulator.fault(operation, action)
        emulator.control("DELETE", "requests")
        rclone("copy", "account:faults", target.parent)
        tries = len(emulator.requests(operation))
        report.true(f"rclone gets over {claim}", target.read_bytes() == content and tries >= 2, tries)
        target.unlink()


def large(rclone, emulator, report, home):
    sha256 = emulator.upload("large.mp4", pattern(6, LARGE), emulator.folder("large"))["sha256Checksum"]
    emulator.control("DELETE", "requests")
    rclone("copy", "--multi-thread-streams", "4", "--multi-thread-cutoff", "64M", "person:large", home / "large")
    digest = hashlib.sha256()
    with open(home / "large" / "large.mp4", "rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            digest.update(chunk)
    report.equal("300 MiB on four threads have the right sha256", digest.hexdigest(), sha256)
    parts = emulator.requests("files.media")
    bounds = [[int(bound) for bound in part["range"][len("bytes="):].split("-")] for part in parts if part["range"]]
    bounds.sort()
    follow = [first for first, _ in bounds] == [0] + [last + 1 for _, last in bounds[:-1]]
    report.true("in ranges that make up the file", len(bounds) >= 4 and follow and bounds[-1][1] == LARGE - 1, bounds)
    report.equal("all of them 206", {part["status"] for part in parts}, {206})
    (home / "large" / "large.mp4").unlink()
