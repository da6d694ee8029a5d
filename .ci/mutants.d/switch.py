"""One build with many changes, of which a variable of the environment switches one on.

The body of a function with changes becomes `if no change of these is on { the body } else if … { the body with a change }`.
"""

import re
from collections import defaultdict
from pathlib import Path

# What braces in a function's head can be hidden in. A lifetime is not the beginning of a character.
HIDDEN = re.compile(r'//[^\n]*|/\*.*?\*/|r(#*)".*?"\1|"(?:\\.|[^"\\])*"|\'(?:\\.[^\']*|[^\'\\])\'', re.DOTALL)
LIBRARY, PROGRAM = "src/lib.rs", "src/main.rs"


def is_alone(mutant, text):
    """Whether a switch cannot hold the change: outside of functions, in constant ones, and where the two bodies would have
    two types that have no name."""
    function = mutant["function"]
    if not function or "impl " in function["return_type"]:
        return True
    begin, end = offsets(text, function["span"])
    return re.search(r"\bconst\s+(unsafe\s+)?fn\b", text[begin:body(text, begin, end)]) is not None


def offsets(text, span):
    """Where a span begins and ends in a text; lines and columns count from 1."""
    lines = [0] + [found.end() for found in re.finditer("\n", text)]
    return tuple(lines[span[edge]["line"] - 1] + span[edge]["column"] - 1 for edge in ("start", "end"))


def body(text, begin, end):
    """Where the body of the function begins: its first brace after `fn`, outside of parentheses."""
    depth, at, named = 0, begin, False
    while at < end:
        hidden = HIDDEN.match(text, at)
        if hidden:
            at = hidden.end()
            continue
        named = named or re.match(r"\bfn\b", text[at:at + 3]) is not None
        if text[at] in "([":
            depth += 1
        elif text[at] in ")]":
            depth -= 1
        elif text[at] == "{" and depth == 0 and named:
            return at
        at += 1
    raise ValueError(f"no body in {text[begin:end]!r}")


def changed(text, mutant):
    begin, end = offsets(text, mutant["span"])
    return text[:begin] + mutant["replacement"] + text[end:]


def functions(text, mutants):
    """The bodies to switch, each with the numbers of its changes. A function within another one is a part of it."""
    bodies = defaultdict(list)
    for number, mutant in mutants.items():
        begin, end = offsets(text, mutant["function"]["span"])
        bodies[(body(text, begin, end), end)].append(number)
    outermost = defaultdict(list)
    for (begin, end), numbers in bodies.items():
        outer = min((other for other in bodies if other[0] <= begin and end <= other[1]), key=lambda other: other[0])
        outermost[outer] += numbers
    return sorted(outermost.items())


def switched(text, mutants):
    """The text of a file with all its changes behind switches; and the lines that each change takes up."""
    result, lines, first, at = "", {}, {}, 0
    for (begin, end), numbers in functions(text, mutants):
        listed = ", ".join(map(str, numbers))
        result += text[at:begin] + f"{{\nlet mutant__ = crate::mutants::among(&[{listed}]);\nif mutant__ == 0 "
        result += text[begin:end]
        for number in numbers:
            result += f"\nelse if mutant__ == {number} " if number != numbers[-1] else "\nelse "
            began = result.count("\n") + 1
            other = changed(text, mutants[number])
            result += other[begin:end + len(other) - len(text)]
            lines[number] = (began, result.count("\n") + 1)
            first[number] = numbers[0]
        result += "\n}"
        at = end
    return result + text[at:], lines, first


def texts(mutants):
    """The files of the build with these changes, by number: their texts, where the changes are, and which number of each
    function is written down when it is reached."""
    library, program = Path(LIBRARY).read_text(), Path(PROGRAM).read_text()
    found = {
        LIBRARY: library + "\n#[allow(missing_docs)]\npub mod mutants;\n",
        PROGRAM: re.sub(r"(fn main\(\)[^{]*\{)", r"\1\ngdrive_webhook::mutants::open();", program),
        "src/mutants.rs": (Path(__file__).parent / "switch.rs").read_text(),
    }
    files, where, reached = defaultdict(dict), {}, {}
    for number, mutant in mutants.items():
        files[mutant["file"]][number] = mutant
    for file, those in files.items():
        found[file], lines, first = switched(Path(file).read_text(), those)
        where.update({number: (file, *span) for number, span in lines.items()})
        reached.update(first)
    return found, where, reached


def culprits(message, where):
    """The changes that an error of the compiler is in."""
    places = []
    for span in message["spans"]:
        while span:
            places.append((span["file_name"], span["line_start"], span["line_end"]))
            span = (span.get("expansion") or {}).get("span")
    return {
        number for number, (file, first, last) in where.items()
        if any(file == place and first <= begin and end <= last for place, begin, end in places)
    }
