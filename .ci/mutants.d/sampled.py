"""Draws changes from the rooms that handle files and the database, and counts how many any test notices:
sampled.py DIRECTORY [--sample N] [--seed N] [--file FILE]... [--missed].

One build holds the changes behind a switch, so that only tests are run again. A change is tried with the tests that reach
its function: the unit tests of its room, then the other unit tests, then the integration tests, until one fails.
"""

import argparse
import json
import random
import sys
import time
import tomllib
from collections import Counter
from pathlib import Path

import switch
import tree
from report import Report
from tests import Build

ROOMS = ["store", "download", "spool", "destination", "delivery"]
WANTED = 0.90


def room(mutant):
    return Path(mutant["file"]).parts[1].removesuffix(".rs")


def drawn(everything, count, seed):
    """The changes by number. The same seed draws the same ones from the same sources."""
    ordered = sorted(everything, key=lambda mutant: mutant["name"])
    chosen = random.Random(seed).sample(ordered, min(count, len(ordered)))
    return dict(enumerate(chosen, 1))


class Trial:
    """Tries changes, and writes down what came of each."""

    def __init__(self, place, mutants):
        self.mutants, self.place, self.copy = mutants, place, place / "tree"
        self.build = Build(self.copy, place.parent / "build")
        self.seconds, self.outcomes, self.broken = {}, {}, set()

    def note(self, number, outcome, by=""):
        self.outcomes[number] = outcome
        print(f"{number:4} {outcome:12} {self.mutants[number]['name']} {by}", flush=True)
        found = {self.mutants[number]["name"]: outcome for number, outcome in self.outcomes.items()}
        (self.place / "outcomes.json").write_text(json.dumps(found, indent=1))

    def run(self):
        alone = {
            number for number, mutant in self.mutants.items()
            if switch.is_alone(mutant, Path(mutant["file"]).read_text())
        }
        together = {number: mutant for number, mutant in self.mutants.items() if number not in alone}
        reached = self.built(together)
        tests = self.build.tests()
        left = set(reached)
        for integration in (False, True):
            left = self.stage([test for test in tests if test.integration is integration], left, reached)
        for number in sorted(left):
            self.note(number, "missed")
        for number in sorted(alone):
            self.one(number)

    def stage(self, tests, numbers, reached):
        """Tries these changes with these tests, and says which ones no test notices."""
        if not numbers:
            return numbers
        print(f"running {len(tests)} tests without a change", flush=True)
        seconds, seen, failed = self.build.measured(tests)
        self.seconds.update(seconds)
        self.broken |= {test.name for test in failed}
        return {
            number for number in sorted(numbers)
            if not self.tried(number, [test for test in tests if reached[number] in seen[test]])
        }

    def built(self, together):
        """Builds with all changes that compile. Which number is written down when the function of each is reached."""
        while True:
            texts, where, reached = switch.texts(together)
            tree.refresh(self.copy, texts)
            errors = self.build.errors()
            if not errors:
                return reached
            found = set().union(*(switch.culprits(error, where) for error in errors))
            if not found:
                raise RuntimeError("\n".join(error["rendered"] for error in errors))
            for number in found:
                self.note(number, "unviable")
            together = {number: mutant for number, mutant in together.items() if number not in found}

    def one(self, number):
        """A change that gets a build of its own."""
        mutant = self.mutants[number]
        tree.refresh(self.copy, {mutant["file"]: switch.changed(Path(mutant["file"]).read_text(), mutant)})
        tests = self.build.tests()
        if tests is None:
            self.note(number, "unviable")
        elif not self.tried(number, tests):
            self.note(number, "missed")

    def tried(self, number, tests):
        """Runs these tests with the change until one fails. Whether one does."""
        limits = {test: 20 + 4 * self.seconds.get(test, 60) for test in tests}
        tests = sorted((test for test in tests if test.name not in self.broken), key=limits.get)
        own = [test for test in tests if not test.integration and test.name.startswith(f"{room(self.mutants[number])}::")]
        unit = [test for test in tests if not test.integration and test not in own]
        for outcome, stage in (("room", own), ("unit", unit), ("integration", [t for t in tests if t.integration])):
            while failed := self.build.first_failure(stage, limits, number):
                # A test that fails by chance proves nothing.
                if self.build.passes(failed, limits[failed], number) is False:
                    self.note(number, outcome, failed.name)
                    return True
                stage = [test for test in stage if test != failed]
        print(f"{number:4} not noticed by {len(tests)} tests: {self.mutants[number]['name']}", flush=True)
        return False


def judge(report, trial, everything, named):
    """What must hold: most changes are noticed, and each of the others has a reason."""
    counted = Counter(trial.outcomes.values())
    caught = counted["room"] + counted["unit"] + counted["integration"]
    viable = len(trial.outcomes) - counted["unviable"]
    print(f"drawn {len(trial.outcomes)}, compiled {viable}, noticed by the unit tests of the room {counted['room']}, by other "
          f"unit tests {counted['unit']}, by integration tests {counted['integration']}, missed {viable - caught}", flush=True)
    for test in sorted(trial.broken):
        report.true(f"{test} passes without a change", False)
    share = caught / viable if viable else 0
    report.true(f"{caught} of {viable} changes fail a test ({share:.1%})", share >= WANTED, f"{WANTED:.0%} are wanted")
    excused = {(row["file"], row["change"], row["code"]) for name in ROOMS for row in named.get(name, []) if row["reason"]}
    known = Counter(tree.described(mutant, Path(".")) for mutant in everything)
    for mutant in sorted(excused - known.keys()):
        report.true("a change that is named is there", False, mutant)
    for number, outcome in sorted(trial.outcomes.items()):
        mutant = tree.described(trial.mutants[number], Path("."))
        if outcome == "missed":
            report.true("a change that no test notices is named with a reason", mutant in excused, mutant)
        elif known[mutant] == 1:
            # Two changes of one line can have one name.
            report.true("a change that is named as unnoticed is not noticed", mutant not in excused, mutant)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("place", type=Path)
    parser.add_argument("--sample", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--file", action="append", help="only changes of this file; * and ** stand for several")
    parser.add_argument("--missed", action="store_true", help="only the changes that the last run missed")
    options = parser.parse_args()
    place = options.place.resolve() / "sampled"
    place.mkdir(parents=True, exist_ok=True)
    everything = tree.listed([f"src/{name}/**" for name in ROOMS])
    chosen = tree.listed(options.file) if options.file else everything
    mutants = drawn(chosen, options.sample, options.seed)
    print(f"{len(mutants)} of {len(chosen)} changes, --seed {options.seed}", flush=True)
    if options.missed:
        last = json.loads((place / "outcomes.json").read_text())
        mutants = {
            number: mutant for number, mutant in enumerate(everything, 1)
            if last.get(mutant["name"]) == "missed"
        }
    began, trial, report = time.monotonic(), Trial(place, mutants), Report()
    with report.part("sampled changes"):
        trial.run()
        judge(report, trial, everything, tomllib.loads((Path(__file__).parent / "equivalent.toml").read_text()))
    print(f"took {(time.monotonic() - began) / 60:.0f} minutes", flush=True)
    sys.exit(report.close())


main()
