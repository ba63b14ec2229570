"""How it stands with the runs and queues of a file, for those who operate it; pruning and dead letters."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from executors.sqlite._database import MICROS
from executors.sqlite._keys import job_of, row_of
from executors.sqlite._retention import PAGES, STEP
from executors.sqlite._sessions import Sessions
from flows._state import ACTIVE

PAGE: Final = 500
"""Rows that a listing looks at in one query."""


class Due(NamedTuple):
    """Which ended runs are to go.

    Attributes:
        older_than: Only those that ended so many seconds ago, or longer.
        state, name: Only those in that state, of that flow.
        keep: But for the newest so many of each flow.
    """

    older_than: float | None
    state: str | None
    name: str | None
    keep: int | None


class Standing(Sessions):
    """What an operator asks of a file, a step each."""

    def tidied(self) -> int:
        """Retire some of the runs whose time is over; returns the instant."""
        with self.transaction() as now:
            self._look_after(now)
        self._tidy()
        return now

    def counts(self) -> tuple[Counter[str], Counter[str], Counter[str]]:
        """How many jobs of each queue wait, are delayed and are active."""
        database = self.database
        waiting, delayed, active = Counter[str](), Counter[str](), Counter[str]()
        with self.transaction():
            for query in ("lane_counts", "suspect_counts"):
                waiting.update(dict(database.all(query)))
            for (row,) in database.all("delayed_all"):
                number, job = job_of(row)
                known = self._knows(number)
                if known is not None:
                    delayed[known.layout.queue(job)] += 1
            for number, first, packed in database.all("claim_all"):
                run = self._run(number)
                if run is not None:
                    for fence, job in enumerate(array("I", packed), first):
                        if run.columns.fence[job] == fence and run.state.state[job] == ACTIVE:
                            active[run.known.layout.queue(job)] += 1
        return waiting, delayed, active

    def due(self, which: Due, limit: int) -> list[int]:
        """The ended runs that are to go, oldest first."""
        found: list[int] = []
        bounds: dict[str, tuple[int, int]] = {}
        after = (-1, -1)
        with self.transaction() as now:
            latest = now if which.older_than is None else now - round(which.older_than * MICROS)
            while len(found) < limit:
                page = self.database.all("run_oldest", *after, PAGE)
                for number, name, state, ended_at in page:
                    after = (ended_at, number)
                    if ended_at > latest:
                        return found
                    wanted = which.state in (None, state) and which.name in (None, name)
                    if wanted and after <= self._bound(name, which.keep, bounds) and len(found) < limit:
                        found.append(number)
                if len(page) < PAGE:
                    break
        return found

    def _bound(self, name: str, keep: int | None, known: dict[str, tuple[int, int]]) -> tuple[int, int]:
        """Until where the ended runs of a flow are not spared."""
        if keep is None:
            return 1 << 62, 0
        if name not in known:
            known[name] = self.database.one("run_spared", name, keep) or (-1, -1)
        return known[name]

    def retire(self, numbers: Sequence[int]) -> None:
        """Remove runs that have ended, each of them whole; one that was reopened meanwhile stays."""
        for first in range(0, len(numbers), STEP):
            with self.transaction():
                for number in numbers[first : first + STEP]:
                    run = self._run(number)
                    if run is not None and run.ended_at is not None:
                        self._retire(number)
            self.database.tidy(PAGES)

    def drop_dead(self, number: int, jobs: Sequence[int] | None) -> int:
        """Take dead letters of a run off the list; returns how many there were."""
        with self.transaction():
            rows = [row for (row,) in self.database.all("dead_of", row_of(number, 0), row_of(number + 1, 0))]
            if jobs is not None:
                wanted = {row_of(number, job) for job in jobs}
                rows = [row for row in rows if row in wanted]
            self.database.do_all("dead_drop", [(row,) for row in rows])
        return len(rows)
