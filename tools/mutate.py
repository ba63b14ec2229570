"""Mutation testing: `python -m tools.mutate [MODULE ...]` plants mistakes in modules and counts what the tests find.

What survives is listed in docs/mutation.md, each with the reason why no test can, or need, find it; it is there that
reasons are written. Exit code 1: less than nine in ten were found, or a survivor has no reason.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, settings

from tools.judging import Judge
from tools.mutants import Mutant, lua_mutants, python_mutants

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "mutation.md"
GOAL = 0.9
COPIED = ("flows", "executors", "tests", "pyproject.toml")
SECONDS = 120.0

TESTS: dict[str, tuple[str, ...]] = {
    "flows/_machine.py": (
        *("tests/flows/test_machine.py", "tests/flows/test_machine_properties.py", "tests/flows/test_reopening.py"),
        *("tests/flows/test_influence_table.py", "tests/executors/test_memory_store.py"),
    ),
    "flows/_reopening.py": ("tests/flows/test_machine.py", "tests/flows/test_reopening.py"),
    "flows/_planner.py": (
        *("tests/flows/test_planner.py", "tests/flows/test_plan.py", "tests/flows/test_binding.py"),
        *("tests/flows/test_flow.py", "tests/flows/test_when.py", "tests/flows/test_each.py"),
        *("tests/flows/test_literal_refused.py", "tests/flows/test_idempotency.py"),
    ),
    "flows/_retry.py": ("tests/flows/test_retry.py", "tests/flows/test_retry_rules.py"),
    "flows/_idempotency.py": ("tests/flows/test_idempotency.py", "tests/flows/test_vectors.py"),
    "flows/_shared_results.py": (
        *("tests/flows/test_shared_results.py", "tests/flows/test_vectors.py", "tests/executors/test_sharing.py"),
    ),
    "flows/_rate.py": ("tests/flows/test_rate.py",),
}
"""File -> the tests that judge its mutants: those that are quick, and are about it."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one file's mutants."""

    file: str
    mutants: int
    survivors: tuple[Mutant, ...]

    @property
    def killed(self) -> int:
        """How many mutants the tests have found."""
        return self.mutants - len(self.survivors)


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge, print and write; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutate", description=__doc__.partition("\n")[0])
    parser.add_argument("file", nargs="*", default=list(TESTS), help=f"of {', '.join(TESTS)}; left out: all")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants at a time")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.one:
        _judge_functions(given.one, given.jobs)
        return 0
    os.nice(10)
    results = []
    for file in given.file:
        results.append(_judged(file, given.jobs))
        found = results[-1]
        print(f"{file}: {found.killed} of {found.mutants} found, {found.killed / found.mutants:.1%}", flush=True)
    unexplained = _write(results)
    for file, mutant in unexplained:
        print(f"{file}:{mutant.line}: {mutant.function}: {mutant.change}")
    killed, all_of_them = sum(one.killed for one in results), sum(one.mutants for one in results)
    print(f"{killed} of {all_of_them} found, {killed / all_of_them:.1%}; {len(unexplained)} survivors without a reason")
    return int(bool(unexplained) or killed < GOAL * all_of_them)


def mutants_of(file: str) -> list[Mutant]:
    """All mutants of a file, each change of a place once."""
    source = (ROOT / file).read_text("utf-8")
    made = lua_mutants(source) if file.endswith(".lua") else python_mutants(source)
    return list({mutant.text: mutant for mutant in made}.values())


def _judged(file: str, jobs: int) -> Result:
    """A process for each file: its modules are imported there, and nowhere else."""
    command = [sys.executable, "-m", "tools.mutate", "--one", file, "--jobs", str(jobs)]
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder, "verdicts")
        done = subprocess.run(command, cwd=ROOT, env=os.environ | {"MUTATE_TELLS": str(told)}, capture_output=True)
        if not told.exists():
            raise SystemExit((done.stdout + done.stderr).decode(errors="replace"))
        words = told.read_text("ascii").split()
    made = mutants_of(file)
    alone = [mutant for mutant, word in zip(made, words, strict=True) if word == "None"]
    survivors = [mutant for mutant, word in zip(made, words, strict=True) if word == "False"]
    return Result(file, len(made), (*survivors, *_judged_alone(file, alone)))


def _judge_functions(file: str, jobs: int) -> None:
    """Judge in forks what can be; the verdicts are written down in the order of the mutants."""
    settings.register_profile(
        "mutation",
        max_examples=60,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    os.environ["HYPOTHESIS_PROFILE"] = "mutation"
    made = mutants_of(file)
    forked = [mutant for mutant in made if mutant.function]
    judge = Judge(ROOT / file, forked, jobs)
    if forked:
        options = ["-q", "-x", "-p", "no:randomly", "-p", "no:cacheprovider", "-m", "not slow"]
        pytest.main(
            [*options, "-o", "timeout=0", "-o", "faulthandler_timeout=0", "-W", _REWRITTEN, *_tests(file)],
            plugins=[judge],
        )
        if len(judge.verdicts) != len(forked):
            return
    verdicts = iter(judge.verdicts)
    words = [str(next(verdicts)) if mutant.function else "None" for mutant in made]
    Path(os.environ["MUTATE_TELLS"]).write_text(" ".join(words), "ascii")


def _judged_alone(file: str, mutants: Iterable[Mutant]) -> list[Mutant]:
    """Judge in a copy of the repository what takes effect when it is loaded: constants, classes, scripts."""
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, Path(folder, name))
        whole = Path(folder, file).read_bytes()
        for mutant in mutants:
            Path(folder, file).write_text(mutant.text, "utf-8")
            options = ["-q", "-x", "-p", "no:randomly", "-p", "no:cacheprovider", "-m", "not slow", "-W", "ignore"]
            command = [sys.executable, "-B", "-m", "pytest", *options, *_tests(file)]
            environment = os.environ | {"PYTHONPATH": folder, "HYPOTHESIS_PROFILE": "ci"}
            try:
                done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=SECONDS)
                if done.returncode == 0:
                    survivors.append(mutant)
            except subprocess.TimeoutExpired:
                pass  # whoever hangs has been found out
        Path(folder, file).write_bytes(whole)
    return survivors


def _tests(file: str) -> list[str]:
    return [path for path in TESTS[file] if (ROOT / path).exists()]


_REWRITTEN: Final = "ignore::pytest.PytestAssertRewriteWarning"
"""Hypothesis is imported before pytest here."""

_ROW = re.compile(r"^\| `(?P<file>[^`]+)` \| (?P<where>.*?) \| `(?P<change>.*)` \| (?P<reason>.*) \|$")


def _write(results: Iterable[Result]) -> list[tuple[str, Mutant]]:
    """Write the table anew for the files that were judged; reasons stay with their survivors.

    Returns:
        Survivors that have no reason yet.
    """
    text = TABLE.read_text("utf-8")
    rows = [found.groupdict() for line in text.splitlines() if (found := _ROW.match(line))]
    reasons = {(row["file"], row["where"], row["change"]): row["reason"] for row in rows}
    unexplained = []
    for result in results:
        name = rf"^\| `{re.escape(result.file)}` \|"
        score = f"| `{result.file}` | {result.mutants} | {result.killed} | {result.killed / result.mutants:.1%} |"
        text = re.sub(rf"{name} \d+ \|.*$", score, text, flags=re.MULTILINE)
        text = re.sub(rf"{name} `?[^\d|].*\n", "", text, flags=re.MULTILINE)
        for mutant in result.survivors:
            where, change = f"`{mutant.function}`" if mutant.function else "module", mutant.change.replace("|", "\\|")
            reason = reasons.get((result.file, where, change), "")
            text += f"| `{result.file}` | {where} | `{change}` | {reason} |\n"
            if not reason:
                unexplained.append((result.file, mutant))
    TABLE.write_text(text, "utf-8")
    return unexplained


if __name__ == "__main__":
    sys.exit(main())
