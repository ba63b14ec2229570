"""A pytest plugin that judges mutants of scripts: what tests say to a server is said again to the mutant, at once.

Each test is run once with all that it sends to the server, and all that it is answered, taken down. Where a mutant
answers all of that with the same bytes the test cannot find it; where it does not, the test itself is run and judges.
One server serves all: a mutant is loaded into it. The scripts' clock is a counter meanwhile, so that they answer the
same each time.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from redis.exceptions import RedisError

from executors.redis import _connection
from tools.judging import (
    FOUND,
    HUNG,
    LATE,
    MORE_PATIENCE,
    PATIENCE,
    REFUSED,
    SURVIVED,
    Case,
    forked,
    is_failing,
    silence,
)
from tools.planting import Scripts
from tools.sayings import (
    GIVE_UP_SECONDS,
    HANGS_SECONDS,
    NOTHING,
    HangingError,
    Log,
    Names,
    NotTakenError,
    Recording,
    difference,
    load,
    worked,
)
from tools.waiting import Watch

if TYPE_CHECKING:
    import pytest

CLOCK: Final = """\
(function()
  call('SELECT', 1)
  local passed = call('INCRBY', 'clock', 100)
  call('SELECT', 0)
  return { 1700000000 + math.floor(passed / 1000000), passed % 1000000 }
end)()"""
"""In another database of the server: no test sees it, and all begin with it at the same instant. It is long ago: keys
that have an end by the clock are gone at once."""

ALONE: Final = 3
"""So many tests that a mutant answers otherwise are tried one by one; if none finds it the others follow together."""


class Recordings(Protocol):
    """Keeps recordings of tests, by id."""

    def of(self, test: str) -> Recording | None:
        """Of one; None: there is none yet."""
        ...

    def add(self, test: str, recording: Recording) -> None:
        """Keep one."""
        ...


@dataclass
class ReplayJudge:
    """The plugin.

    Args:
        planter: Puts mutants in place.
        cases: What to judge.
        recordings: What is known of the tests.
        tell: Is called with each case, a verdict (a word), and the test that it comes from.
        note: Is called with each case that a test lets pass though the server answers otherwise: with the test, what
            was sent, the answer that was, and the one that is.
    """

    planter: Scripts
    cases: Sequence[Case]
    recordings: Recordings
    tell: Callable[[Case, str, str], None]
    note: Callable[[Case, str, bytes, object, object], None]
    _server: Any = None
    _texts: dict[str, bytes] = field(default_factory=dict)
    _shas: dict[str, bytes] = field(default_factory=dict)
    _found: dict[tuple[str, str], Counter[int]] = field(default_factory=dict)
    _said: dict[int, Recording] = field(default_factory=dict)
    _took: dict[int, float] = field(default_factory=dict)
    _unsaid: list[int] = field(default_factory=list)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """In the place of pytest's own loop."""
        be_patient()
        self._server = self.planter.server()
        self._texts = self.planter.texts(CLOCK)
        self._shas = {name: hashlib.sha1(text).hexdigest().encode() for name, text in self._texts.items()}
        known = {number: self.recordings.of(item.nodeid) for number, item in enumerate(session.items)}
        new = [item for number, item in enumerate(session.items) if known[number] is None]
        made = forked(lambda: self._record(session, new)) if new else {}
        for _ in range(2):  # what lies in between may turn the server's tables round
            for item in new:
                made[item.nodeid] = self._steadied(made[item.nodeid])
        for item in new:
            self.recordings.add(item.nodeid, made[item.nodeid])
        for number, item in enumerate(session.items):
            said = self.recordings.of(item.nodeid) or NOTHING
            self._took[number] = said.took
            if said.sent:
                self._said[number] = said
            else:
                self._unsaid.append(number)
                print(f"cannot be said again: {item.nodeid}", flush=True)
        if not any(said.runs for said in self._said.values()):
            raise RuntimeError("no script is heard of in what the tests say: it goes other ways than are listened to")
        for case in self.cases:
            self.tell(case, *self._judged(session, case))
        return True

    # Judging.

    def _judged(self, session: pytest.Session, case: Case) -> tuple[str, str]:
        names = Names(self._server, self._shas, partial(self.planter.text, case.file, case.mutant.text, CLOCK))
        doubtful: list[int] = []
        for number in self._ordered(session, case):
            test = session.items[number].nodeid
            try:
                differs = difference(self._server, self._said[number], names)
            except NotTakenError:
                return REFUSED, ""
            except HangingError:
                self._restart()
                self._count(case, number)
                return HUNG, test
            if differs is None:
                continue
            if len(doubtful) >= ALONE:
                doubtful.append(number)
                continue
            word, _ = self._found_by(session, case, [number])
            if word != SURVIVED:
                self._count(case, number)
                return word, test
            doubtful.append(number)
            self.note(case, test, *differs)
        unsaid = [number for number in self._unsaid if case.meets(session.items[number].nodeid)]
        return self._found_by(session, case, [*doubtful[ALONE:], *unsaid])

    def _ordered(self, session: pytest.Session, case: Case) -> list[int]:
        """Those that run a script with the mutant: first those that have found others here, then the short ones."""
        here = self._found.get((case.file, case.mutant.function), Counter())
        nearby = self._found.get((case.file, ""), Counter())

        def rank(number: int) -> tuple[bool, int, int, int]:
            is_hint = session.items[number].nodeid == case.hint
            return not is_hint, -here[number], -nearby[number], self._said[number].size

        concerned = {self._shas[name] for name in self.planter.made_of(case.file)}
        met = {number for number in self._said if not case.meets(session.items[number].nodeid)}
        return sorted(
            (number for number, said in self._said.items() if said.runs & concerned and number not in met), key=rank
        )

    def _count(self, case: Case, number: int) -> None:
        for function in {case.mutant.function, ""}:
            self._found.setdefault((case.file, function), Counter())[number] += 1

    def _steadied(self, said: Recording) -> Recording:
        """Nothing but how long it took, if the scripts as they are do not answer the same again."""
        names = Names(self._server, self._shas, self._texts.get)
        return said if difference(self._server, said, names) is None else replace(NOTHING, took=said.took)

    def _found_by(self, session: pytest.Session, case: Case, numbers: Sequence[int]) -> tuple[str, str]:
        """What these tests say of the mutant, and which; the one that finds it has to do so twice, and patiently."""
        while numbers:
            word, by = self._asked(session, case, numbers, 1.0)
            if word == SURVIVED:
                break
            test = session.items[by].nodeid
            word, _ = self._asked(session, case, [by], MORE_PATIENCE)
            if word != SURVIVED:
                return (HUNG if word == LATE else FOUND), test
            print(f"unsteady, does not count: {test} with {case.mutant.change}", flush=True)
            numbers = [number for number in numbers if number != by]
        return SURVIVED, ""

    def _asked(self, session: pytest.Session, case: Case, numbers: Sequence[int], patience: float) -> tuple[str, int]:
        asked = partial(self._run, session, case, numbers, patience)
        died = FOUND, numbers[-1]
        told: tuple[str, int] = forked(asked, otherwise=died)
        if not self._answers():
            self._restart()
        if told == died and len(numbers) > 1:  # perhaps nobody lived to say which it was
            return next((one for one in self._one_by_one(session, case, numbers, patience)), (SURVIVED, -1))
        return told

    def _one_by_one(
        self, session: pytest.Session, case: Case, numbers: Sequence[int], patience: float
    ) -> Iterator[tuple[str, int]]:
        for number in numbers:
            told = self._asked(session, case, [number], patience)
            if told[0] != SURVIVED:
                yield told

    def _run(self, session: pytest.Session, case: Case, numbers: Sequence[int], patience: float) -> tuple[str, int]:
        silence()
        self.planter.plant(case.file, case.mutant.text)
        late = []

        def interrupt() -> None:
            late.append(True)
            raise LateError

        watch = Watch(interrupt, [self._server.pid])
        try:
            for number in numbers:
                took = self._took[number]
                work, sleep = (patience * seconds for seconds in PATIENCE)
                watch.begin(work + 3.0 * patience * took, sleep)
                if is_failing(session, [session.items[number]]):
                    return LATE if late else FOUND, number
            return SURVIVED, -1
        finally:
            watch.end()
            self.planter.leave()

    # The server.

    def _answers(self) -> bool:
        begun = worked(self._server)
        while worked(self._server) - begun < HANGS_SECONDS:
            with contextlib.suppress(RedisError, OSError):
                return bool(self._server.ask("PING", socket_timeout=0.5))
        return False

    def _restart(self) -> None:
        self._server.kill()
        self._server.start()

    # Recording.

    def _record(self, session: pytest.Session, items: Sequence[pytest.Item]) -> dict[str, Recording]:
        silence()
        self.planter.put_clock(CLOCK)
        log = Log(self._server.path)
        made: dict[str, Recording] = {}
        for item in items:
            for name in self._texts:
                load(self._server, self._texts[name])
            self._server.ask("FLUSHALL")
            log.begin()
            begun = time.process_time()
            failing = is_failing(session, [item])
            session.testsfailed = 0
            said = NOTHING if failing else log.recording()
            made[item.nodeid] = replace(said, took=time.process_time() - begun)
        return made


def be_patient() -> None:
    """Let connections wait for as long as a busy machine takes: a test must not fail for that."""
    for seconds in ("PATIENCE", "REPLY_SECONDS", "CONNECT_SECONDS"):
        setattr(_connection, seconds, GIVE_UP_SECONDS)
    for call in (_connection.Link.call, _connection.Link.calls, _connection.Link.channel):
        defaults: Any = call.__kwdefaults__
        defaults.update(dict.fromkeys(defaults, GIVE_UP_SECONDS))


class LateError(BaseException):
    """A test takes too long."""
