"""What has been found out about mutants, kept in files, so that judging can be stopped and goes on where it was.

A verdict holds while the mutated file is as it was, and so are the tests behind it: the file of the test that found
the mutant; of a survivor, all files that judge it. Of one that no longer holds the test is kept as a hint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
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
        self._by_text: dict[str, dict[str, Any]] = {row["text"]: row for row in rows}
        self._hints: dict[str, str] = {row["name"]: row["by"] for row in rows if row["by"]}

    def of(self, mutant: Mutant) -> str | None:
        """The word about a mutant, if it still holds."""
        row = self._by_text.get(_digest(mutant.text))
        return row["word"] if row is not None and row["tests"] == self._state_behind(row["by"], row["word"]) else None

    def hint(self, mutant: Mutant) -> str:
        """The test that has found it, or one like it, before; empty: none."""
        return self._hints.get(_name(mutant), "")

    def add(self, case: Case, word: str, by: str) -> None:
        """Keep one."""
        self.path.parent.mkdir(exist_ok=True)
        row = {"text": _digest(case.mutant.text), "name": _name(case.mutant), "word": word, "by": by}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row | {"tests": self._state_behind(by, word)}) + "\n")

    def _state_behind(self, by: str, word: str) -> str:
        files = (by.partition("::")[0],) if by and word == FOUND else self.tests
        return _digest("".join(_state(file) for file in files))


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


def _name(mutant: Mutant) -> str:
    return f"{mutant.function}: {mutant.change}"
