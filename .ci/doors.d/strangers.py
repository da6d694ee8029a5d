"""Strangers that hold connections open and never read: the bytes that each kind sends, and a process that holds many."""

import contextlib
import multiprocessing
import resource
import select
import socket
import time

COUNT = 1024
# The most new connections per second for those that were closed.
PACE = 200
# One byte per second keeps a request open for ever.
DRIP = 1.0


def words(kind, path):
    whole = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n"
    return {
        "idle": "",
        "keep-alive": whole,
        "half a head": f"{head}X-Half: ",
        "pipelined and never read": whole * 200,
        "slow body": f"{head}Content-Length: 1000000\r\n\r\n",
    }[kind].encode()


KINDS = ("idle", "keep-alive", "half a head", "pipelined and never read", "slow body")


def hold(kind, port, path, is_there, opened):
    """Holds COUNT connections for ever, and replaces each one that is reset."""
    said, drips = words(kind, path), kind in ("half a head", "slow body")
    held, events, began = {}, select.epoll(), time.monotonic()
    dripped = began
    while True:
        allowed = COUNT + int((time.monotonic() - began) * PACE)
        while len(held) < COUNT and opened.value < allowed:
            opened.value += 1
            with contextlib.suppress(OSError):
                stranger = socket.create_connection(("127.0.0.1", port), timeout=10)
                stranger.setblocking(False)
                held[stranger.fileno()] = stranger
                # Only the end of the other side matters.
                events.register(stranger, 0)
                stranger.send(said)
        is_there.set()
        for number, _ in events.poll(0.05):
            events.unregister(number)
            held.pop(number).close()
        if drips and time.monotonic() - dripped > DRIP:
            dripped = time.monotonic()
            for stranger in held.values():
                with contextlib.suppress(OSError):
                    stranger.send(b"x")


class Strangers:
    """A separate process, so that it does not slow down the measurement."""

    def __init__(self, kind, port, path):
        fork = multiprocessing.get_context("fork")
        self.is_there, self.count = fork.Event(), fork.Value("L", 0)
        self.process = fork.Process(target=hold, args=(kind, port, path, self.is_there, self.count), daemon=True)

    def __enter__(self):
        self.process.start()
        if not self.is_there.wait(30):
            raise TimeoutError(f"{COUNT} connections could not be opened in 30 s")
        return self

    def opened(self):
        return self.count.value

    def __exit__(self, *_):
        self.process.kill()
        self.process.join()


def may_hold_so_many():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = COUNT + 100
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise RuntimeError(f"this test needs {wanted} file handles: raise the hard limit (ulimit -Hn), which is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
