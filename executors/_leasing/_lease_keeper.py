"""The keeper's thread: extends the leases of a worker, takes up those of dead ones, and gives up what it cannot keep.

It shares nothing with the exchange of the worker but a look at what is held: a slow settle must not cost a lease. The
store gives each thread a connection of its own.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from executors._leasing._bell import Bell
from executors._leasing._log import say
from executors._store import Store
from flows._keeper import LEASE_SECONDS, Beat, Dropped, Extend, Extended, Held, Interrupt, KeeperCore, Unconfirmed
from flows._verbs import Grant
from flows.errors import UnavailableError

JOIN_SECONDS: Final = 5.0

_T = TypeVar("_T")


class LeaseKeeper:
    """Drives a `KeeperCore` in a thread of its own.

    Args:
        store: Whose leases they are; where they last for ever, only deadlines of runs are looked after.
        held: What is held now, and since when by the monotonic clock: from the moment of asking for it. A copy.
        interrupt: Called with a grant whose lease is lost, and why. From the keeper's thread.
        name: The worker's.
    """

    def __init__(
        self,
        store: Store,
        held: Callable[[], Mapping[Grant, float]],
        interrupt: Callable[[Grant, str], None],
        name: str,
    ) -> None:
        self._store = store
        self._held = held
        self._interrupt = interrupt
        self._leased = store.lease_seconds is not None
        self._core = KeeperCore(time.monotonic(), store.lease_seconds or LEASE_SECONDS)
        self._known: dict[Grant, float] = {}
        self._bell = Bell()
        self._rescue_at = math.inf
        self._timing = threading.Lock()
        self._then: deque[Callable[[], None]] = deque()
        self._closed = False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name=f"flows-keeper-{name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def rescue_by(self, instant: float, then: Callable[[], None] | None = None) -> None:
        """Have the store look at overdue runs at *instant*, by the monotonic clock; and call *then* after that."""
        if then is not None:
            self._then.append(then)
        with self._timing:
            sooner = instant < self._rescue_at
            if sooner:
                self._rescue_at = instant
        if sooner:
            self._bell.ring()

    def lasts(self, grant: Grant, since: float) -> bool:
        """Whether *grant*, asked for at *since*, may be begun: a process that was stopped may have slept over its end.

        From any thread; the keeper's own may have slept as well.
        """
        return not self._leased or self._core.lasts(grant, since, time.monotonic())

    def close(self) -> None:
        """The last handler has ended: nothing is kept any more."""
        self._closed = True
        self._bell.ring()
        if self._thread.is_alive():
            self._thread.join(JOIN_SECONDS)

    def _run(self) -> None:
        core = self._core
        while True:
            until = min(core.wake_at, self._rescue_at)
            self._bell.rest(lambda: not self._closed and self._rescue_at >= until, until - time.monotonic())  # noqa: B023
            if self._closed:
                return
            if time.monotonic() >= self._rescue_at:
                self._rescue()
            if self._leased:
                self._compare()
            core.feed(Beat(), time.monotonic())
            self._carry_out()

    def _rescue(self) -> None:
        self._rescue_at = math.inf
        then = [self._then.popleft() for _ in range(len(self._then))]
        self._tried(self._store.rescue)
        for one in then:
            one()

    def _compare(self) -> None:
        """What came and went since the last look; a lease is never so short that it ends between two of them."""
        held = self._held()
        gone = [grant for grant in self._known if grant not in held]
        if gone:
            self._core.feed(Dropped(gone), time.monotonic())
        came: dict[float, list[Grant]] = {}
        for grant, asked_at in held.items():
            if grant not in self._known:
                came.setdefault(asked_at, []).append(grant)
        for asked_at in sorted(came):
            self._core.feed(Held(came[asked_at]), asked_at)
        self._known = dict(held)

    def _carry_out(self) -> None:
        core = self._core
        while effects := core.effects():
            for effect in effects:
                if isinstance(effect, Extend):
                    refused = self._tried(lambda: self._store.extend(effect.grants))  # noqa: B023 - called at once
                    core.feed(Unconfirmed() if refused is None else Extended(refused), time.monotonic())
                elif isinstance(effect, Interrupt):
                    if effect.grant in self._held():
                        self._interrupt(effect.grant, effect.why)
                else:
                    self._tried(self._store.rescue)

    def _tried(self, verb: Callable[[], _T]) -> _T | None:
        """What the verb answers; None if it does not. The exchange says so to the log where the store is away."""
        try:
            answer = verb()
        except (UnavailableError, OSError):
            return None
        except Exception:
            if not self._failing:
                self._failing = True
                say(logging.ERROR, "leases cannot be looked after; this is tried again", exc_info=True)
            return None
        self._failing = False
        return answer
