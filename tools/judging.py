"""A pytest plugin that runs tests against mutants, each in a fork of a process that has collected the tests.

Nothing is imported or collected again; a mutant meets the tests that get to its place until one fails: first those
that have found others there, then the quick before the slow, and one case of each test before many of the same.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from tools.mutants import Mutant
from tools.planting import Planter
from tools.waiting import Watch

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


FOUND, HUNG, SURVIVED = "found", "hung", "survived"
"""A test fails; a test does not come to its end; all tests pass."""
CANNOT, REFUSED = "cannot", "refused"
"""It cannot be put in place in a fork; it is no script at all."""

LATE: Final = "late"
"""A test took too long: it is run again, with more patience."""

PATIENCE: Final = (2.0, 8.0)
"""Seconds that a test may work, and sleep, besides some times what it takes without a mutant: see `tools.waiting`."""

MORE_PATIENCE: Final = 5.0
"""So many times as long may a test take when it is run again; what is late then hangs."""

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


class Turn(NamedTuple):
    """A case to be judged in a fork.

    Attributes:
        test: The only test it is to meet, which has failed or was late before: it counts if it is so again.
        word: What the test came to then.
        without: Tests that do not count, as they have said one thing of it and then the other.
    """

    case: Case
    test: str = ""
    word: str = ""
    without: frozenset[str] = frozenset()

    @property
    def patience(self) -> float:
        """So many times as long as usual may a test take."""
        return MORE_PATIENCE if self.word else 1.0


@dataclass
class Judge:
    """The plugin.

    Args:
        planter: Puts them in place.
        cases: What to judge.
        jobs: How many forks at once.
        trials: Knows what the tests do without mutants.
        tell: Is called with each case, a verdict (a word), and the test that it comes from.
    """

    planter: Planter
    cases: Sequence[Case]
    jobs: int
    trials: Trials
    tell: Callable[[Case, str, str], None]
    _finders: dict[str, Counter[int]] = field(default_factory=dict)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """In the place of pytest's own loop."""
        self.planter.collected()
        took, entering = self._tried(session)
        names = {item.nodeid: number for number, item in enumerate(session.items)}
        open_forks: dict[int, tuple[Turn, IO[bytes]]] = {}
        turns = deque(map(Turn, self.cases))
        while turns or open_forks:
            if not turns or len(open_forks) == self.jobs:
                self._note(open_forks, names, turns)
                continue
            turn = turns.popleft()
            entered = entering.get(self.planter.place_of(turn.case.file, turn.case.mutant), ())
            counting = [item for item in entered if session.items[item].nodeid not in turn.without]
            items = [names[turn.test]] if turn.test else self._ordered(session, turn.case, counting, took)
            reading, writing = os.pipe()
            pid = os.fork()
            if not pid:
                self._judge(session, turn, items, took, writing)
            os.close(writing)
            open_forks[pid] = turn, os.fdopen(reading, "rb")
        return True

    def _note(
        self, open_forks: dict[int, tuple[Turn, IO[bytes]]], names: Mapping[str, int], turns: deque[Turn]
    ) -> None:
        """Wait for a fork. What it has found is asked for once more, of the same test: no test fails by chance then."""
        pid, _ = os.wait()
        turn, pipe = open_forks.pop(pid)
        with pipe:
            word, _, by = pipe.read().decode().partition(" ")
        word = word or FOUND  # who says nothing has been ended by what it did
        if word in (FOUND, LATE) and by and not turn.word:
            turns.appendleft(turn._replace(test=by, word=word))
        elif word == SURVIVED and turn.word:
            print(f"unsteady, does not count: {turn.test} with {turn.case.mutant.change}", flush=True)
            turns.appendleft(Turn(turn.case, without=turn.without | {turn.test}))
        else:
            if by:
                place = self.planter.place_of(turn.case.file, turn.case.mutant)
                self._finders.setdefault(place, Counter())[names[by]] += 1
            self.tell(turn.case, HUNG if word == LATE else word, by)

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
        self, session: pytest.Session, turn: Turn, items: Sequence[int], took: Sequence[float], writing: int
    ) -> None:
        """Judge one in this fork, and end it."""
        by = ""

        def end(word: str) -> None:
            os.write(writing, f"{word} {by}".encode())
            self.planter.leave()
            os._exit(0)

        silence()
        if not self.planter.plant(turn.case.file, turn.case.mutant):
            end(CANNOT)
        watch = Watch(lambda: end(LATE))
        try:
            tests = [session.items[item] for item in items]
            for item, test, _ in zip([*items, -1], [*tests, None], _run(session, tests), strict=True):
                if session.testsfailed:
                    end(FOUND)
                if test is not None:
                    by = test.nodeid
                    work, sleep = (turn.patience * seconds for seconds in PATIENCE)
                    watch.begin(work + 3.0 * turn.patience * took[item], sleep)
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


def limited(judged: Callable[[], str], seconds: float = 120.0) -> tuple[bool, str]:
    """What a test run comes to in a fork of this process.

    Args:
        judged: Runs tests and returns the one that failed; empty: none did.
        seconds: So long it may work, and so long it may sleep.

    Returns:
        Whether it came to its end, and what it returned.

    Raises:
        RuntimeError: *judged* raised something.
    """

    def watched() -> tuple[bool, str]:
        silence()
        watch = Watch(lambda: os._exit(1))
        watch.begin(seconds, seconds)
        try:
            made = judged()
        except BaseException as error:  # not the tests' word, and no reason to say that they hang
            return False, repr(error)
        watch.end()
        return True, made

    told: tuple[bool, str] = forked(watched, otherwise=(False, ""))
    if told[1] and not told[0]:
        raise RuntimeError(told[1])
    return told


def silence() -> None:
    """Say nothing any more."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
