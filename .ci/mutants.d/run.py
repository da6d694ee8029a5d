"""Changes the deciding files, and counts how many changes the unit tests notice: run.py DIRECTORY [ROOM...]."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

from report import Report
from tree import described, refresh

# The files that decide, by room.
FILES = {
    "retry": ["src/retry.rs"],
    "model": ["src/model/**"],
    "receiver": ["src/receiver/**"],
    "admin": ["src/admin/mod.rs", "src/admin/health.rs", "src/admin/origin.rs", "src/admin/shared.rs"],
    "channel": ["src/channel/address.rs", "src/channel/plan.rs", "src/channel/registry.rs"],
    "drive": ["src/drive/**"],
    "sync": [
        f"src/sync/{name}.rs"
        for name in ("contents", "decide", "decision", "pace", "reading", "rules", "targets", "tree", "waits")
    ],
}
WANTED = 0.95
# A test that waits for something that a change has taken away must not hold up the others.
TIMEOUT = "60"


def outcomes(room, files, place):
    """What came of each change: what was changed, and whether a test noticed it."""
    tree = place / "tree"
    refresh(tree)
    command = ["cargo", "mutants", "--in-place", "--no-shuffle", "--colors", "never", "--timeout", TIMEOUT]
    command += ["--package", "gdrive-webhook", "--output", place / room, "--cargo-arg=--locked", "--cargo-arg=--lib"]
    for file in files:
        command += ["--file", file]
    # Nothing but the tests of the room: what only another room notices is not proven here.
    command += ["--", f"{room}::"]
    surroundings = {
        **os.environ, "CARGO_TARGET_DIR": str(place / "build"), "CARGO_PROFILE_DEV_DEBUG": "0",
        # Fewer than usual: the tests of a room run once for each change. What fails is not written down.
        "PROPTEST_CASES": "64", "PROPTEST_FAILURE_PERSISTENCE": "off",
    }
    done = subprocess.run(command, cwd=tree, env=surroundings)
    # 2 and 3: some changes were not noticed, or ran out of time.
    if done.returncode not in (0, 2, 3):
        raise RuntimeError(f"cargo mutants ended with {done.returncode}")
    found = json.loads((place / room / "mutants.out" / "outcomes.json").read_text())["outcomes"]
    return [
        (described(outcome["scenario"]["Mutant"], tree), outcome["summary"])
        for outcome in found if outcome["scenario"] != "Baseline"
    ]


def judge(report, room, found, excused):
    noticed = [mutant for mutant, summary in found if summary in ("CaughtMutant", "Timeout")]
    missed = [mutant for mutant, summary in found if summary == "MissedMutant"]
    viable = len(noticed) + len(missed)
    share = len(noticed) / viable if viable else 0
    claim = f"{room}: {len(noticed)} of {viable} changes fail a unit test ({share:.1%})"
    report.true(claim, share >= WANTED, f"{WANTED:.0%} are wanted")
    for mutant in missed:
        if mutant not in excused:
            report.true(f"{room}: no test tells the code from the code with this change", False, mutant)
    for mutant in excused:
        report.true(f"{room}: a change that is called equivalent is there and fails no test", mutant in missed, mutant)


def main():
    place, rooms = Path(sys.argv[1]).resolve(), sys.argv[2:] or list(FILES)
    place.mkdir(parents=True, exist_ok=True)
    named = tomllib.loads((Path(__file__).parent / "equivalent.toml").read_text())
    report = Report()
    for room in rooms:
        rows = named.get(room, [])
        report.true(f"{room}: each equivalent change has a reason", all(row["reason"] for row in rows))
        excused = [(row["file"], row["change"], row["code"]) for row in rows]
        with report.part(room):
            judge(report, room, outcomes(room, FILES[room], place), excused)
    sys.exit(report.close())


main()
