"""What has to come before what."""

import json
import math
import os
import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from ledger import State, at, first
from trace import DATA, MAKES, MOVES, OPENS, REMOVES, SYNCS, WRITES

HIDDEN = ".gdrive-webhook"
MEDIA = re.compile(r"/files/([^/?]+)$")

# Each rule by a word, which is what a doctored trace is expected to break.
RULES = {
    "whole": "every byte is written before the part's last fsync, and none after it",
    "ranges": "which bytes with gaps between them are there is said durably, and only of bytes that are durable",
    "gap": "that it is said at all is durable before the first byte beyond a gap is written",
    "stop": "what is there when the program is stopped is durable before it ends",
    "named": "the part's name is durable before the ledger says 'publishing'",
    "publishing": "'publishing' is written after the part's fsync, and durable before the rename",
    "rename": "one rename, after the part's fsync, that overwrites nothing",
    "folders": "new folders are durable in their parents before the rename",
    "place": "the final folder is made durable after the rename",
    "earlier": "an earlier content is removed only after that",
    "done": "'done' is written after that, and becomes durable",
    "recorded": "the delivery is durable before its part is opened",
    "together": "the delivery came with the token that passes it, or with the listing of its folder",
}
GENERAL = {
    "request": "the token that changes are asked with is durable",
    "media": "media is asked for only for a delivery that is durable",
    "commits": "every transaction is followed by an fsync before the next one",
    "files": "the ledger's files have durable names before the first part is opened",
    "seen": "nothing goes past the calls that are watched",
}


@dataclass
class Check:
    rule: str
    about: str
    holds: bool
    found: str = ""


class Delivery:
    """The story of one delivered content."""

    def __init__(self, trace, ledger, row, parents):
        self.trace, self.ledger, self.row = trace, ledger, row
        self.id = row["id"]
        self.parent = parents[row["file_id"]]
        self.part = os.path.join(row["destination"], HIDDEN, f"{self.id}.part")
        self.place = os.path.join(row["destination"], row["place"])
        self.folder = os.path.dirname(self.place)
        self.opened = next(iter(trace.of(self.part, OPENS)), None)
        self.writes = trace.of(self.part, WRITES)
        self.saving = f"{self.part.removesuffix('.part')}.ranges-new"
        self.saves = [call for call in trace.all(MOVES) if call.path == self.saving]
        self.renames = [call for call in trace.all(MOVES) if call.path == self.part]
        self.rename = self.renames[0] if self.renames else None
        syncs = [s for s in trace.of(self.part, {"fsync", "fdatasync"}) if s.end < math.inf]
        self.sync = syncs[-1] if syncs else None
        self.found_written = self._since(ledger.written, None)
        self.found_durable = self._since(ledger.durable, None)
        self.publishing_written = self._since(ledger.written, "publishing")
        self.publishing_durable = self._since(ledger.durable, "publishing")
        self.done_written = self._since(ledger.written, "done")
        self.done_durable = self._since(ledger.durable, "done")
        self.spooled = self.opened and trace.sync(os.path.dirname(self.part), self.opened.end)
        self.placed = self.rename and trace.sync(self.folder, self.rename.end)
        self.removals = trace.of(self.part, REMOVES)

    def _since(self, moments, stage):
        def holds(state):
            row = state.deliveries.get(self.id)
            return row is not None and (stage is None or row["stage"] == stage)

        return first(moments, holds)

    def title(self):
        way = "exchanged for its earlier content" if self.row["place_replaces"] else "new"
        return f"{self.row['place']} ({way}, {self.row['size']} bytes)"

    def steps(self):
        """(line, what happened), in order."""
        begin = lambda call: call and call.begin
        end = lambda call: call and call.end
        found = [
            (self.found_written, "the ledger has it"),
            (self.found_durable, "… durably"),
            (begin(self.opened), "its part is opened"),
            (begin(next((w for w in self.writes if w.name in DATA), None)), "first byte written"),
            (end(self.writes[-1] if self.writes else None), f"last change to the part ({len(self.writes)} in all)"),
            (end(self.sync), "the part is durable"),
            (end(self.spooled), "… and so is its name"),
            (self.publishing_written, "the ledger says 'publishing'"),
            (self.publishing_durable, "… durably"),
            (begin(self.rename), f"rename {self.rename.arguments[-1] if self.rename else ''}"),
            (end(self.placed), "the final folder is durable"),
            *((call.end, "the earlier content is removed") for call in self.removals),
            (self.done_written, "the ledger says 'done'"),
            (self.done_durable, "… durably"),
        ]
        found += [(call.begin, f"makes {os.path.relpath(call.path, self.trace.home)}") for call in self._made()]
        return sorted(step for step in found if step[0] not in (None, math.inf))

    def _made(self):
        return [call for call in self.trace.all(MAKES) if self.place.startswith(call.path + "/")]

    def checks(self):
        for rule in RULES:
            if rule == "earlier" and not self.row["place_replaces"]:
                continue
            if rule == "stop" and not self.stops():
                continue
            if rule in ("ranges", "gap") and not (self.saves or self._beyond()):
                continue
            try:
                problems = list(getattr(self, f"_{rule}")())
            except (AttributeError, TypeError) as error:
                # A step that never happened has no line to compare.
                problems = [f"a step is missing ({error})"]
            yield Check(rule, self.title(), not problems, "; ".join(problems))

    def _whole(self):
        size = sum(call.result for call in self.writes if call.name in DATA and call.result > 0)
        if size != self.row["size"]:
            yield f"{size} bytes were seen"
        for call in self.writes:
            if call.end >= self.sync.begin:
                yield f"{call.name} of the part at {self.trace.time(call.begin)}"
        for call in self.trace.of(self.place, WRITES):
            yield f"{call.name} under the final name at {self.trace.time(call.begin)}"

    def _ranges(self):
        for save in self.saves:
            write = [w for w in self.trace.of(self.saving, DATA) if w.end < save.begin][-1]
            if not self.trace.sync(self.saving, write.end, save.begin):
                yield f"what {self.trace.time(save.begin)} says may be gone"
            syncs = (s.begin for s in self.trace.of(self.part, SYNCS) if s.end < write.begin)
            durable = max(syncs, default=-1)
            there = _union(_span(w) for w in self.writes if w.name in DATA and w.end < durable)
            for start, end in json.loads(write.text(1))["ranges"]:
                if not any(first <= start and end <= last for first, last in there):
                    yield f"{start} to {end} were not durable at {self.trace.time(write.begin)}"

    def stops(self):
        """(the last bytes of a run, its orderly end) for each run but the last that has brought some."""
        data = [w for w in self.writes if w.name in DATA]
        ends = [call.begin for call in self.trace.all({"exit_group"})]
        found = []
        for before, end in zip([-1, *ends], ends):
            written = [w for w in data if before < w.begin < end]
            if written and end < data[-1].begin:
                found.append((written[-1], end))
        return found

    def _stop(self):
        for last, end in self.stops():
            if not self.trace.sync(self.part, last.end, end):
                yield f"what came until {self.trace.time(last.begin)} was not"

    def _gap(self):
        if not self.saves or not self.trace.sync(os.path.dirname(self.part), self.saves[0].end, self._beyond().begin):
            yield "it was not"

    def _beyond(self):
        """The first write with a gap before it."""
        there = []
        for call in self.writes:
            if call.name in DATA and call.result > 0:
                start, end = _span(call)
                if start > (there[0][1] if there and not there[0][0] else 0):
                    return call
                there = _union([*there, (start, end)])
        return None

    def _named(self):
        if not self.spooled or self.spooled.end >= self.publishing_written:
            yield "the hidden folder has no fsync between"
        for call in self.trace.all(MAKES):
            if call.path == os.path.dirname(self.part):
                if not self.trace.sync(os.path.dirname(call.path), call.end, self.publishing_written):
                    yield "the hidden folder itself may be gone"

    def _publishing(self):
        if self.publishing_written <= self.sync.end:
            yield "the ledger said it too early"
        if self.publishing_durable >= self.rename.begin:
            yield "the rename came first"
        row = at(self.ledger.durable, self.rename.begin).deliveries.get(self.id, {})
        if row.get("place") != self.row["place"]:
            yield f"the ledger names another place: {row.get('place')!r}"

    def _rename(self):
        if len(self.renames) != 1:
            yield f"{len(self.renames)} renames"
        wanted = "RENAME_EXCHANGE" if self.row["place_replaces"] else "RENAME_NOREPLACE"
        if self.rename.arguments[-1] != wanted:
            yield f"{self.rename.arguments[-1]} instead of {wanted}"
        if self.rename.paths[1] != self.place:
            yield f"it went to {self.rename.paths[1]}"
        if self.rename.begin <= self.sync.end:
            yield "the part's fsync was not over"

    def _folders(self):
        for call in self._made():
            if not self.trace.sync(os.path.dirname(call.path), call.end, self.rename.begin):
                yield f"{os.path.relpath(call.path, self.trace.home)} is not"

    def _place(self):
        if not self.placed or self.placed.end == math.inf:
            yield "no fsync"

    def _earlier(self):
        if len(self.removals) != 1:
            yield f"{len(self.removals)} removals"
        for call in self.removals:
            if call.begin <= self.placed.end:
                yield "it was removed before"

    def _done(self):
        if self.done_written <= self.placed.end:
            yield "the ledger said it too early"
        if self.done_durable is None:
            yield "it never did"

    def _recorded(self):
        if self.found_durable >= self.opened.begin:
            yield "the part was opened first"

    def _together(self):
        states = [(-1, State()), *self.ledger.written]
        index = next(i for i, (_, state) in enumerate(states) if self.id in state.deliveries)
        before, after = states[index - 1][1], states[index][1]
        if before.tokens == after.tokens and self.parent not in before.unlisted:
            yield "it came alone"


def _span(call):
    """The bytes of a file that a write at an offset brought."""
    start = int(call.arguments[3])
    return start, start + call.result


def _union(spans):
    """The same bytes in ascending order, those that touch as one."""
    union = []
    for start, end in sorted(spans):
        if union and start <= union[-1][1]:
            union[-1] = (union[-1][0], max(end, union[-1][1]))
        else:
            union.append((start, end))
    return union


def general(trace, ledger):
    asked = [
        (call, parse_qs(urlsplit(path).query)["pageToken"][0])
        for call, method, path in trace.requests
        if method == "GET" and urlsplit(path).path.endswith("/changes")
    ]
    for call, token in asked:
        durable = list(at(ledger.durable, call.begin).tokens.values())
        yield Check("request", f"token {token}", durable == [token], f"{durable} was durable")
    tokens = {token for _, token in asked}
    yield Check("request", "the token moves", len(tokens) > 1, f"only {tokens} was asked with")

    media = 0
    for call, _, path in trace.requests:
        parts = urlsplit(path)
        if (file := MEDIA.search(parts.path)) and "alt=media" in parts.query:
            media += 1
            rows = at(ledger.durable, call.begin).deliveries.values()
            stages = [row["stage"] for row in rows if row["file_id"] == file[1]]
            yield Check("media", f"media of {file[1]}", "downloading" in stages, f"{stages} were durable")
    yield Check("media", "media is asked for", media > 0, "no request was seen")

    commits = ledger.commits()
    bare = []
    for group, following in commits:
        if not trace.sync(ledger.journal, group[-1].end, following.begin if following else math.inf):
            bare.append(trace.time(group[0].begin))
    about = f"{len(commits)} transactions"
    yield Check("commits", about, bool(commits) and not bare, f"{len(bare)} have none: {bare[:3]}")

    parts = [call for call in trace.all(OPENS) if call.path.endswith(".part")]
    for path, opened in ledger.names():
        begin = parts[0].begin if parts else math.inf
        durable = opened and trace.sync(os.path.dirname(path), opened[0].end, begin)
        yield Check("files", os.path.basename(path), bool(durable), "no fsync of its directory")

    past = trace.all({"io_uring_setup"})
    yield Check("seen", "io_uring is not used", not past, f"{len(past)} rings")


def judge(trace, ledger, parents):
    """All checks, and the deliveries that they are about."""
    rows = ledger.written[-1][1].deliveries.values() if ledger.written else []
    deliveries = [Delivery(trace, ledger, row, parents) for row in rows if row["stage"] == "done"]
    checks = [check for delivery in deliveries for check in delivery.checks()]
    return [*checks, *general(trace, ledger)], deliveries
