"""Granting: who gets which jobs, under which fence, for how long. Within a step.

Jobs of a run that are granted at once share a *claim*: one row, under the first of their fences. It goes when the last
of them is settled, and says until then who holds them.
"""

from __future__ import annotations

import operator
from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from executors._stored import LIST, Input, Place
from executors.sqlite._course import Course
from executors.sqlite._database import MICROS, Database
from executors.sqlite._ends import ends_of
from executors.sqlite._keys import job_of, row_of
from executors.sqlite._run import OpenRun
from flows._verbs import Grant, Want

LEASE_SECONDS: Final = 30.0
"""How long a worker holds a job without extending its lease."""

_CLAIMED: Final = operator.attrgetter("number", "claim")
"""Of which claim a grant is."""

UNLIMITED: Final = 1 << 30


class Held(Grant):
    """A grant of this store.

    Attributes:
        number: The run's number.
        claim: The first fence of those granted with it.
        worker: Who holds it.
    """

    __slots__ = ("claim", "control", "number", "suspect", "worker")

    def __init__(self, number: int, job: int, attempt: int, fence: int, claim: int, worker: str | None) -> None:
        self.job, self.attempt, self.fence, self.stop = job, attempt, fence, None  # its brief is made after the step
        self.number, self.claim, self.worker = number, claim, worker
        self.control = self.suspect = False


class Drawn:
    """A grant, and what its worker needs to know: the material for its brief.

    Attributes:
        row: What was submitted of the job, as its worker reads it; None for a stamped one, whose body says it.
        places: For a stamped one, which items it belongs to.
        since: When its first attempt began, where this is another.
        gated: Whether its condition is to be judged.
    """

    __slots__ = ("gated", "grant", "inputs", "places", "row", "run", "since")

    def __init__(
        self,
        run: OpenRun,
        grant: Held,
        row: Any,
        places: Sequence[Place],
        inputs: list[Input],
        since: int | None,
    ):
        self.run = run
        self.grant = grant
        self.row = row
        self.places = places
        self.inputs = inputs
        self.since = since
        self.gated = grant.control and grant.job in run.state.gated


class Claims(Course):
    """How jobs are claimed.

    Attributes:
        session: The number of this process among those that use the file.
        lease_seconds: How long a worker of any run holds a job without extending its lease.
        own_seconds: The same for those who work off a run of their own: None, as long as their process lives.
    """

    lease_seconds: float | None = LEASE_SECONDS
    own_seconds: float | None = None

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.session = 0
        self._open: dict[int, int] = {}
        """Claims of this process, as far as they are known: how many of their jobs are not settled."""

    def _forget(self) -> None:
        super()._forget()
        self._open.clear()

    def _take(self, want: Want, now: int, worker: str | None) -> list[Held]:
        """Grant up to ``want.limit`` jobs, at most one of them a suspect."""
        grants: list[Held] = []
        only: Any = want.run
        if want.limit <= 0 and only is not None:
            run = self._run(only.number)
            if run is not None:
                self._line_up(run, want, grants)
        elif want.limit > 0:
            if only is None:
                self._take_any(want, now, worker, grants)
            else:
                run = self._run(only.number)
                if run is None or run.ended_at is not None:
                    return grants
                self._take_of(run, want, now, worker, grants)
                self._line_up(run, want, grants)
            if want.suspects and len(grants) < want.limit:
                self._take_suspect(want, now, worker, grants)
        return grants

    def _take_of(self, run: OpenRun, want: Want, now: int, worker: str | None, grants: list[Held]) -> None:
        for lane in tuple(self._lanes.of(run.number).values()):
            room = min(want.limit - len(grants), self._room(lane.queue, want, now, len(grants)))
            if room > 0 and lane:
                self._lanes.touched(lane)
                self._grant(run, lane.take(room), now, worker, grants, _until(now, self.own_seconds))
            if len(grants) >= want.limit:
                break

    def _take_any(self, want: Want, now: int, worker: str | None, grants: list[Held]) -> None:
        self._lanes.flush()
        until = _until(now, self.lease_seconds)
        for (queue,) in self.database.all("queue_all"):
            if want.queues is not None and queue not in want.queues:
                continue
            before = len(grants)
            room = min(want.limit - before, self._room(queue, want, now, before))
            for number, jobs in self._lanes.take(queue, room):
                run = self._run(number)
                if run is not None:
                    self._grant(run, jobs, now, worker, grants, until)
            if len(grants) > before:
                self.database.do("queue_turn", self.database.draw(), queue)
            if len(grants) >= want.limit:
                break

    def _room(self, queue: str, want: Want, now: int, granted: int) -> int:
        """How many jobs of a queue may be claimed, as far as its limits go."""
        return UNLIMITED

    def _line_up(self, run: OpenRun, want: Want, granted: Sequence[Held]) -> None:
        """Have the run stand in line for what limits keep back, as far as it has the hands."""

    def _hold(self, run: OpenRun, jobs: Sequence[int]) -> None:
        """Note what *jobs* use of their queues' limits."""

    def _take_suspect(self, want: Want, now: int, worker: str | None, grants: list[Held]) -> None:
        """At most one job that has lost a worker, so that a deadly one takes no others with it."""
        only: Any = want.run
        if only is not None:
            run = self._run(only.number)
            if run is None or not run.state.lost:
                return
            rows = self.database.all("suspect_of", row_of(run.number, 0), row_of(run.number + 1, 0))
        else:
            rows = self.database.all("suspect_all")
        for place, queue, row in rows:
            number, job = job_of(row)
            if (want.queues is not None and queue not in want.queues) or self._room(queue, want, now, len(grants)) <= 0:
                continue
            self.database.do("suspect_drop", place)
            run = self._run(number)
            if run is None:
                continue
            before = len(grants)
            until = _until(now, self.lease_seconds if only is None else self.own_seconds)
            self._grant(run, [job], now, worker, grants, until)
            if len(grants) > before:  # else it was cancelled meanwhile
                grants[-1].suspect = True
                return

    def _grant(
        self, run: OpenRun, jobs: Sequence[int], now: int, worker: str | None, grants: list[Held], until: int | None
    ) -> None:
        claim = self.database.mark + 1
        granted = run.grant(jobs, claim)
        if not granted:
            return
        self.database.draw(len(granted))
        state = run.state
        layout, made = run.known.layout, state.made
        odd = layout.listed or layout.gated
        plain: list[int] = []
        for fence, job in enumerate(granted, claim):
            grant = Held(run.number, job, made.get(job, 0) + 1 if made else 1, fence, claim, worker)
            if odd and (job in state.gated or layout.flags(job) & LIST):
                grant.control = True
            else:
                plain.append(job)
            grants.append(grant)
        packed = array("I", granted).tobytes()
        self.database.do("claim_add", self.session, run.number, claim, worker, now, until, packed, len(granted))
        self._open[claim] = len(granted)
        if plain:
            self._hold(run, plain)
            run.note(now, "started", [(job, made[job] + 1) if job in made else job for job in plain] if made else plain)

    def _release_claims(self, grants: Sequence[Held]) -> None:
        """The attempts of these grants are over."""
        for (number, claim), count in Counter(map(_CLAIMED, grants)).items():
            self._release_claim(self.session, number, claim, count)

    def _release_claim(self, session: int, number: int, claim: int, count: int) -> None:
        """So many attempts of a claim are over."""
        left = self._open.get(claim)
        if left is None:
            row = self.database.one("claim_open", session, number, claim)
            left = 0 if row is None else row[0]
        left -= count
        if left > 0:
            if session == self.session:
                self._open[claim] = left
            self.database.do("claim_set", left, session, number, claim)
        else:
            self._open.pop(claim, None)
            self.database.do("claim_drop", session, number, claim)

    def _drawn(self, grants: Sequence[Held]) -> list[Drawn]:
        """The material for the briefs of grants that were just made."""
        numbers = {grant.number for grant in grants}
        if len(numbers) == 1:
            plain = self._drawn_plainly(self._runs[numbers.pop()], grants)
            if plain is not None:
                return plain
        found = []
        wanted: dict[int, dict[int, None]] = {}
        for grant in grants:
            run = self._runs[grant.number]
            layout = run.known.layout
            inputs = layout.inputs(grant.job)
            stamped = grant.job >= layout.shape.size
            found.append(
                Drawn(
                    run,
                    grant,
                    None if stamped else self._rows_read_of(run, (grant.job,))[0],
                    layout.places(grant.job) if stamped else (),
                    inputs,  # type: ignore[arg-type]  # which become what is known of them below
                    run.columns.sparse["since"].get(grant.job),
                )
            )
            if inputs:
                wanted.setdefault(grant.number, {}).update(dict.fromkeys(inputs))
        ends = {number: self._ends(self._runs[number], list(jobs)) for number, jobs in wanted.items()}
        for one in found:
            if one.inputs:
                known = ends[one.grant.number]
                cut = one.run.state.cut.get(one.grant.job)
                ordinal = one.run.state.ordinal
                children: Any = one.inputs
                one.inputs = [
                    known[child] if cut is None or 0 < ordinal[child] <= cut else Input(child, 0, None)
                    for child in children
                ]
        return found

    def _drawn_plainly(self, run: OpenRun, grants: Sequence[Held]) -> list[Drawn] | None:
        """The same for jobs of one run in which nothing has gone wrong and nothing is stamped out; else None."""
        layout, state = run.known.layout, run.state
        if layout.listed or state.cut or run.columns.sparse["since"]:
            return None
        inputs = layout.shape.inputs
        jobs = [grant.job for grant in grants]
        taken = [inputs[job] for job in jobs]
        ends = self._ends(run, list({child for children in taken for child in children})).__getitem__
        rows = self._rows_read_of(run, jobs)
        return [
            Drawn(run, grant, row, (), [*map(ends, children)], None)
            for grant, row, children in zip(grants, rows, taken, strict=True)
        ]

    def _ends(self, run: OpenRun, jobs: list[int]) -> dict[int, Input]:
        """How *jobs* have ended."""
        return ends_of(run, jobs, lambda wanted: self._payloads_of(run, wanted), lambda job: self._row(run, job))


def _until(now: int, seconds: float | None) -> int | None:
    return None if seconds is None else now + round(seconds * MICROS)
