"""Results shared under keys of jobs: the second of the protocol's two records, in the file."""

from __future__ import annotations

from typing import Any

from executors.sqlite._claims import Held
from executors.sqlite._database import MICROS
from executors.sqlite._keys import job_of, row_of
from executors.sqlite._retention import Retention
from flows import _machine as machine
from flows._shared_results import Owner, Shared, owner_of
from flows._state import ACTIVE, STATE_NAMES, Commands
from flows._verbs import Grant


class SharedResults(Retention):
    """The verbs `reserve` and `file`."""

    def reserve(self, key: str, digest: str, grant: Grant, instead_of: Owner | None = None) -> Shared:
        """Look at what stands under *key*, and reserve it for the job of *grant* where that is free to do.

        Nothing stands there, or a reservation of *instead_of* without a result: it is the job's from now on.

        Returns:
            What stands there now.
        """
        assert isinstance(grant, Held)
        me = owner_of(grant)
        with self.transaction(grant.number) as now:
            row = self.database.one("shared_get", key)
            if row is not None and row[6] is not None and row[6] <= now:
                row = None
            owner = None if row is None else Owner(row[0], row[1])
            if row is None or (not row[4] and owner in (me, instead_of)):
                place = row_of(grant.number, grant.job)
                self.database.do("shared_put", key, me.run, me.job, place, digest)
                self.database.do("waiting_drop", key, place)
                return Shared(me, digest, False, None, STATE_NAMES[ACTIVE])
            if not row[4]:
                self.database.do("waiting_add", key, row_of(grant.number, grant.job))
            assert owner is not None
            return Shared(owner, row[3], bool(row[4]), row[5], self._state_of(row[2]))

    def file(self, key: str, grant: Grant, value: Any) -> Any:
        """File the result of the job of *grant*, which has reserved *key*; to be called before it is settled.

        Returns:
            The result that counts from now on: the one filed first. *value*, where the job has lost its lease or its
            reservation meanwhile: then nothing is filed.
        """
        assert isinstance(grant, Held)
        with self.transaction(grant.number) as now:
            row = self.database.one("shared_get", key)
            if row is None or Owner(row[0], row[1]) != owner_of(grant):
                return value
            if row[4]:
                value = row[5]
            else:
                run = self._run(grant.number)
                job = grant.job
                if run is None or run.columns.fence[job] != grant.fence or run.state.state[job] != ACTIVE:
                    return value
                free_at = now + round(run.known.facts["key_ttl"] * MICROS)
                self.database.do("shared_file", value, free_at, key)
            self._hasten(key, now)
        return value

    def _hasten(self, key: str, now: int) -> None:
        """Have jobs that wait for a result look again at once."""
        for (place,) in self.database.all("waiting_all", key):
            number, job = job_of(place)
            run = self._run(number)
            if run is None or run.ended_at is not None:
                continue
            self.database.do("delayed_drop_job", place)
            out = Commands()
            machine.wake(run.state, job, out)
            self._carry_out(run, out, now)
        self.database.do("waiting_clear", key)

    def _state_of(self, place: int) -> str | None:
        number, job = job_of(place)
        run = self._run(number)
        return None if run is None else STATE_NAMES[run.state.state[job]]
