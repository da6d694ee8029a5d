"""The crate google-drive3, by a program that prints its claims."""

import subprocess


def run(emulator, report, binary):
    key = emulator.credentials / "service-account.json"
    done = subprocess.run([binary, emulator.url, key], capture_output=True, timeout=120, text=True)
    for line in done.stdout.splitlines():
        verdict, claim = line.split(" ", 1)
        report.true(claim, verdict == "ok", done.stderr)
    report.true("the program gets to its end", done.returncode == 0, done.stderr)
