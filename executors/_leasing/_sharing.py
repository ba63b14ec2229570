"""Attempts of jobs that share their results under an idempotency key: looked up before, filed after."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from executors._leasing._starts import told
from flows._handlers import Clock, judge_error
from flows._shared_results import Move, Shared, conflict, decide, digest_of, owner_of, wait_seconds
from flows._verbs import End, FailedSettle, Grant, ReplayedSettle, Settle
from flows.errors import UnavailableError

if TYPE_CHECKING:
    from executors._store import Store

WAITS_KNOWN: Final = 10_000
"""Jobs whose waits are counted; beyond that, all begin anew with short ones."""

Attempt = Callable[[Grant, Clock], Settle]
AsyncAttempt = Callable[[Grant, Clock], Coroutine[Any, Any, Settle]]


class Sharing:
    """The protocol of `flows._shared_results` for the jobs of one worker."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waited: dict[tuple[str, int], int] = {}

    def around(self, attempt: Attempt) -> Attempt:
        """*attempt* with the protocol around it."""

        def shared(grant: Grant, clock: Clock) -> Settle:
            return self.before(grant, clock) or self.after(attempt(grant, self._starting(grant, clock)))

        return shared

    def around_async(self, attempt: AsyncAttempt) -> AsyncAttempt:
        """*attempt* with the protocol around it."""

        async def shared(grant: Grant, clock: Clock) -> Settle:
            return self.before(grant, clock) or self.after(await attempt(grant, self._starting(grant, clock)))

        return shared

    def before(self, grant: Grant, clock: Clock) -> Settle | None:
        """How the job ends, or goes back, without an attempt; None when it is to run."""
        key = _key(grant)
        if key is None:
            return None
        now = clock()
        try:
            move, shared = self._look(key, digest_of(grant), grant)
            if move is Move.CONFLICT:
                error = conflict(key, shared, grant)
                return FailedSettle(grant, End.FAILED, error, now, clock())
        except UnavailableError:
            raise
        except Exception as error:  # of arguments that cannot be had, or written down
            return judge_error(grant, error, now, clock())
        place = grant.run.id, grant.job
        if move is Move.WAIT:
            if len(self._waited) >= WAITS_KNOWN:
                self._waited.clear()
            waited = self._waited[place] = self._waited.get(place, -1) + 1
            return FailedSettle(grant, End.RELEASED, None, now, clock(), wait_seconds(waited))
        self._waited.pop(place, None)
        if move is Move.REPLAY:
            return ReplayedSettle(grant, shared.value, str(shared.owner), now, clock())
        return None

    def _starting(self, grant: Grant, clock: Clock) -> Clock:
        """Only now does an attempt begin: a look at what stands under a key is no start that a rate counts."""
        return clock if _key(grant) is None else told(self._store, grant, clock)

    def _look(self, key: str, digest: str, grant: Grant) -> tuple[Move, Shared]:
        me = owner_of(grant)
        shared = self._store.reserve(key, digest, grant)
        move = decide(shared, me, digest)
        if move is Move.TAKE_OVER:
            shared = self._store.reserve(key, digest, grant, shared.owner)
            move = decide(shared, me, digest)
            if move is Move.TAKE_OVER:  # from one who took it over first, and has ended since
                move = Move.WAIT
        return move, shared

    def after(self, settle: Settle) -> Settle:
        """File the result of an attempt that completed, before it is settled: with what then counts.

        Also where the handler should have stopped: the effect has been made. Whether it comes too late is the store's
        to say, which may take the settle just as well.
        """
        key = _key(settle.grant)
        if key is not None and settle.end is End.COMPLETED:
            settle.value = self._store.file(key, settle.grant, settle.value)
        return settle


def _key(grant: Grant) -> str | None:
    plan: Any = grant.run.plan
    key: str | None = plan.settings[grant.job].idempotency_key
    return key
