"""Counts what holds and what does not."""

import contextlib
import time
import traceback


class Report:
    def __init__(self):
        self.passed = 0
        self.failed = 0

    def true(self, claim, holds, found=""):
        """One assertion; the others go on when it fails."""
        if holds:
            self.passed += 1
            print(f"ok {claim}", flush=True)
        else:
            self.failed += 1
            print(f"FAILED {claim}: {found!r}", flush=True)

    def equal(self, claim, found, expected):
        self.true(claim, found == expected, f"{found!r} instead of {expected!r}")

    @contextlib.contextmanager
    def raises(self, claim, kind, check=lambda error: True):
        """The block must raise `kind`, and the error must pass `check`."""
        try:
            yield
        except kind as error:
            self.true(claim, check(error), error)
        else:
            self.true(claim, False, "nothing was raised")

    @contextlib.contextmanager
    def part(self, title):
        """An exception costs what follows it in its part, and counts as a failure."""
        print(f"-- {title}", flush=True)
        began = time.monotonic()
        try:
            yield
        except Exception:
            traceback.print_exc()
            self.true(f"{title} got to its end", False)
        print(f"-- {title} took {time.monotonic() - began:.1f} s", flush=True)

    def close(self):
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 1 if self.failed or not self.passed else 0


def eventually(what, look, seconds=10):
    """What `look` returns once it is anything."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise TimeoutError(f"in {seconds} s there was no {what}")
