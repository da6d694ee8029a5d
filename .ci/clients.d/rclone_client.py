"""rclone, unchanged: it lists and copies a tree, and fetches a large file by several ranges at once."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import urllib.parse
import urllib.request

from checks import check, done

rclone, address, home, proxy = sys.argv[1:]
home = pathlib.Path(home)
config = home / "rclone.conf"
config.write_text(
    f"[emulated]\ntype = drive\nscope = drive.readonly\nservice_account_file = {home}/credentials/service-account.json\n"
)
environment = {
    "PATH": os.environ["PATH"],
    "HOME": str(home),
    "GOOGLE_CLOUD_UNIVERSE_DOMAIN": "drive.test",
    "HTTPS_PROXY": f"http://127.0.0.1:{proxy}",
    "NO_PROXY": "127.0.0.1",
}


def control(path, body, kind="application/json"):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}/control/{path}", data, {"content-type": kind})
    return json.loads(urllib.request.urlopen(request).read())


def run(*arguments):
    command = [rclone, "--config", config, "--ca-cert", home / "ca.pem", "--retries", "1", *map(str, arguments)]
    done_ = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    if done_.returncode:
        print(done_.stderr[-2000:])
    return done_


tree = {"a.mp4": b"a" * 100_000, "sub folder/b ü.mov": os.urandom(300_000), "sub folder/deeper/c.webm": b"c"}
top = control("folders", {"name": "Tree"})["id"]
folders = {"": top}
for path, content in tree.items():
    parent, _, name = path.rpartition("/")
    here = ""
    for part in filter(None, parent.split("/")):
        below = f"{here}/{part}".strip("/")
        if below not in folders:
            folders[below] = control("folders", {"name": part, "parent": folders[here]})["id"]
        here = below
    query = urllib.parse.urlencode({"name": name, "parent": folders[here]})
    control(f"files?{query}", content, "application/octet-stream")

listed = run("lsjson", "-R", "--files-only", "--hash", "emulated:Tree")
check("rclone lists", listed.returncode == 0, listed.stderr[-500:])
found = {item["Path"]: item for item in json.loads(listed.stdout or "[]")}
check("the whole tree", sorted(found) == sorted(tree), sorted(found))
check("with sizes and checksums", all(
    found[path]["Size"] == len(content) and found[path]["Hashes"]["md5"] == hashlib.md5(content).hexdigest()
    for path, content in tree.items()
), found)

copied = run("copy", "emulated:Tree", home / "copy")
check("rclone copies", copied.returncode == 0, copied.stderr[-500:])
check("every byte", all((home / "copy" / path).read_bytes() == content for path, content in tree.items()))
checked = run("check", "emulated:Tree", home / "copy")
check("and finds both sides equal", checked.returncode == 0, checked.stderr[-500:])

large = control(f"files?name=large.mp4&parent={top}", {"pattern": {"seed": 7, "size": 300 << 20}})
ranged = run("copy", "--multi-thread-streams", 4, "--multi-thread-cutoff", "64M", "emulated:Tree/large.mp4", home / "large")
check("rclone fetches a large file", ranged.returncode == 0, ranged.stderr[-500:])
digest = hashlib.sha256()
with open(home / "large" / "large.mp4", "rb") as file:
    while piece := file.read(1 << 20):
        digest.update(piece)
check("with the right bytes", digest.hexdigest() == large["sha256Checksum"], digest.hexdigest())
requests = json.loads(urllib.request.urlopen(f"{address}/control/requests?operation=files.media").read())
requests = requests["requests"] if isinstance(requests, dict) else requests
ranges = [request["range"] for request in requests if request["range"]]
check("by several ranges", len(ranges) >= 4, ranges)
done()
