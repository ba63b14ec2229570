"""Sessions: the processes that use the file. What a dead one held is free at once, and others' doings are told."""

from __future__ import annotations

import os
import time
from array import array
from typing import Any, Final

from executors.sqlite._database import Database
from executors.sqlite._locks import Locks
from executors.sqlite._notes import Notes
from executors.sqlite._run import OpenRun
from flows import _machine as machine
from flows._state import ACTIVE, Commands

LOOK_SECONDS: Final = 0.2
"""How often those who wait look whether the others still live."""


class Sessions(Notes):
    """Who else is there, and what becomes of what the dead have left.

    Args:
        locks: Say who lives.
    """

    def __init__(self, database: Database, locks: Locks) -> None:
        super().__init__(database)
        self._locks = locks
        self._looked_at = 0.0
        with self.transaction() as now:
            cursor = database.do("session_add", os.getpid(), now)
            self.session = int(cursor.lastrowid or 0)
            locks.hold(self.session)
            self._free_dead(now, None, always=True)

    def leave(self) -> None:
        """This process does not use the file any more; what it holds is free."""
        with self.transaction() as now:
            for number in {claim[1] for claim in self.database.all("claim_of_session", self.session)}:
                run = self._run(number)
                if run is not None:
                    self._let_go(run, now)
            self.database.do("line_leave", self.session)
            self.database.do("session_drop", self.session)
        self._locks.free(self.session)

    def _let_go(self, run: OpenRun, now: int) -> None:
        """What this process holds of a run is free, uncounted, and late results are refused."""
        out, number = Commands(), run.number
        for first, packed in self.database.all("claim_own", self.session, number):
            for fence, job in enumerate(array("I", packed), first):
                if run.columns.fence[job] == fence and run.state.state[job] == ACTIVE:
                    run.columns.fence[job] = -fence
                    machine.release(run.state, job, out, 0.0)
                    self._free(number, job, None)
                    run.note(now, "released", [[job, run.state.made.get(job, 0) + 1]])
            self.database.do("claim_drop", self.session, number, first)
            self._open.pop(first, None)
        self._sweep(run, now, out, {})

    def _others(self, run: OpenRun) -> bool:
        """Whether other processes hold jobs of a run."""
        return self.database.one("claim_others", run.number, self.session) is not None

    def _free_dead(self, now: int, run: OpenRun | None, *, always: bool = False) -> int:
        """Take back the jobs of processes that are dead; of all runs, if there is cause to look."""
        if not always:
            if time.monotonic() < self._looked_at + LOOK_SECONDS:
                return 0
            self._looked_at = time.monotonic()
            if run is not None and not self._others(run):
                return 0
        count = 0
        for (session,) in self.database.all("session_others", self.session):
            if not self._locks.lives(session):
                for claim in self.database.all("claim_of_session", session):
                    count += self._lose_claim(claim, now)
                self.database.do("line_leave", session)
                self.database.do("session_drop", session)
        return count

    def _free_expired(self, now: int) -> int:
        """Take back the jobs of expired leases."""
        return sum(self._lose_claim(claim, now) for claim in self.database.all("claim_expired", now))

    def _lose_claim(self, claim: tuple[Any, ...], now: int) -> int:
        """What is open of a claim has lost its worker."""
        session, number, first, worker, granted_at, packed = claim
        self.database.do("claim_drop", session, number, first)
        self._open.pop(first, None)
        run = self._run(number)
        if run is None:
            return 0
        out, lost = Commands(), 0
        for fence, job in enumerate(array("I", packed), first):
            if run.columns.fence[job] == fence and run.state.state[job] == ACTIVE:
                lost += 1
                self._lose(run, job, run.state.made.get(job, 0) + 1, worker, granted_at, now, out)
        if lost:
            self._sweep(run, now, out, {})
        return lost
