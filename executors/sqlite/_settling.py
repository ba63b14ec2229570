"""Settling: what has become of attempts is written down, and the machine told. Within a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from executors._stored import LIST, write_failed
from executors.sqlite._claims import Claims, Held
from executors.sqlite._database import MICROS
from executors.sqlite._growth import expand
from executors.sqlite._keys import row_of
from executors.sqlite._run import OpenRun
from flows import _machine as machine
from flows import _state
from flows._state import ACTIVE, COMPLETED, FAILED, Commands, Retry
from flows._verbs import End, Settle
from flows.errors import Failed, LeaseLostError

_ENDS: Final = {End.FAILED: _state.FAILED, End.SKIPPED: _state.SKIPPED, End.CANCELLED: _state.CANCELLED}
_COMPLETED: Final = End.COMPLETED
_OUTCOMES: Final = {COMPLETED: "completed", FAILED: "failed", _state.SKIPPED: "skipped", _state.CANCELLED: "cancelled"}


class Settling(Claims):
    """How the store takes the settles of an exchange."""

    def _settle(self, settles: Sequence[Settle], now: int) -> list[Settle]:
        """Take the settles in order; returns those whose fence was not the newest."""
        refused: list[Settle] = []
        over: list[Held] = []
        position = 0
        while position < len(settles):
            grant: Any = settles[position].grant
            run = self._run(grant.number)
            end = position
            while end < len(settles) and settles[end].grant.number == grant.number:  # type: ignore[attr-defined]
                end += 1
            group = settles[position:end]
            if run is None:
                refused.extend(group)
            else:
                self._settle_run(run, group, now, refused, over)
            position = end
        if over:
            self._release_claims(over)
        return refused

    def _settle_run(
        self, run: OpenRun, settles: Sequence[Settle], now: int, refused: list[Settle], over: list[Held]
    ) -> None:
        out = Commands()
        state, columns = run.state, run.columns
        states, fences = (columns.state, columns.fence) if columns.flat is None else (columns.flat[0], columns.flat[3])
        if run.known.layout.listed:
            states, fences = columns.state, columns.fence
        base, epoch = row_of(run.number, 0), self.database.epoch
        completed: list[int] = []
        tried: dict[int, int | None] = {}
        results, before = run.results, len(run.results)
        plain = not state.made
        for settle in settles:
            grant: Any = settle.grant
            job = grant.job
            if fences[job] != grant.fence:
                refused.append(settle)
            elif states[job] != ACTIVE or job in tried:
                continue  # settled before by this very grant: the answer is the same
            else:
                tried[job] = None if grant.control or settle.end is End.REPLAYED else grant.attempt
                over.append(grant)
                if settle.end is _COMPLETED:
                    payload: bytes = settle.value
                    began, ended = (settle.started_at + epoch) * MICROS, (settle.ended_at + epoch) * MICROS
                    results.append((base + job, payload, grant.attempt, round(began), round(ended), grant.worker))
                    completed.append(job)
                    continue
                plain = False
                self._payloads.put_all(results[before:])
                if completed:
                    run.complete(completed, out)
                    completed = []
                if states[job] == ACTIVE:
                    self._settle_otherwise(run, settle, now, out)
                before = len(results)
        self._payloads.put_all(results[before:])
        if completed:
            run.complete(completed, out)
        self._freed(run, settles, tried)
        if out.grow or state.cascade or state.later or run.growing:
            self._sweep(run, now, out, None if plain else tried)
        elif tried:
            self._carry_out(run, out, now, None if plain else tried)

    def _freed(self, run: OpenRun, settles: Sequence[Settle], tried: dict[int, int | None]) -> None:
        """Give back what these attempts used of their queues' limits."""

    def _free(self, number: int, job: int, started_at: float | None) -> None:
        """A job gives back what it used of its queue's limits, if it did."""

    def _settle_otherwise(self, run: OpenRun, settle: Settle, now: int, out: Commands) -> None:
        grant: Any = settle.grant
        job = grant.job
        if settle.end is End.RELEASED:
            machine.release(run.state, job, out, settle.after)
            if not grant.control:
                run.note(now, "released", [[job, grant.attempt]])
            return
        if grant.control:
            self._settle_control(run, settle, now, out)
        elif settle.end is End.LOST:
            self._lose(run, job, grant.attempt, grant.worker, self.micros(settle.started_at), now, out, settle)
        elif settle.end is End.REPLAYED:
            self._file(run, settle, settle.value)
            run.columns.sparse["replayed"][job] = 1
            run.note(now, "replayed", [[job, None, f"the result of {settle.origin}"]])
            machine.settle(run.state, job, COMPLETED, out)
        elif settle.end is not End.RETRY:
            self._fail(run, settle)
            machine.settle(run.state, job, _ENDS[settle.end], out)
        elif machine.retry(run.state, job, Retry(settle.after, settle.counted), out):
            payload = failure(settle)
            run.columns.sparse["since"].setdefault(job, self.micros(settle.started_at))
            self._keep_attempt(
                run,
                job,
                grant.attempt,
                "failed",
                self.micros(settle.started_at),
                self.micros(settle.ended_at),
                grant.worker,
                payload,
            )
            run.note(now, "retrying", [[job, grant.attempt, payload.decode(), settle.after]])
        else:
            self._fail(run, settle)

    def _settle_control(self, run: OpenRun, settle: Settle, now: int, out: Commands) -> None:
        job = settle.grant.job
        if settle.end is End.PASSED:
            machine.admit(run.state, job, out)
        elif settle.end is End.EXPANDED:
            run.note(now, "expanded", [[job, None, len(settle.value.payloads)]])
            expand(self.database, run, job, settle.value, out)
        else:
            self._fail(run, settle)
            machine.settle(run.state, job, _ENDS[settle.end], out)

    def _fail(self, run: OpenRun, settle: Settle) -> None:
        """File why a job ended otherwise than completed."""
        job = settle.grant.job
        if settle.failed is not None:
            self._file(run, settle, failure(settle))
            run.columns.sparse["erred"][job] = 1
        else:
            self._file(run, settle, None)
        if settle.end is End.FAILED or settle.end is End.RETRY:
            self._bury(run, job)

    def _bury(self, run: OpenRun, job: int) -> None:
        """A job has failed for good, by itself."""
        self.database.do("dead_add", self.database.draw(), row_of(run.number, job), run.known.layout.queue(job))

    def _file(self, run: OpenRun, settle: Settle, payload: bytes | None) -> None:
        """File how the last attempt of a job ended."""
        grant: Any = settle.grant
        row = row_of(run.number, grant.job)
        number = None if grant.control or settle.end is End.REPLAYED else grant.attempt
        began, ended = self.micros(settle.started_at), self.micros(settle.ended_at)
        run.results.append((row, payload, number, began, ended, grant.worker))
        if payload is not None:
            self._payloads.put(row, payload)

    def _keep_attempt(
        self,
        run: OpenRun,
        job: int,
        number: int,
        outcome: str,
        began: int,
        ended: int,
        worker: str | None,
        payload: bytes | None,
    ) -> None:
        """File an attempt that will be followed by another."""
        row = row_of(run.number, job)
        self.database.do("attempt_add", row, self.database.draw(), number, outcome, began, ended, worker, payload)

    def _lose(
        self,
        run: OpenRun,
        job: int,
        attempt: int,
        worker: str | None,
        began: int,
        now: int,
        out: Commands,
        how: Settle | None = None,
    ) -> None:
        """A job has lost its worker: to the suspects, or failed when it has lost too many."""
        run.columns.fence[job] = -abs(run.columns.fence[job])
        self._free(run.number, job, now / MICROS)  # it may have started at any moment up to now
        layout = run.known.layout
        control = job in run.state.gated or bool(layout.flags(job) & LIST)
        if how is None or how.failed is None:
            kept = write_failed(Failed.of(LeaseLostError("the worker died or was cut off"), self._id_of(run, job)))
        else:
            kept = failure(how)
        if not control:
            self._keep_attempt(run, job, attempt, "lost", began, now, worker, kept)
            run.note(now, "lost", [[job, attempt]])
        before = len(out.ready)
        if not machine.lose(run.state, job, out):
            if run.state.state[job] == FAILED:
                why = f"lost its worker {_state.LOST_LIMIT} times; the handler may be killing its process"
                text = f" (the last time: {how.failed.message})" if how is not None and how.failed is not None else ""
                payload = write_failed(Failed.of(LeaseLostError(why + text), self._id_of(run, job)))
                run.results.append((row_of(run.number, job), payload, None, None, None, None))
                self._payloads.put(row_of(run.number, job), payload)
                run.columns.sparse["erred"][job] = 1
                self._bury(run, job)
        elif len(out.ready) > before and not control:
            out.ready.pop()
            self.database.do("suspect_add", self.database.draw(), layout.queue(job), row_of(run.number, job))

    def _renew(self, run: OpenRun, job: int) -> None:
        """A job that has ended will be done again: its last attempt is filed, the rest of it is dropped."""
        row = row_of(run.number, job)
        found = self.database.one("result_get", row)
        columns = run.columns
        if found is not None:
            payload, number, began, ended, worker = found
            outcome = _OUTCOMES.get(columns.state[job])
            if number is not None and outcome is not None:
                kept = payload if outcome != "completed" else None
                self._keep_attempt(run, job, number, outcome, began, ended, worker, kept)
            self.database.do("result_drop", row)
        if columns.state[job] == FAILED:
            self.database.do("dead_drop", row)
        self.database.do("progress_drop", row)
        self._payloads.drop(row)
        for name in ("since", "erred", "replayed"):
            columns.sparse[name].pop(job, None)


def failure(settle: Settle) -> bytes:
    """What is kept of a failure: its worker has written it down."""
    if settle.value is None:
        assert settle.failed is not None
        settle.value = write_failed(settle.failed)
    payload: bytes = settle.value
    return payload
