"""What has been found out about mutants, kept in files, so that judging can be stopped and goes on where it was.

A verdict holds while the mutated function is as it was, and so is what is behind it: the test that found the mutant; of
a survivor, all files that judge it, and it meets again only those that have changed. Of a verdict that no longer holds
the test is kept as a hint.
"""

from __future__ import annotations

import ast
import hashlib
import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from tools.judging import SURVIVED, Case
from tools.mutants import Mutant
from tools.planting import ROOT
from tools.sayings import Recording

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
        if row is None:
            return None
        if row["word"] == SURVIVED:
            return SURVIVED if len(self.met(mutant)) == len(self.tests) else None
        return str(row["word"]) if row["tests"] == self._behind(row["by"]) else None

    def met(self, mutant: Mutant) -> frozenset[str]:
        """The files of tests that have let it pass, and are as they were then."""
        row = self._by_mutant.get(_digest(_identity(mutant)))
        let = row["met"] if row is not None and row["word"] == SURVIVED else {}
        return frozenset(file for file in self.tests if let.get(file) == _state(file))

    def survived(self, mutant: Mutant) -> bool:
        """Whether it survived when it was judged last, with other tests, it may be: nobody has found it yet."""
        row = self._by_mutant.get(_digest(_identity(mutant)))
        return row is not None and row["word"] == SURVIVED

    def hint(self, mutant: Mutant) -> str:
        """The test that has found it, or one like it, before; empty: none."""
        return self._hints.get(_name(mutant), "")

    def add(self, case: Case, word: str, by: str) -> None:
        """Keep one."""
        self.path.parent.mkdir(exist_ok=True)
        row: dict[str, Any] = {
            "mutant": _digest(_identity(case.mutant)),
            "name": _name(case.mutant),
            "word": word,
            "by": by,
        }
        if word == SURVIVED:
            row["met"] = {file: _state(file) for file in self.tests}
        else:
            row["tests"] = self._behind(by)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def _behind(self, by: str) -> str:
        """What the word of a test rests on; where none is named, of all."""
        if "::" in by:
            return _source_of(by.partition("[")[0])
        return _state(by) if by else _digest("".join(map(_state, self.tests)))


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


class Sayings:
    """What tests say to a server, and what it answers: see `tools.replaying`.

    Args:
        files: The scripts: what is known holds while they, the tests and what both are written with are as they were.
    """

    def __init__(self, files: Sequence[str], kept: Path = KEPT) -> None:
        self.path = kept / "sayings"
        beside = sorted((ROOT / "tests/executors/redis").glob("[!t]*.py")) + sorted(
            (ROOT / "executors/redis").glob("*.py")
        )
        self._state = "".join(map(_state, [*files, *(str(path.relative_to(ROOT)) for path in beside)]))

    def of(self, test: str) -> Recording | None:
        """Of one; None: there is none yet."""
        path = self._path(test)
        made: Recording | None = pickle.loads(path.read_bytes()) if path.exists() else None
        return made

    def add(self, test: str, recording: Recording) -> None:
        """Keep one."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._path(test).write_bytes(pickle.dumps(recording))

    def _path(self, test: str) -> Path:
        return self.path / _digest(f"{test} {_state(test.partition('::')[0])} {self._state}")


class Differences:
    """What a mutant answers otherwise in a test that passes all the same: for who writes the test that does not."""

    def __init__(self, kept: Path = KEPT) -> None:
        self.path = kept / "differences.jsonl"

    def add(self, case: Case, test: str, sent: bytes, was: object, now: object) -> None:
        """Keep one."""
        self.path.parent.mkdir(exist_ok=True)
        row = {"file": case.file, "line": case.mutant.line, "change": case.mutant.change, "test": test}
        row |= {"sent": repr(sent)[:2000], "was": repr(was)[:2000], "now": repr(now)[:2000]}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def adder(verdicts: Sequence[Verdicts]) -> Callable[[Case, str, str], None]:
    """What keeps each verdict where it belongs."""
    by_file = {one.file: one for one in verdicts}
    return lambda case, word, by: by_file[case.file].add(case, word, by)


@cache
def _state(file: str) -> str:
    path = ROOT / file
    return _digest(path.read_text("utf-8")) if path.exists() else ""


@cache
def _source_of(test: str) -> str:
    """Of a test function, by its id without parameters."""
    file, _, names = test.partition("::")
    path = ROOT / file
    text = path.read_text("utf-8") if path.exists() else ""
    name = names.rpartition("::")[2]
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            return _digest("\n".join(lines[first - 1 : node.end_lineno]))
    return ""


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _identity(mutant: Mutant) -> str:
    return f"{_name(mutant)} {mutant.around}"


def _name(mutant: Mutant) -> str:
    return f"{mutant.function}: {mutant.change}"
