"""What has been found out about mutants, kept in files, so that judging can be stopped and goes on where it was.

A verdict holds while the mutated function is as it was, and so are the tests behind it: the file of the test that found
the mutant; of a survivor, all files that judge it. Of one that no longer holds the test is kept as a hint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from tools.judging import FOUND, Case
from tools.mutants import Mutant
from tools.planting import ROOT

KEPT: Final = ROOT / ".mutation"


class Verdicts:
    """The verdicts about one file.

    Args:
        file: The mutated file.
        tests: The files of tests that judge it.
        kept: The folder to keep them in.
    """

    def __init__(self, file: str, tests: Sequence[str], kept: Path = KEPT) -> None:
        self.file, self.tests = file, tuple(tests)
        self.path = kept / f"{file.replace('/', '.')}.jsonl"
        self.read()

    def read(self) -> None:
        """Read what there is, also of other processes; the last word about a mutant counts."""
        lines = self.path.read_text("utf-8").splitlines() if self.path.exists() else []
        rows = [json.loads(line) for line in lines]
        self._by_mutant: dict[str, dict[str, Any]] = {row["mutant"]: row for row in rows}
        self._hints: dict[str, str] = {row["name"]: row["by"] for row in rows if row["by"]}

    def of(self, mutant: Mutant) -> str | None:
        """The word about a mutant, if it still holds."""
        row = self._by_mutant.get(_digest(_identity(mutant)))
        return row["word"] if row is not None and row["tests"] == self._state_behind(row["by"], row["word"]) else None

    def hint(self, mutant: Mutant) -> str:
        """The test that has found it, or one like it, before; empty: none."""
        return self._hints.get(_name(mutant), "")

    def add(self, case: Case, word: str, by: str) -> None:
        """Keep one."""
        self.path.parent.mkdir(exist_ok=True)
        row = {"mutant": _digest(_identity(case.mutant)), "name": _name(case.mutant), "word": word, "by": by}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row | {"tests": self._state_behind(by, word)}) + "\n")

    def _state_behind(self, by: str, word: str) -> str:
        files = (by.partition("::")[0],) if by and word == FOUND else self.tests
        return _digest("".join(_state(file) for file in files))


class Trials:
    """What tests do without any mutant: how long they take, and which places they enter.

    Args:
        files: The files to be mutated: what is known holds while they and the file of the test are as they were.
    """

    def __init__(self, files: Sequence[str], kept: Path = KEPT) -> None:
        self.path = kept / "trials.jsonl"
        self._state = "".join(_state(file) for file in files)
        lines = self.path.read_text("utf-8").splitlines() if self.path.exists() else []
        self._known: dict[str, dict[str, Any]] = {row["key"]: row for row in map(json.loads, lines)}

    def of(self, test: str) -> tuple[float, list[str]] | None:
        """Seconds and places of a test, by its id; None: not known."""
        row = self._known.get(self._key(test))
        return None if row is None else (row["took"], row["places"])

    def add(self, told: Mapping[str, tuple[float, list[str]]]) -> None:
        """Keep what was found out."""
        self.path.parent.mkdir(exist_ok=True)
        rows: list[dict[str, Any]] = [
            {"key": self._key(test), "took": took, "places": places} for test, (took, places) in told.items()
        ]
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows))
        self._known.update((row["key"], row) for row in rows)

    def _key(self, test: str) -> str:
        return _digest(f"{test} {_state(test.partition('::')[0])} {self._state}")


def adder(verdicts: Sequence[Verdicts]) -> Callable[[Case, str, str], None]:
    """What keeps each verdict where it belongs."""
    by_file = {one.file: one for one in verdicts}
    return lambda case, word, by: by_file[case.file].add(case, word, by)


@cache
def _state(file: str) -> str:
    path = ROOT / file
    return _digest(path.read_text("utf-8")) if path.exists() else ""


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _identity(mutant: Mutant) -> str:
    return f"{_name(mutant)} {mutant.around}"


def _name(mutant: Mutant) -> str:
    return f"{mutant.function}: {mutant.change}"
