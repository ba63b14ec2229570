"""Passing on: of a chain each job but the last is settled, and the next one granted, by a commit of one row.

A commit waits for the pages that it writes, and a link of a chain has a commit of its own. What such a step changes is
worked out in memory as ever; the file is told by a row of `ahead`, from which anybody works out the same. The next step
of another kind carries all of these over into the tables that they belong to, before it looks at anything.
"""

from __future__ import annotations

from abc import abstractmethod
from array import array
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from executors._stored import Input
from executors.sqlite._claims import Drawn, Held
from executors.sqlite._database import MICROS, Database
from executors.sqlite._keys import job_of, row_of
from executors.sqlite._locks import Locks
from executors.sqlite._run import OpenRun, written
from executors.sqlite._standing import Standing
from flows import _machine as machine
from flows._state import COMPLETED
from flows._verbs import End, Grant, Settle

AHEAD: Final = 100
"""Steps after which one of another kind is made: whoever comes next has to carry so many over at most."""

PAYLOAD_BYTES: Final = 2000
"""The largest result that is passed on: it is written twice."""

_COMPLETED: Final = End.COMPLETED
_made: Final[Any] = tuple.__new__
"""Makes a named tuple of a tuple, at less cost."""


class Passed(NamedTuple):
    """A row of `ahead`.

    Attributes:
        fence: Under which the follower is granted; it is a claim of its own.
        session: Whose grants both are.
        job: The row of the one that has completed.
        follower: The one that is granted.
        claim: The claim of *job*.
        payload: The result.
        started_at, finished_at: Of the attempt, in microseconds, as the two below.
        worker: Who ran the one, and runs the other.
        at: The instant of the step.
        until: When the lease of *follower* ends.
    """

    fence: int
    session: int
    job: int
    follower: int
    claim: int
    payload: bytes
    started_at: int
    finished_at: int
    worker: str | None
    at: int
    until: int | None


class Passing(Standing):
    """The verb `pass_on`. Nobody is told of such a step: who watches sees within moments that the file has changed.

    Attributes:
        handed: Told of a settle that was passed on, and of what was drawn for the job that follows, to give it a brief.
    """

    handed: Callable[[Settle, Drawn], None] | None = None

    def __init__(self, database: Database, locks: Locks) -> None:
        self._unread = True
        self._passed: list[Passed] = []
        self._plain: OpenRun | None = None
        self._fences: Any = None
        super().__init__(database, locks)
        database.carry_over = self._carried_over

    @abstractmethod
    def briefs(self, drawn: Sequence[Drawn]) -> None:
        """Give grants their briefs, outside of the step."""

    def pass_on(self, settle: Settle, worker: str) -> Grant | None:
        """An exchange of the smallest kind: settle a completed attempt and claim the one job which that releases.

        When it returns, the file has both.

        Returns:
            The grant; None, and nothing has changed, where there is more or less to do than this, or where the file
            could not be written: an exchange will say why.
        """
        if settle.end is not _COMPLETED:
            return None
        grant: Any = settle.grant
        with self.database.lock:
            run = self._runs.get(grant.number)
            inputs = None if run is None else self._prepared(run, grant, worker, settle.value)
            if run is None or inputs is None:
                return None
            follower = run.state.edges[grant.job][0]
            passed = self.database.add("ahead_add", self._passed_now, (run, settle, follower, worker), self._forget)
            if passed is None:
                return None
            made = Held(run.number, follower, 1, passed[0], passed[0], worker)
            drawn = Drawn(run, made, self._row_read_of(run, follower), (), inputs, None)
        if self.handed is not None:
            self.handed(settle, drawn)
        else:
            self.briefs((drawn,))
        return made

    def _prepared(self, run: OpenRun, grant: Held, worker: str, payload: bytes) -> list[Input] | None:
        """What the follower takes, where to settle the one and grant the other is all that there is to do; else None.

        What else there may be to do is looked for once after each step of another kind; only those can change it.
        """
        if run is not self._plain:
            if self._unread or not self._is_plain(run):
                return None
            if self._plain is not None:
                self._plain.unflatten()
            self._plain = run
            self._fences = run.columns.fence if run.columns.flat is None else run.columns.flat.fence
            run.flatten()
        job = grant.job
        if (
            self._fences[job] != grant.fence
            or grant.worker != worker
            or len(self._passed) >= AHEAD
            or len(payload) > PAYLOAD_BYTES
            or self._notes
        ):
            return None
        follower = machine.follower(run.state, job)
        if follower < 0 or not self._row_known(run, follower):
            return None
        children = run.known.layout.shape.inputs[follower]
        if children == (job,):
            return [_made(Input, (job, COMPLETED, payload, None))]
        known = self._payloads.known
        states, first, inputs = run.state.state, row_of(run.number, 0), []
        for child in children:
            found = payload if child == job else known(first + child)
            if found is None or (child != job and states[child] != COMPLETED):
                return None
            inputs.append(Input(child, COMPLETED, found))
        return inputs

    def _is_plain(self, run: OpenRun) -> bool:
        """Whether nothing in the run is out of the ordinary, and nothing of it waits."""
        layout, state = run.known.layout, run.state
        odd = run.delays or layout.listed or layout.gated or state.made or state.lost or state.cut
        since = run.columns.sparse["since"]
        return not (odd or since or self._limits != {} or any(self._lanes.known(run.number)))

    def _passed_now(self, now: int, run: OpenRun, settle: Settle, follower: int, worker: str) -> Passed:
        """The row that says so; and what it says, done."""
        database, seconds = self.database, self.own_seconds
        grant: Any = settle.grant
        epoch = database.epoch
        fence = database.mark = database.mark + 1
        passed: Passed = _made(
            Passed,
            (
                fence,
                self.session,
                row_of(run.number, grant.job),
                follower,
                grant.claim,
                settle.value,
                round((settle.started_at + epoch) * MICROS),
                round((settle.ended_at + epoch) * MICROS),
                worker,
                now,
                None if seconds is None else now + round(seconds * MICROS),
            ),
        )
        machine.hand_on(run.state, grant.job, follower)
        self._fences[follower] = fence
        self._payloads.put(passed.job, passed.payload)
        self._passed.append(passed)
        return passed

    def _carry_over(self) -> None:
        if self._plain is not None:
            self._plain.unflatten()
            self._plain = None
        if self._unread:
            self._read_ahead()
        if not self._passed:
            return
        open_claims: dict[int, Passed] = {}
        runs: dict[int, OpenRun] = {}
        for passed in self._passed:
            number, job = job_of(passed.job)
            run = runs.get(number) or self._runs[number]
            runs[number] = run
            run.columns.changing((job, passed.follower))
            run.results.append((passed.job, passed.payload, 1, passed.started_at, passed.finished_at, passed.worker))
            run.note(passed.at, "completed", [job])
            run.note(passed.at, "started", [passed.follower])
            if open_claims.pop(passed.claim, None) is None:
                self._release_claim(passed.session, number, passed.claim, 1)
            open_claims[passed.fence] = passed
        for run in runs.values():
            written(self.database, run)  # nothing of what follows may see less than the file has
        for one in open_claims.values():
            packed = array("I", (one.follower,)).tobytes()
            number = job_of(one.job)[0]
            self.database.do("claim_add", one.session, number, one.fence, one.worker, one.at, one.until, packed, 1)
        self.database.do("ahead_clear")
        self._passed.clear()

    def _read_ahead(self) -> None:
        """Have the columns say what the file has noted, by whomever."""
        self._unread = False
        for passed in [Passed(*row) for row in self.database.all("ahead_all")]:
            number, job = job_of(passed.job)
            run = self._run(number)
            if run is not None:
                machine.hand_on(run.state, job, passed.follower)
                run.columns.fence[passed.follower] = passed.fence
                self._payloads.put(passed.job, passed.payload)
                self._passed.append(passed)

    def _carried_over(self) -> None:
        """Have all steps in the tables that they belong to."""
        with self.transaction():
            pass

    def _forget(self) -> None:
        super()._forget()
        self._passed.clear()
        self._plain, self._unread = None, True
