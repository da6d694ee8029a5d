"""Traces of daemons that are not careful: the real one, with calls taken out or put elsewhere. A judge who finds
nothing in one of them is none."""

import math

from ledger import Ledger, State
from trace import DATA, MAKES, SYNCS, WRITES, Trace


def _lines(call):
    return {call.begin} if call.end == math.inf else {call.begin, call.end}


def without(trace, calls):
    gone = set().union(*map(_lines, calls))
    return [line for number, line in enumerate(trace.lines) if number not in gone]


def moved(trace, call, before):
    """The call as if it had been made just before another line."""
    # By a thread of its own: the one that made it may be in the middle of something else there.
    taken = ["0 " + trace.lines[number].split(None, 1)[1] for number in sorted(_lines(call))]
    lines = []
    for number, line in enumerate(trace.lines):
        if number == before:
            lines += taken
        if number not in _lines(call):
            lines.append(line)
    return lines if before < len(trace.lines) else lines + taken


def doctored(trace, ledger, deliveries):
    """(what was done, the trace, its ledger, the rule that is broken by it)"""
    for title, lines, rule in _lines_of_others(trace, ledger, deliveries):
        other = Trace(lines, trace.home)
        yield title, other, Ledger(other, ledger.path, ledger.scratch), rule
    # The bytes of a transaction cannot be split in two afterwards; what was read from them can.
    split = Ledger(trace, ledger.path, ledger.scratch)
    index = next(i for i, (line, _) in enumerate(split.written) if line == deliveries[0].found_written)
    earlier, later = split.written[index - 1][1], split.written[index][1]
    split.written.insert(index, (split.written[index][0] - 1, State(earlier.deliveries, later.tokens)))
    yield "a token that moves before its deliveries", trace, split, "together"


def _lines_of_others(trace, ledger, deliveries):
    one = deliveries[0]
    exchanged = next(d for d in deliveries if d.row["place_replaces"])
    journal = trace.of(ledger.journal, SYNCS)
    between = lambda first, last: [s for s in journal if first < s.begin and s.end < last]
    parts = [s for s in trace.all(SYNCS) if s.path.endswith(".part")]
    parents = {call.path.rpartition("/")[0] for call in trace.all(MAKES)}
    long = next(d for d in deliveries if d.saves)
    saved = trace.of(long.saving, DATA)[0]
    # The last fsync of the part is none of these: it has a rule of its own.
    durable = [s for s in trace.of(long.part, SYNCS) if s.end < trace.of(long.saving, DATA)[-1].begin]
    named = [s for s in trace.of(long.part.rpartition("/")[0], SYNCS) if s.begin > long.saves[0].end]
    last_write = [w for w in one.writes if w.name in DATA][-1]
    token_moves = [
        later for (_, a), (later, b) in zip(ledger.written, ledger.written[1:]) if a.tokens and a.tokens != b.tokens
    ]
    flagless = [line.replace("RENAME_NOREPLACE", "0") for line in trace.lines]
    asked = [call for call, method, path in trace.requests if method == "GET" and "/changes?" in path]
    next_asked = next(call for call in asked if call.begin > token_moves[0])

    yield "parts without fsync", without(trace, parts), "whole"
    yield "a byte written after the fsync", moved(trace, last_write, int(one.sync.end) + 1), "whole"
    yield "a time set after the fsync", _touched(trace, one), "whole"
    yield "ranges of bytes without fsync", without(trace, durable), "ranges"
    yield "ranges said before the fsync", moved(trace, saved, durable[0].begin), "ranges"
    yield "ranges without fsync", without(trace, trace.of(long.saving, SYNCS)), "ranges"
    yield "the name of the ranges without fsync", without(trace, named), "gap"
    yield "the hidden folder without fsync", without(trace, trace.of(one.part.rpartition("/")[0], SYNCS)), "named"
    yield "the rename before the part's fsync", moved(trace, one.rename, one.sync.begin), "rename"
    yield "a rename that overwrites", flagless, "rename"
    yield "the rename before 'publishing'", moved(trace, one.rename, one.publishing_written), "publishing"
    yield (
        "'publishing' without fsync",
        without(trace, between(one.publishing_written, one.rename.begin)),
        "publishing",
    )
    yield "'publishing' before the part's fsync", moved(trace, one.sync, one.rename.begin), "publishing"
    yield (
        "new folders without fsync",
        without(trace, [s for s in trace.all(SYNCS) if s.path in parents]),
        "folders",
    )
    yield "the final folder without fsync", without(trace, trace.of(one.folder, SYNCS)), "place"
    # The last one: no other delivery makes its folder durable.
    late = moved(trace, exchanged.placed, int(exchanged.done_durable) + 1)
    yield "'done' before the final folder's fsync", late, "done"
    yield "'done' without fsync", without(trace, between(one.done_written, math.inf)), "commits"
    yield (
        "the earlier content removed at once",
        moved(trace, exchanged.removals[0], exchanged.rename.begin),
        "earlier",
    )
    yield "a delivery without fsync", without(trace, between(one.found_written, one.opened.begin)), "recorded"
    yield "a token without fsync", without(trace, between(token_moves[0], next_asked.begin)), "request"
    yield "a ledger without fsync", without(trace, journal), "commits"
    crashed = next(d for d in deliveries if d.row["place"] == "crashed.mp4")
    settled = [s for s in trace.of(crashed.folder, SYNCS) if crashed.rename.end < s.begin < crashed.done_written]
    yield "a file that a crash has left, taken for durable", without(trace, settled), "done"
    stopped = next(d for d in deliveries if d.stops())
    last, end = stopped.stops()[0]
    kept = [s for s in trace.of(stopped.part, SYNCS) if last.end < s.begin < end]
    yield "a stop without fsync", without(trace, kept), "stop"
    media = next(call for call, _, path in trace.requests if "alt=media" in path)
    yield "media asked for too early", moved(trace, media, one.found_written), "media"
    yield "the ledger's directory without fsync", without(trace, trace.of(trace.home, SYNCS)), "files"
    ring = "0 00:00:00.000000 io_uring_setup(8, {flags=0}) = 9"
    yield "writes by io_uring", [*trace.lines, ring], "seen"


def _touched(trace, delivery):
    touch = next(call for call in delivery.writes if call.name in WRITES - DATA)
    return moved(trace, touch, int(delivery.sync.end) + 1)
