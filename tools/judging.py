"""A pytest plugin that runs tests against mutants, each in a fork of a process that has collected the tests.

Nothing is imported or collected again; a mutant meets the tests that get to its place until one fails: first those
that have found others there, then the quick before the slow, and one case of each test before many of the same.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from tools.mutants import Mutant
from tools.planting import Planter

if TYPE_CHECKING:
    import pytest


class Trials(Protocol):
    """Knows of tests, by id, how long they take and which places they enter."""

    def of(self, test: str) -> tuple[float, list[str]] | None:
        """Of one; None: not known."""
        ...

    def add(self, told: Mapping[str, tuple[float, list[str]]]) -> None:
        """Know these from now on."""
        ...


FOUND, SURVIVED, CANNOT = "found", "survived", "cannot"
LATE: Final = "late"
"""A test took too long: the mutant hangs, or the machine was busy. It is judged again, with more patience."""

PATIENCE: Final = (2.0, 8.0)
"""Seconds that a test may take besides some times what it takes without a mutant: of this process, and in all."""

MORE_PATIENCE: Final = 5.0
"""So many times as long may a test take when its mutant is judged again; who is late then hangs, and is found."""

FIRST: Final = 4
"""So many tests that have found most in the same place come first."""


class Case(NamedTuple):
    """A mutant to judge.

    Attributes:
        hint: The test that found it the last time.
        met: Files of tests that have let it pass before.
    """

    file: str
    mutant: Mutant
    hint: str = ""
    met: frozenset[str] = frozenset()

    def meets(self, test: str) -> bool:
        """Whether a test, by its id, is news to it."""
        return test.partition("::")[0] not in self.met


@dataclass
class Judge:
    """The plugin.

    Args:
        planter: Puts them in place.
        cases: What to judge.
        jobs: How many forks at once.
        trials: What the tests do without a mutant.
        tell: Is called with each case, a verdict (a word), and the test that it comes from.
    """

    planter: Planter
    cases: Sequence[Case]
    jobs: int
    trials: Trials
    tell: Callable[[Case, str, str], None]
    _finders: dict[str, Counter[int]] = field(default_factory=dict)
    _late: list[Case] = field(default_factory=list)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """In the place of pytest's own loop."""
        self.planter.collected()
        took, entering = self._tried(session)
        names = {item.nodeid: number for number, item in enumerate(session.items)}
        open_forks: dict[int, tuple[Case, IO[bytes]]] = {}
        cases = self.cases
        for patience in (1.0, MORE_PATIENCE):
            for case in cases:
                entered = entering.get(self.planter.place_of(case.file, case.mutant), ())
                items = self._ordered(session, case, entered, took)
                reading, writing = os.pipe()
                pid = os.fork()
                if not pid:
                    self._judge(session, case, items, [patience * seconds for seconds in took], writing, patience)
                os.close(writing)
                open_forks[pid] = case, os.fdopen(reading, "rb")
                if len(open_forks) == self.jobs:
                    self._note(open_forks, names, patience)
            while open_forks:
                self._note(open_forks, names, patience)
            cases, self._late = self._late, []
        return True

    def _note(self, open_forks: dict[int, tuple[Case, IO[bytes]]], names: dict[str, int], patience: float) -> None:
        pid, _ = os.wait()
        case, pipe = open_forks.pop(pid)
        with pipe:
            word, _, by = pipe.read().decode().partition(" ")
        if word == LATE and patience < MORE_PATIENCE:
            self._late.append(case)
            return
        if by in names:
            place = self.planter.place_of(case.file, case.mutant)
            self._finders.setdefault(place, Counter())[names[by]] += 1
        word = FOUND if word == LATE else word
        self.tell(case, word or FOUND, by)  # who says nothing has been killed by what it did

    def _ordered(self, session: pytest.Session, case: Case, items: Sequence[int], took: Sequence[float]) -> list[int]:
        seen: Counter[str] = Counter()
        cost: dict[int, float] = {}
        for item in sorted((item for item in items if case.meets(session.items[item].nodeid)), key=took.__getitem__):
            name = session.items[item].nodeid.partition("[")[0]
            seen[name] += 1
            cost[item] = took[item] * seen[name]
        best = self._finders.get(self.planter.place_of(case.file, case.mutant), Counter()).most_common(FIRST)
        for place, (item, _) in enumerate(best):
            if item in cost:
                cost[item] = place - FIRST - 1.0
        for item in cost:
            if session.items[item].nodeid == case.hint:
                cost[item] = -FIRST - 2.0
        return sorted(cost, key=cost.__getitem__)

    def _judge(
        self,
        session: pytest.Session,
        case: Case,
        items: Sequence[int],
        took: Sequence[float],
        writing: int,
        patience: float,
    ) -> None:
        """Judge one in this fork, and end it."""
        by = ""

        def end(word: str) -> None:
            os.write(writing, f"{word} {by}".encode())
            self.planter.leave()
            os._exit(0)

        silence()
        if not self.planter.plant(case.file, case.mutant):
            end(CANNOT)
        for caught in (signal.SIGALRM, signal.SIGPROF):
            signal.signal(caught, lambda *_: end(LATE))
        try:
            tests = [session.items[item] for item in items]
            for item, test, _ in zip([*items, -1], [*tests, None], _run(session, tests), strict=True):
                if session.testsfailed:
                    end(FOUND)
                if test is not None:
                    by = test.nodeid
                    signal.setitimer(signal.ITIMER_PROF, patience * PATIENCE[0] + 3.0 * took[item])
                    signal.setitimer(signal.ITIMER_REAL, patience * PATIENCE[1] + 5.0 * took[item])
        except BaseException:
            end(FOUND)
        by = ""
        end(SURVIVED)

    def _tried(self, session: pytest.Session) -> tuple[list[float], dict[str, list[int]]]:
        """How long each test takes without a mutant, and which enter which place."""
        new = [item for item in session.items if self.trials.of(item.nodeid) is None]
        if new:
            self.trials.add(forked(lambda: self._try(session, new)))
        took: list[float] = []
        entering: dict[str, list[int]] = {}
        for number, item in enumerate(session.items):
            seconds, places = self.trials.of(item.nodeid) or (0.0, [])
            took.append(seconds)
            for place in places:
                entering.setdefault(place, []).append(number)
        return took, entering

    def _try(self, session: pytest.Session, items: Sequence[pytest.Item]) -> dict[str, tuple[float, list[str]]]:
        silence()
        made: dict[str, tuple[float, list[str]]] = {}
        self.planter.watch()
        begun = time.perf_counter()
        for before, _ in zip([None, *items], _run(session, items), strict=True):
            if before is not None:
                made[before.nodeid] = time.perf_counter() - begun, sorted(self.planter.entered())
                if session.testsfailed:
                    raise RuntimeError(f"{before.nodeid} fails without any mutant")
            begun = time.perf_counter()
        threading.setprofile(None)
        sys.setprofile(None)
        self.planter.leave()
        return made


def _run(session: pytest.Session, items: Sequence[pytest.Item]) -> Iterator[None]:
    """Run them one by one; stops before each, and after the last."""
    for place, item in enumerate(items):
        yield
        following = items[place + 1] if place + 1 < len(items) else None
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    yield


def is_failing(session: pytest.Session, items: Sequence[pytest.Item]) -> bool:
    """Run tests until one fails; whether one does."""
    return any(session.testsfailed for _ in _run(session, items))


def forked(work: Callable[[], Any], *, otherwise: Any = None) -> Any:
    """What *work* returns, done in a fork: it leaves nothing behind here.

    Args:
        otherwise: What is returned where the fork dies, or *work* raises; left out: that raises here.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        try:
            result: Any = (True, work())
        except BaseException as error:
            result = False, f"{type(error).__name__}: {error}"
        with open(writing, "wb") as pipe:
            pickle.dump(result, pipe)
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        told = pipe.read()
    os.waitpid(pid, 0)
    done, result = pickle.loads(told) if told else (False, "it died")
    if not done and otherwise is None:
        raise RuntimeError(result)
    return result if done else otherwise


def limited(fails: Callable[[], bool], seconds: float = 120.0) -> bool:
    """Whether *fails* says so in a fork of this process, or works for longer than that, or ten times waits so long."""
    pid = os.fork()
    if not pid:
        silence()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, 10.0 * seconds)
        try:
            os._exit(int(fails()))
        except BaseException:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    return status != 0


def silence() -> None:
    """Say nothing any more."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
