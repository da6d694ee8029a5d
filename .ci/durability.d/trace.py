"""What strace wrote: calls, each with the lines at which it began and ended. What ended on an earlier line than another
call began was over before that one did anything."""

import ast
import functools
import math
import os
import re
from dataclasses import dataclass

TEXT = r'"[^"\\]*(?:\\.[^"\\]*)*"'
LINE = re.compile(r"(\d+) +(\S+) (.*)", re.S)
RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)", re.S)
CALL = re.compile(r"(\w+)\((.*)\)\s+= (-?\d+|\?)(.*)", re.S)
ARGUMENT = re.compile(rf'(?:{TEXT}(?:\.\.\.)?|<[^>]*>|\[(?:{TEXT}|[^\]"])*\]|[^,"<\[])+')
OPEN_FILE = re.compile(r"\w+<(.*?)>")
REQUEST = re.compile(r'"(GET|POST) (/\S*) HTTP/1\.1')
UNFINISHED = " <unfinished ...>"

# Where each call has the files that it is about: (directory, name) or the number of a descriptor.
FILES = {
    "open": [(None, 0)], "openat": [(0, 1)], "creat": [(None, 0)],
    "mkdir": [(None, 0)], "mkdirat": [(0, 1)],
    "unlink": [(None, 0)], "unlinkat": [(0, 1)],
    "rename": [(None, 0), (None, 1)], "renameat": [(0, 1), (2, 3)], "renameat2": [(0, 1), (2, 3)],
    "link": [(None, 0), (None, 1)], "linkat": [(0, 1), (2, 3)],
    "truncate": [(None, 0)],
    "fsync": [0], "fdatasync": [0],
    "write": [0], "pwrite64": [0], "writev": [0], "pwritev": [0], "pwritev2": [0], "sendfile": [0],
    "copy_file_range": [2], "splice": [2], "ftruncate": [0], "fallocate": [0], "utimensat": [0],
    "sendto": [0], "sendmsg": [0], "close": [0], "io_uring_setup": [], "exit_group": [],
}  # fmt: skip
OPENS = {"open", "openat", "creat"}
MAKES = {"mkdir", "mkdirat"}
REMOVES = {"unlink", "unlinkat"}
MOVES = {"rename", "renameat", "renameat2", "link", "linkat"}
SYNCS = {"fsync", "fdatasync"}
SENDS = {"write", "writev", "sendto", "sendmsg"}
# Those of them that bring bytes.
DATA = {"write", "pwrite64", "writev", "pwritev", "pwritev2"}
WRITES = {
    "write", "pwrite64", "writev", "pwritev", "pwritev2", "sendfile", "copy_file_range", "splice", "truncate",
    "ftruncate", "fallocate", "utimensat",
}  # fmt: skip

# A question mark lets strace do without a call that this processor has not.
OPTIONS = ["-f", "-tt", "-y", "-x", "-s", "8192", "-e", "trace=" + ",".join(f"?{name}" for name in FILES)]


@dataclass
class Call:
    name: str
    arguments: list
    result: int
    begin: int
    end: float
    paths: list

    @property
    def path(self):
        return self.paths[0] if self.paths else None

    def text(self, index):
        return unquoted(self.arguments[index])


def unquoted(text):
    if not text.endswith('"'):
        raise ValueError(f"strace has cut this short: {text[:60]}")
    return ast.literal_eval("b" + text)


class Trace:
    """`home` is the directory that the program runs in."""

    def __init__(self, lines, home):
        self.lines = lines
        self.home = str(home)
        self.calls = []
        open_calls = {}
        for number, line in enumerate(lines):
            found = LINE.match(line.rstrip("\n"))
            if not found:
                raise ValueError(f"line {number + 1} is no line of strace: {line[:80]!r}")
            thread, _, said = found.groups()
            if said.endswith(UNFINISHED):
                open_calls[thread] = (number, said.removesuffix(UNFINISHED))
                continue
            begin = number
            if resumed := RESUMED.match(said):
                if thread not in open_calls:
                    continue
                begin, before = open_calls.pop(thread)
                said = before + resumed[2]
            self._add(said, begin, number)
        for number, said in open_calls.values():
            self._add(said + ") = ?", number, math.inf)
        self.calls.sort(key=lambda call: call.begin)

    def _add(self, said, begin, end):
        found = CALL.match(said)
        # What failed has changed nothing.
        if not found or found[1] not in FILES or found[3].startswith("-"):
            return
        arguments = [argument.strip() for argument in split(found[2])]
        result = None if found[3] == "?" else int(found[3])
        paths = [self._file(arguments, file) for file in FILES[found[1]]]
        end = math.inf if result is None else end
        self.calls.append(Call(found[1], arguments, result, begin, end, paths))

    def _file(self, arguments, file):
        if isinstance(file, int):
            place = OPEN_FILE.match(arguments[file])
            return place and place[1]
        directory, name = file
        here = self.home if directory is None else OPEN_FILE.match(arguments[directory])[1]
        return os.path.join(here, os.fsdecode(unquoted(arguments[name]))) if arguments[name] != "NULL" else here

    def time(self, number):
        return self.lines[number].split(None, 2)[1]

    @functools.cached_property
    def _by_file(self):
        found = {}
        for call in self.calls:
            for path in call.paths[:1]:
                found.setdefault((path, call.name), []).append(call)
        return found

    def of(self, path, names):
        """The calls of these names that are about a file."""
        found = [call for name in names for call in self._by_file.get((str(path), name), [])]
        return sorted(found, key=lambda call: call.begin)

    def all(self, names):
        return [call for call in self.calls if call.name in names]

    def sync(self, path, after, before=math.inf):
        """The first that began after one line and ended before another."""
        return next((s for s in self.of(path, SYNCS) if after < s.begin and s.end < before), None)

    @functools.cached_property
    def requests(self):
        """(call, method, path with query), of HTTP."""
        found = []
        for call in self.all(SENDS):
            for argument in call.arguments[1:2]:
                found += [(call, *request) for request in REQUEST.findall(argument)]
        return found


def split(arguments):
    return ARGUMENT.findall(arguments)
