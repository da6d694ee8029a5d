"""The README's commands, run unchanged by an unprivileged user who may use the engine."""

import os
import re
import subprocess
import tempfile

USER = 1000


def blocks(readme, heading):
    """The shell blocks below a heading, in their order."""
    section = re.search(rf"^### {heading}\n(.*?)^## ", readme.read_text(), re.M | re.S)[1]
    return re.findall(r"^```sh\n(.*?)^```", section, re.M | re.S)


class User:
    """Commands run as if typed into one shell: later ones see earlier exports."""

    def __init__(self, tree, home, socket):
        self.tree, self.exports = tree, []
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}
        self.identity = {"user": USER, "group": USER, "extra_groups": [os.stat(socket).st_gid], "umask": 0o022}

    def command(self, lines):
        command = ["bash", "-euc", "\n".join([*self.exports, lines])]
        self.exports += re.findall(r"^export .*$", lines, re.M)
        return command

    def type(self, lines, show=False):
        """The output of the commands, and their exit code."""
        print(*(f"    $ {line}" for line in lines.splitlines()), sep="\n", flush=True)
        with tempfile.TemporaryFile("w+") as out:
            done = subprocess.run(self.command(lines), cwd=self.tree, env=self.environment, stdin=subprocess.DEVNULL,
                                  stdout=out, stderr=subprocess.STDOUT, timeout=1500, **self.identity)  # fmt: skip
            out.seek(0)
            text = out.read()
        if show or done.returncode:
            print(*(f"    | {line}" for line in text.splitlines()[-40:]), sep="\n", flush=True)
        return text, done.returncode
