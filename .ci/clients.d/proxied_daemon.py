"""The daemon itself where the only way out is a proxy, and Google goes by its own names."""

import base64
import hashlib
import json
import os
import subprocess

from emulator import pattern
from tunnel import Tunnel

TOKEN_URI = "https://oauth2.googleapis.com/token"
KEY = base64.b64encode(b"me:a@b").decode()


def run(emulator, report, home, binary):
    for name in ("service-account.json", "authorized-user.json"):
        tunnel = Tunnel(emulator.tls_port)
        try:
            sync(emulator, report, home, binary, tunnel, name)
        finally:
            tunnel.close()
        found = sorted(set(tunnel.wanted))
        report.equal(f"{name}: tokens, calls and bytes took the proxy", found,
                     ["CONNECT oauth2.googleapis.com:443", "CONNECT www.googleapis.com:443"])
        report.equal(f"{name}: and showed it what it wants", tunnel.shown, {f"Basic {KEY}"})


def sync(emulator, report, home, binary, tunnel, name):
    place = home / name.partition(".")[0]
    place.mkdir()
    folder = emulator.folder(name)
    sums = {
        f"clip-{n}.mp4": emulator.upload(f"clip-{n}.mp4", pattern(n, 20_000_000), folder)["sha256Checksum"]
        for n in range(3)
    }
    credential = emulator.credential(name)
    credential["token_uri"] = TOKEN_URI
    (place / "credentials.json").write_text(json.dumps(credential))
    (place / "gdrive-webhook.toml").write_text(
        f'[google]\ncredentials = "credentials.json"\n[state]\nurl = "sqlite:state.db"\n'
        f'[[folder]]\nid = "{folder}"\ndestination = "videos"\nexisting = "download"\n'
    )
    environment = {
        "PATH": os.environ["PATH"],
        "SSL_CERT_FILE": str(emulator.ca),
        "HTTPS_PROXY": tunnel.address.replace("://", "://me:a%40b@"),
    }
    done = subprocess.run([binary, "sync"], cwd=place, env=environment, capture_output=True, timeout=120)
    report.equal(f"{name}: sync ends well", done.returncode, 0)
    if done.returncode:
        print(done.stdout.decode(), done.stderr.decode())
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (place / "videos").glob("*.mp4")
    }
    report.equal(f"{name}: three videos are there and right", found, sums)
    report.true(f"{name}: nobody is told the proxy's password", b"a@b" not in done.stdout + done.stderr)
