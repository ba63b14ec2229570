"""Mutation testing: `python -m tools.mutate [FILE ...]` plants mistakes in files and counts what the tests find.

What survives is listed in docs/mutation.md, each with the reason why no test can, or need, find it; it is there that
reasons are written. Exit code 1: of a module, or of all scripts, less than nine in ten were found, or a survivor has
no reason. Verdicts are kept in .mutation and hold while the function and the tests are as they were: a run that was
stopped goes on, and one after a change judges what has changed.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from functools import cache, partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, settings

from tools.judging import CANNOT, FOUND, HUNG, REFUSED, SURVIVED, Case, Judge, limited
from tools.mutants import Mutant, lua_mutants, python_mutants
from tools.mutation_page import ALIKE, PAGE, Result, reasons_in, written
from tools.planting import ROOT, Code, Scripts
from tools.verdicts import Differences, Sayings, Trials, Verdicts, adder

GOAL: Final = 0.9

SHARE: Final = 0.05
"""Of so many of the scripts' mutants, drawn by their names, is judged: a person reads each survivor."""

_TOLD: Final = "told verbs answers shard store following reopening limits sharing scripts lists plain alike stateful"
_REDIS: Final = tuple(f"tests/executors/redis/test_{name}.py" for name in _TOLD.split())
_FAR: Final = tuple(f"executors/redis/lua/{name}.lua" for name in ("deposit", "hold", "stands", "unhold", "vow"))
_LUA: Final = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "executors/redis/lua").glob("*.lua"))

TESTS: Final[dict[str, tuple[str, ...]]] = {
    "flows/_machine.py": (
        *("tests/flows/test_machine_lists.py", "tests/flows/test_machine.py", "tests/flows/test_reopening.py"),
        *("tests/flows/test_machine_properties.py", "tests/flows/test_influence_table.py"),
        "tests/executors/test_memory_store.py",
    ),
    "flows/_machine_one.py": ("tests/flows/test_machine_one.py", "tests/executors/test_memory_store.py"),
    "flows/_reopening.py": ("tests/flows/test_machine.py", "tests/flows/test_reopening.py"),
    "flows/_planner.py": (
        *("tests/flows/test_planner.py", "tests/flows/test_plan.py", "tests/flows/test_binding.py"),
        *("tests/flows/test_flow.py", "tests/flows/test_when.py", "tests/flows/test_each.py"),
        *("tests/flows/test_literal_refused.py", "tests/flows/test_idempotency.py"),
        *("tests/flows/test_shapes.py", "tests/flows/test_planner_edges.py"),
    ),
    "flows/_retry.py": ("tests/flows/test_retry.py", "tests/flows/test_retry_rules.py"),
    "flows/_idempotency.py": ("tests/flows/test_idempotency.py", "tests/flows/test_vectors.py"),
    "flows/_shared_results.py": (
        *("tests/flows/test_shared_results.py", "tests/flows/test_vectors.py", "tests/executors/test_sharing.py"),
    ),
    "flows/_rate.py": ("tests/flows/test_rate.py",),
    **dict.fromkeys(_LUA, _REDIS),
    **dict.fromkeys(_FAR, ("tests/executors/redis/test_far_keys.py",)),
}
"""File -> the tests that judge its mutants: those that are quick, and are about it."""

_OPTIONS: Final = (
    "-q",
    "-p",
    "no:randomly",
    "-p",
    "no:cacheprovider",
    "-o",
    "timeout=0",
    "-o",
    "faulthandler_timeout=0",
)
_QUICK: Final = ("-m", "not slow")
_ONE_SERVER: Final = (  # with some that are slow by their number of examples, of which there are few here
    "-k",
    "not redis-6.2 and not redis-debian and not each_kind and not full_server and not touch_no_slot",
)
_REWRITTEN: Final = ("-W", "ignore::pytest.PytestAssertRewriteWarning")  # hypothesis is imported before pytest here


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge, print and write; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutate", description=__doc__.partition("\n")[0])
    parser.add_argument("file", nargs="*", default=list(TESTS), help="left out: all")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants at a time")
    parser.add_argument("--share", type=float, default=SHARE, help=f"of the scripts' mutants; left out: {SHARE}")
    parser.add_argument("--show", action="store_true", help="judge nothing, write what is known")
    parser.add_argument("--here", choices=("forks", "apart"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.here:
        (_judge_in_forks if given.here == "forks" else _judge_apart)(given.file, given.share, given.jobs)
        return 0
    if not given.show:
        _judged(given.file, given.share, given.jobs)
    results = [_result(file, given.share) for file in given.file]
    text, unexplained = written(PAGE.read_text("utf-8"), results)
    PAGE.write_text(text, "utf-8")
    for file, mutant in unexplained:
        print(f"{file}:{mutant.line}: {mutant.function}: {mutant.change}")
    unfinished = [one.file for one in results if one.judged < one.wanted]
    print(f"not judged to the end: {', '.join(unfinished) or 'none'}")
    low = [name for name, share in _shares(results) if share < GOAL]
    print(f"{len(unexplained)} survivors without a reason; below {GOAL:.0%}: {', '.join(low) or 'none'}")
    return int(bool(unexplained or low or unfinished))


@cache
def mutants_of(file: str) -> Sequence[Mutant]:
    """All mutants of a file, each change of a place once."""
    source = (ROOT / file).read_text("utf-8")
    made = lua_mutants(source) if file.endswith(".lua") else python_mutants(source)
    return list({mutant.text: mutant for mutant in made}.values())


def drawn(file: str, mutants: Iterable[Mutant], share: float) -> list[Mutant]:
    """Those of *mutants* to judge: all of a module; of a script about that share, the same in every process.

    A larger share has all that a smaller one has, and an edit elsewhere in the file changes nothing.
    """
    if not file.endswith(".lua"):
        return list(mutants)
    return [mutant for mutant in mutants if _lot(file, mutant) < share]


def _lot(file: str, mutant: Mutant) -> float:
    """Evenly spread over [0, 1)."""
    name = f"{file} {mutant.function} {mutant.change}"
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=6).digest(), "big") / 2**48


def _shares(results: Iterable[Result]) -> Iterable[tuple[str, float]]:
    """The share found of each module, and of all scripts together, which are one program."""
    scripts = [0, 0]
    for one in results:
        print(f"{one.file}: {one.found} of {one.judged} found, {one.alike} alike")
        if one.file.endswith(".lua"):
            scripts[0] += one.found
            scripts[1] += one.counted
        elif one.counted:
            yield one.file, one.found / one.counted
    if scripts[1]:
        print(f"scripts: {scripts[0]} of {scripts[1]} found, {scripts[0] / scripts[1]:.1%}")
        yield "scripts", scripts[0] / scripts[1]


def _result(file: str, share: float) -> Result:
    made, known = mutants_of(file), Verdicts(file, TESTS[file])
    chosen = drawn(file, made, share)
    words = {mutant: known.of(mutant) for mutant in made}
    made = [mutant for mutant in made if words[mutant] != REFUSED]
    chosen = [mutant for mutant in chosen if words[mutant] != REFUSED]
    found = [mutant for mutant in chosen if words[mutant] in (FOUND, HUNG)]
    hung = sum(words[mutant] == HUNG for mutant in found)
    survivors = [mutant for mutant in chosen if known.survived(mutant)]
    waiting = {(mutant.function, mutant.change) for mutant in {*made} - {*found, *survivors}}
    reasons = reasons_in(PAGE.read_text("utf-8")).get(file, {})
    alike = [mutant for mutant in survivors if reasons.get((mutant.function, mutant.change), "").startswith(ALIKE)]
    judged = len(found) + len(survivors)
    return Result(file, len(made), len(chosen), judged, tuple(survivors), len(alike), hung, frozenset(waiting))


def _judged(files: Sequence[str], share: float, jobs: int) -> None:
    """A process for the files that the same tests judge; what needs an import is judged in another."""
    for tests in dict.fromkeys(TESTS[file] for file in files):
        together = [file for file in files if TESTS[file] == tests]
        for way in ("forks", "apart"):
            if any(_open(file, share, in_forks=way == "forks") for file in together):
                options = ["--here", way, "--share", str(share), "--jobs", str(jobs)]
                subprocess.run([sys.executable, "-m", "tools.mutate", *options, *together], cwd=ROOT, check=True)


def _open(file: str, share: float, *, in_forks: bool) -> list[Case]:
    """What has not been judged yet, of mutants that take effect when a function is called; or of the others.

    What has survived and means the same, as the page says, is not judged again because tests have changed.
    """
    known = Verdicts(file, TESTS[file])
    reasons = reasons_in(PAGE.read_text("utf-8")).get(file, {})
    words = {
        mutant: known.of(mutant)
        for mutant in drawn(file, mutants_of(file), share)
        if not (known.survived(mutant) and reasons.get((mutant.function, mutant.change), "").startswith(ALIKE))
    }
    return [
        Case(file, mutant, known.hint(mutant), known.met(mutant))
        for mutant, word in words.items()
        if word in (None, CANNOT) and in_forks == (word is None and not mutant.loaded)
    ]


def _judge_in_forks(files: Sequence[str], share: float, jobs: int) -> None:
    scripts = files[0].endswith(".lua")
    settings.register_profile(
        "mutation",
        max_examples=20 if scripts else 60,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    os.environ["HYPOTHESIS_PROFILE"] = "mutation"
    cases = [case for file in files for case in _open(file, share, in_forks=True)]
    cases.sort(key=lambda case: _lot(case.file, case.mutant))  # stopped early, it is a sample all the same
    told = adder([Verdicts(file, TESTS[file]) for file in files])
    count = 0

    def tell(case: Case, word: str, by: str) -> None:
        nonlocal count
        count += 1
        told(case, word, by)
        if word == SURVIVED or count % 50 == 0:
            print(f"{count}/{len(cases)} {case.file}:{case.mutant.line}: {word}: {case.mutant.change}", flush=True)

    if scripts:
        # It loads half of what is to be judged, which a process that judges what is loaded must not have.
        from tools.replaying import ReplayJudge

        judge: Any = ReplayJudge(Scripts(), cases, Sayings(_LUA), tell, Differences().add)
    else:
        judge = Judge(Code(), cases, jobs, Trials(files), tell)
    chosen = _ONE_SERVER if scripts else _QUICK
    code = pytest.main([*_OPTIONS, *chosen, *_REWRITTEN, *_tests(files[0])], plugins=[judge])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise SystemExit(int(code))


def _judge_apart(files: Sequence[str], share: float, jobs: int) -> None:
    """Judge what takes effect when it is loaded: forks of a process that has imported only what others have made."""
    for heavy in ("networkx", "pydantic", "tenacity"):
        importlib.import_module(heavy)
    os.environ["HYPOTHESIS_PROFILE"] = "fast"
    for file in files:
        told = adder([Verdicts(file, TESTS[file])])
        for case in _open(file, share, in_forks=False):
            ended, by = limited(partial(_failing, case, _tests(file)))
            without: list[str] = []
            while by and not _is_steady(case, by, _tests(file), without):
                print(f"unsteady, does not count: {by} with {case.mutant.change}", flush=True)
                without.append(by)
                ended, by = limited(partial(_failing, case, _tests(file), without))
            word = HUNG if not ended else FOUND if by else SURVIVED
            told(case, word, by)
            print(f"{file}:{case.mutant.line}: {word}: {case.mutant.change}", flush=True)


def _is_steady(case: Case, test: str, tests: Sequence[str], without: Sequence[str]) -> bool:
    """Whether *test* fails again: by itself, or after those before it, which may have left what it takes for that."""
    return any(limited(partial(_failing, case, again, without))[1] == test for again in ([test], tests))


def _failing(case: Case, tests: Sequence[str], without: Sequence[str] = ()) -> str:
    """The first test that fails, where the mutant stands in the place of a module that has not been imported yet.

    Where the module cannot be imported that is the file of tests that asks for it first.
    """
    finder, failing = _Finder(case.file, case.mutant.text), _Failing()
    assert finder.name not in sys.modules
    sys.meta_path.insert(0, finder)
    try:
        code = pytest.main(
            [*_OPTIONS, "-x", *_QUICK, *_REWRITTEN, *map("--deselect={}".format, without), *tests], plugins=[failing]
        )
    except BaseException:
        return tests[0]
    return "" if code == pytest.ExitCode.OK else failing.test or tests[0]


class _Failing:
    """Remembers the first test, or file of tests, that fails."""

    test = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.test = self.test or (report.nodeid if report.failed else "")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.test = self.test or (report.nodeid if report.failed else "")


class _Finder(Loader, MetaPathFinder):
    """Finds a module in a text."""

    def __init__(self, file: str, text: str) -> None:
        self.path, self.text = str(ROOT / file), text
        self.name = file.removesuffix(".py").replace("/", ".")

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, origin=self.path) if name == self.name else None

    def create_module(self, spec: ModuleSpec) -> None:
        pass

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = self.path
        exec(compile(self.text, self.path, "exec"), module.__dict__)


def _tests(file: str) -> list[str]:
    return [path for path in TESTS[file] if Path(ROOT, path).exists()]


if __name__ == "__main__":
    sys.exit(main())
