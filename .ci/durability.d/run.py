"""Lets the daemon deliver under strace and judges the trace: run.py DAEMON EMULATOR DIRECTORY."""

import collections
import hashlib
import signal
import sqlite3
import sys
import time
import traceback
from pathlib import Path

from doctor import doctored
from ledger import Ledger
from rules import GENERAL, RULES, judge
from trace import Trace
from world import Daemon, Emulator

MEGABYTE = 1_000_000


class Count:
    def __init__(self):
        self.all = self.failed = 0

    def __call__(self, claim, holds, found=""):
        self.all += 1
        if not holds:
            self.failed += 1
            print(f"FAILED {claim}: {found}", flush=True)


def deliver(daemon_binary, emulator_binary, home, count):
    """The daemon after its work, which folder each file is in, and what each path has to contain."""
    with Emulator(emulator_binary, home) as emulator, Daemon(daemon_binary, emulator, home) as daemon:
        try:
            small = emulator.upload("small.mp4", 1000, emulator.inbox)
            large = emulator.upload("large.mp4", 5 * MEGABYTE, emulator.inbox)
            folder = emulator.folder("Holiday")
            first = emulator.upload("first.mp4", 20_000, folder)
            second = emulator.upload("second.mp4", 30_000, folder)
            daemon.until_done(4)
            revised = emulator.revise(small["id"], 2000)
            daemon.until_done(5)
            # Each connection is held to this, so that several of them come.
            emulator.control("settings", {"rate": 8 * MEGABYTE})
            long = emulator.upload("long.mp4", 80 * MEGABYTE, emulator.inbox)
            daemon.until_done(6)
            count("the daemon ends in order", daemon.terminate() == 0, "it did not")
            crashed, stopped = crash_and_stop(emulator, daemon, count)
        except BaseException:
            print(daemon.log.read_text())
            raise
    parents = {file["id"]: emulator.inbox for file in (small, large, long, crashed, stopped)}
    parents |= {file["id"]: folder for file in (first, second)}
    contents = {"small.mp4": revised, "large.mp4": large, "long.mp4": long}
    contents |= {"crashed.mp4": crashed, "stopped.mp4": stopped}
    contents |= {"Holiday/first.mp4": first, "Holiday/second.mp4": second}
    return daemon, parents, {path: file["sha256Checksum"] for path, file in contents.items()}


def crash_and_stop(emulator, daemon, count):
    """Two more files: one is moved when the daemon crashes, the other one comes while it is stopped."""
    emulator.control("settings", {"rate": None})
    daemon.start(GDRIVE_WEBHOOK_KILL_AT="moved")
    crashed = emulator.upload("crashed.mp4", 5 * MEGABYTE, emulator.inbox)
    count("the daemon crashes", daemon.until_killed(), "it did not")
    daemon.start()
    daemon.until_done(7)
    emulator.control("settings", {"rate": 4 * MEGABYTE})
    stopped = emulator.upload("stopped.mp4", 80 * MEGABYTE, emulator.inbox)
    daemon.until_writing()
    count("the daemon stops in the middle of a download", daemon.terminate() == 0, "it did not")
    emulator.control("settings", {"rate": None})
    daemon.start()
    daemon.until_done(8)
    count("the daemon ends in order once more", daemon.terminate() == 0, "it did not")
    return crashed, stopped


def look_at_disk(daemon, contents, count):
    for path, wanted in contents.items():
        file = daemon.home / "videos" / path
        found = file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest()
        count(f"{path} is what Drive has", found == wanted, found)
    connection = sqlite3.connect(daemon.home / "state.db")
    mode = connection.execute("pragma journal_mode").fetchone()[0]
    connection.close()
    count("journal_mode is wal", mode == "wal", mode)


def show(trace, deliveries):
    for delivery in deliveries:
        print(f"\n{delivery.title()}")
        for line, what in delivery.steps():
            print(f"  {trace.time(int(line))}  {what}")


def sum_up(checks):
    print()
    by_rule = collections.defaultdict(list)
    for check in checks:
        by_rule[check.rule].append(check.holds)
    for rule, text in (RULES | GENERAL).items():
        held = by_rule[rule]
        print(f"  {'ok' if held and all(held) else 'NO':3} {sum(held)}/{len(held)}  {text}")
    return [rule for rule in RULES | GENERAL if rule not in by_rule]


def prove(daemon, parents, scratch, count):
    with open(daemon.traced, errors="surrogateescape") as lines:
        # Threads that end and signals that come are no calls.
        lines = [line for line in lines if not line.split(None, 2)[2].startswith(("+++", "---"))]
    home = daemon.home
    trace = Trace(lines, home)
    ledger = Ledger(trace, home / "state.db", scratch)
    checks, deliveries = judge(trace, ledger, parents)
    show(trace, deliveries)
    ways = sorted((d.row["place"], d.row["place_replaces"]) for d in deliveries)
    names = ["Holiday/first.mp4", "Holiday/second.mp4", "crashed.mp4", "large.mp4", "long.mp4", "small.mp4"]
    wanted = [*((path, 0) for path in names), ("small.mp4", 1), ("stopped.mp4", 0)]
    count("eight deliveries, one of them an exchange", ways == wanted, ways)
    unused = sum_up(checks)
    count("every rule was put to use", not unused, unused)
    for check in checks:
        text = (RULES | GENERAL)[check.rule]
        count(f"{check.about}: {text}", check.holds, check.found)
    if not all(check.holds for check in checks):
        print("no trace is doctored: this one is broken as it stands")
        return

    print()
    seen = set()
    for title, *other, rule in doctored(trace, ledger, deliveries):
        seen.add(rule)
        checks, _ = judge(*other, parents)
        broken = collections.Counter(check.rule for check in checks if not check.holds)
        print(f"  {'caught' if broken[rule] else 'MISSED'}  {title}: {dict(broken)}")
        count(f"a trace with {title} is refused", broken[rule] > 0, dict(broken))
    untried = set(RULES | GENERAL) - seen
    count("every rule has been seen to fail", not untried, untried)


def main():
    daemon_binary, emulator_binary, home = (Path(argument).resolve() for argument in sys.argv[1:4])
    # Whoever ends this ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    began = time.monotonic()
    count = Count()
    try:
        daemon, parents, contents = deliver(daemon_binary, emulator_binary, home, count)
        look_at_disk(daemon, contents, count)
        scratch = home / "scratch"
        scratch.mkdir()
        prove(daemon, parents, scratch, count)
    except Exception:
        traceback.print_exc()
        count("it got to its end", False)
    print(f"\nin {time.monotonic() - began:.1f} s")
    print(f"{count.all} checks, {count.failed} failed", flush=True)
    sys.exit(1 if count.failed else 0)


main()
