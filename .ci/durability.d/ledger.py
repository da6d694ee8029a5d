"""The ledger as it was at each moment, put together from the bytes that were written to it.

Two of them: `written` has every byte from the moment that its write began, `durable` has only what an fsync had made
so. A power cut leaves something between the two."""

import hashlib
import sqlite3
from dataclasses import dataclass, field

from trace import OPENS, REMOVES, SYNCS, WRITES

FRAME_HEADER = 24
_known = {}


@dataclass
class State:
    deliveries: dict = field(default_factory=dict)
    tokens: dict = field(default_factory=dict)
    unlisted: frozenset = frozenset()


class Ledger:
    def __init__(self, trace, path, scratch):
        self.path, self.journal = str(path), f"{path}-wal"
        self.scratch = scratch
        self.trace = trace
        # (line, state), whenever it became another.
        self.written = self._written()
        self.durable = self._durable()

    def _changes(self, path):
        """(call, what it does to the bytes)"""
        found = []
        for call in self.trace.of(path, WRITES):
            if call.name == "pwrite64":
                found.append((call, put(call.text(1), int(call.arguments[3]))))
            elif call.name == "ftruncate":
                found.append((call, cut(int(call.arguments[1]))))
            else:
                raise ValueError(f"the ledger is written by {call.name}, which is not understood here")
        found += [(call, cut(0)) for call in self.trace.of(path, REMOVES)]
        return sorted(found, key=lambda change: change[0].begin)

    def _written(self):
        images = {self.path: bytearray(), self.journal: bytearray()}
        changes = [(call, path, change) for path in images for call, change in self._changes(path)]
        moments = []
        for call, path, change in sorted(changes, key=lambda change: change[0].begin):
            change(images[path])
            self._note(moments, call.begin, images)
        return moments

    def _durable(self):
        images = {self.path: bytearray(), self.journal: bytearray()}
        left = {path: self._changes(path) for path in images}
        events = [call for path in images for call in self.trace.of(path, SYNCS | REMOVES)]
        moments = []
        for event in sorted(events, key=lambda call: call.end):
            path = event.path
            # An unlinked journal is empty, and what was to be in it is void.
            limit = event.end + 1 if event.name in REMOVES else event.begin
            while left[path] and left[path][0][0].end < limit:
                left[path].pop(0)[1](images[path])
            self._note(moments, event.end, images)
        return moments

    def _note(self, moments, line, images):
        state = look(bytes(images[self.path]), bytes(images[self.journal]), self.scratch)
        if not moments or moments[-1][1] != state:
            moments.append((line, state))

    def commits(self):
        """(the writes of a transaction, the first write of the next one or None)"""
        groups, current = [], []
        last = False
        for call in self.trace.of(self.journal, {"pwrite64"}):
            current.append(call)
            data = call.text(1)
            if last:
                groups.append(current)
                current, last = [], False
            elif len(data) == FRAME_HEADER and any(data[4:8]):
                # The header of the frame that ends a transaction; its page comes next.
                last = True
        following = [group[0] for group in groups[1:]] + [None]
        return list(zip(groups, following))

    def names(self):
        """The files that it consists of, each with the call that made it."""
        return [(path, self.trace.of(path, OPENS)) for path in (self.path, self.journal)]


def put(data, offset):
    def change(image):
        if len(image) < offset + len(data):
            image.extend(bytes(offset + len(data) - len(image)))
        image[offset : offset + len(data)] = data

    return change


def cut(size):
    def change(image):
        del image[size:]
        image.extend(bytes(size - len(image)))

    return change


def look(database, journal, scratch):
    """What SQLite finds in these bytes after a crash."""
    key = (hashlib.sha1(database).digest(), hashlib.sha1(journal).digest())
    if key not in _known:
        _known[key] = _look(database, journal, scratch)
    return _known[key]


def _look(database, journal, scratch):
    if not database:
        return State()
    path = scratch / "image.db"
    for old in scratch.glob("image.db*"):
        old.unlink()
    path.write_bytes(database)
    (scratch / "image.db-wal").write_bytes(journal)
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("pragma synchronous = off")
        if not connection.execute("select 1 from sqlite_schema where name = 'delivery'").fetchone():
            return State()
        rows = connection.execute("select * from delivery order by seq")
        deliveries = {row["id"]: dict(row) for row in rows}
        tokens = dict(connection.execute("select log, page_token from change_log").fetchall())
        unlisted = connection.execute("select id from folder where listing <> 'done'")
        return State(deliveries, tokens, frozenset(row[0] for row in unlisted))
    finally:
        connection.close()


def first(moments, holds):
    """The line at which it first held, or None."""
    return next((line for line, state in moments if holds(state)), None)


def at(moments, line):
    """The last state before a line."""
    state = State()
    for moment, later in moments:
        if moment >= line:
            break
        state = later
    return state
