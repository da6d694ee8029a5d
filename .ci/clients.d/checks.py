"""Counts what holds and what does not."""

passed = failed = 0


def check(what, holds, detail=None):
    global passed, failed
    if holds:
        passed += 1
        print(f"ok      {what}")
    else:
        failed += 1
        print(f"FAILED  {what}: {detail!r}")


def done():
    print(f"{passed} passed, {failed} failed", flush=True)
    raise SystemExit(1 if failed or not passed else 0)
