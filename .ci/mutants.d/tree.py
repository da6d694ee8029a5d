"""A copy of the project in which files may be changed, and the names of changes."""

import json
import subprocess
from pathlib import Path


def refresh(tree, changed=None):
    """Brings the committed files, with the changes since, to the copy. `changed` has other texts for some of them. Files
    that are the same keep their time, so that little has to be built."""
    named = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(named, check=True, stdout=subprocess.PIPE, text=True).stdout
    wanted = {path: Path(path).read_bytes() for path in listed.split("\0") if path and Path(path).is_file()}
    wanted.update({path: text.encode() for path, text in (changed or {}).items()})
    for path, text in wanted.items():
        copy = tree / path
        if not copy.is_file() or copy.read_bytes() != text:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(text)
    for copy in tree.rglob("*"):
        if copy.is_file() and str(copy.relative_to(tree)) not in wanted:
            copy.unlink()


def listed(files):
    """Every change that cargo-mutants knows for these files."""
    command = ["cargo", "mutants", "--list", "--json", "--package", "gdrive-webhook"]
    for file in files:
        command += ["--file", file]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def described(mutant, tree):
    """File, change and line of code: numbers of lines would not outlive the next commit."""
    line = mutant["span"]["start"]["line"]
    code = (tree / mutant["file"]).read_text().splitlines()[line - 1].strip()
    change = mutant["name"].split(": ", 1)[1]
    return mutant["file"], change, code
