"""Builds the tests, and runs each in a process of its own."""

import json
import os
import signal
import subprocess
import tempfile
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

# They wait for timers and downloads most of the time.
AT_ONCE = 6
# Reads the sources, which are others here.
READS_SOURCES = "tidy::"


@dataclass(frozen=True)
class Test:
    binary: str
    name: str
    integration: bool


class Build:
    """The tests of a copy of the project."""

    def __init__(self, tree, target):
        self.tree = tree
        # Less to write, and what fails is not written down.
        self.surroundings = {
            **os.environ, "CARGO_TARGET_DIR": str(target), "CARGO_PROFILE_DEV_DEBUG": "0",
            "PROPTEST_CASES": "64", "PROPTEST_FAILURE_PERSISTENCE": "off", "RUST_BACKTRACE": "0",
        }

    def cargo(self, *arguments):
        """What cargo says, one JSON object for each message, and whether it succeeded."""
        command = ["cargo", *arguments, "--locked", "--message-format", "json"]
        done = subprocess.run(command, cwd=self.tree, env=self.surroundings, stdout=subprocess.PIPE, text=True)
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")], done.returncode == 0

    def errors(self):
        """Errors of the compiler in the library."""
        messages, succeeded = self.cargo("build", "--lib")
        found = [
            message["message"] for message in messages
            if message["reason"] == "compiler-message" and message["message"]["level"] == "error"
        ]
        return [] if succeeded else found

    def tests(self):
        """Builds all tests. None if that fails."""
        messages, succeeded = self.cargo("test", "--no-run", "--package", "gdrive-webhook", "--lib", "--bins", "--test", "it")
        if not succeeded:
            return None
        found = []
        for message in messages:
            if message["reason"] != "compiler-artifact" or not message["executable"] or not message["profile"]["test"]:
                continue
            kind, binary = message["target"]["kind"], message["executable"]
            if "bin" in kind:
                continue
            listed = subprocess.run([binary, "--list", "--format", "terse"], stdout=subprocess.PIPE, text=True, check=True)
            names = [line.removesuffix(": test") for line in listed.stdout.splitlines() if line.endswith(": test")]
            found += [Test(binary, name, "test" in kind) for name in names if not name.startswith(READS_SOURCES)]
        return found

    def start(self, test, mutant=0, trace=None):
        variables = {**self.surroundings, "MUTANT": str(mutant), **({"MUTANT_TRACE": str(trace)} if trace else {})}
        return subprocess.Popen(
            [test.binary, "--exact", test.name], cwd=self.tree, env=variables, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )

    def passes(self, test, limit, mutant=0, trace=None, stop=lambda: False):
        """Whether it passes within the limit. None if it was stopped before."""
        process, end = self.start(test, mutant, trace), time.monotonic() + limit
        try:
            while process.poll() is None:
                if stop():
                    return None
                if time.monotonic() > end:
                    return False
                time.sleep(0.01)
            return process.returncode == 0
        finally:
            # The daemons that the test has started, too.
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()

    def first_failure(self, tests, limits, mutant):
        """A test that fails with this change: the others are not waited for."""
        failed, left = [], list(tests)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            def run(test):
                if not failed and self.passes(test, limits[test], mutant, stop=lambda: bool(failed)) is False:
                    failed.append(test)
            running = {pool.submit(run, test) for test in left}
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for each in done:
                    each.result()
        return failed[0] if failed else None

    def measured(self, tests):
        """Runs all tests without a change: the seconds of each, what each has reached, and those that fail."""
        seconds, reached, failed = {}, {}, []

        def run(test):
            with tempfile.TemporaryDirectory() as home:
                trace = Path(home) / "trace"
                trace.touch()
                # For programs of other users as well.
                Path(home).chmod(0o755)
                trace.chmod(0o666)
                began = time.monotonic()
                passed = self.passes(test, 300, trace=trace) or self.passes(test, 300, trace=trace)
                seconds[test] = time.monotonic() - began
                reached[test] = {int(line) for line in trace.read_text().split()}
                if not passed:
                    failed.append(test)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(run, tests))
        return seconds, reached, failed
