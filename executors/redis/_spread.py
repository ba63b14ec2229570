"""Spread: the store of one worker over the shards of a namespace, each on its own node of a cluster.

A run lives in one shard. To the worker they look like one store: a call of its exchange is a call to each shard that
something is settled in, or that may have work. Shards are numbered apart, and each is sent again what it has not
answered. Where a node is away, the others are served meanwhile: what it has not answered is owed to it, and told with
the next call that it answers.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from executors._store import Listener, StaleCallError
from executors.redis._connection import Link
from executors.redis._crowds import Crowds
from executors.redis._far_keys import FarKeys
from executors.redis._fleet import Bytes, FleetStore
from executors.redis._store import RedisStore
from executors.redis._waiting import Hub
from flows._shared_results import Owner, Shared
from flows._verbs import Grant, Reply, Settle, Want
from flows.errors import UnavailableError

AGAIN_SECONDS: Final = 0.5
"""How long a node that is away is not asked for work."""


log = logging.getLogger("flows")


class PartStore(FleetStore):
    """One shard of several, for one worker.

    Args:
        clock: The worker's. Each node has its own, and instants are told by the worker's.
    """

    def __init__(self, link: Link, stops: Hub, *, lease_seconds: float, clock: Callable[[], float]) -> None:
        super().__init__(link, stops, {}, lease_seconds=lease_seconds)
        self._workers_clock = clock

    def ours(self, instant: float) -> float:
        """An instant of the node's clock by the worker's."""
        return instant - self.clock() + self._workers_clock()

    def attempts_clock(self) -> float:
        """The worker's clock."""
        return self._workers_clock()

    def rest(self) -> None:
        """The worker has enough to do: tokens are for others."""
        if self._waker is not None:
            self._waker.disarm()


class _Ask(NamedTuple):
    """A call to one shard, as it is sent until it is answered."""

    seq: int
    settles: Sequence[Settle]
    want: Want
    call: int
    """The number of the worker's call that it was first sent for."""


class _Call:
    """A call of the worker, as far as it has been answered."""

    def __init__(self, seq: int, want: Want, settles: dict[int, list[Settle]]) -> None:
        self.seq = seq
        self.want = want
        self.settles = settles
        self.order: list[int] = []
        self.error: Exception | None = None
        self.asked: set[int] = set()
        self.answered = False
        self.grants: list[Grant] = []
        self.refused: list[Settle] = []
        self.suspects = 0
        self.reply: Reply | None = None


class _Part:
    """The worker, as one shard sees it."""

    def __init__(self, spread: SpreadStore, number: int, listener: Listener) -> None:
        self._spread = spread
        self._number = number
        self.stop = listener.stop
        self.overdue = listener.overdue
        self._wake = listener.wake

    def wake(self) -> None:
        """There may be something to claim in the shard."""
        self._spread.may_have[self._number] = True
        self._wake()


class SpreadStore:
    """The verbs for one worker, over all shards.

    Attributes:
        may_have: Of each shard, whether it may have work that this worker has not seen.
    """

    writing = Bytes

    def __init__(self, links: Sequence[Link], stops: Sequence[Hub], *, lease_seconds: float) -> None:
        self.lease_seconds = lease_seconds
        self._ahead = time.time() - time.monotonic()
        self.parts = [
            PartStore(link, stop, lease_seconds=lease_seconds, clock=self.clock)
            for link, stop in zip(links, stops, strict=True)
        ]
        count = len(self.parts)
        self.may_have = [True] * count
        self._seqs = [0] * count
        self._pending: list[_Ask | None] = [None] * count
        self._owed: list[list[Settle]] = [[] for _ in range(count)]
        self._due: list[float | None] = [None] * count
        self._away_until = [0.0] * count
        self._kept_suspects: set[int] = set()
        self._turn = 0
        self._of: dict[Grant, int] = {}
        self._call: _Call | None = None
        shards = [part.shard for part in self.parts]
        self._keys, self._crowds = FarKeys(shards), Crowds(shards)

    def clock(self) -> float:
        """The worker's clock, in seconds since 1970: the nodes' clocks differ."""
        return time.monotonic() + self._ahead

    def put_run(self, run: Any, /) -> object:
        """Runs are submitted to their shard."""
        raise TypeError("a worker submits no runs")

    def exchange(self, loop: str, seq: int, settles: Sequence[Settle], want: Want, worker: str | None = None) -> Reply:
        """Settle attempts in the shards that they are of, and claim jobs, of all shards by turns.

        Settles that a shard has not answered are owed to it, and count as taken; where it refuses them later, a later
        answer says so.

        Raises:
            StaleCallError: *seq* is older than the last one answered; nothing was changed.
            UnavailableError: All shards that were asked for work are away; or nothing was to be claimed, as by a worker
                that ends, and one that something is settled in, or owed to, is away.
        """
        call = self._call
        if call is not None and seq < call.seq:
            raise StaleCallError(f"STALE call {seq} came after call {call.seq}")
        if call is None or seq > call.seq:
            call = self._call = self._planned(seq, settles, want)
        if call.reply is None:
            call.order = self._order(call)
            self._settle(call, loop, worker)
            self._claim(call, loop, worker)
            call.reply = self._answer(call)
        return call.reply

    def close_loop(self, loop: str) -> None:
        """Forget an exchange loop that will not call again, once it has paid what it owes to those who answer."""
        call = _Call(0, Want(0), {})
        for number in self._indebted():
            with contextlib.suppress(UnavailableError, OSError):
                self._ask(number, call, False, loop, None)
        self._for_all(lambda part: part.close_loop(loop))

    def listen(self, worker: str, queues: frozenset[str], listener: Listener) -> Callable[[], None]:
        """Tell *listener* of work and cancels in any shard; see `Store.listen`."""
        ends = [part.listen(worker, queues, _Part(self, number, listener)) for number, part in enumerate(self.parts)]

        def end() -> None:
            for one in ends:
                one()

        return end

    def extend(self, grants: Sequence[Grant]) -> list[Grant]:
        """Extend leases by their full length from now; returns the grants that hold none any more.

        Raises:
            UnavailableError: A shard is away; the leases in the others have been extended.
        """
        over: list[Grant] = []
        held = self._by_shard(grants)

        def extend(part: FleetStore) -> None:
            over.extend(part.extend(held.pop(part, [])))

        self._for_all(lambda part: extend(part) if part in held else None)
        return over

    def rescue(self) -> int:
        """As `FleetStore.rescue`, in all shards that answer; and what counts over all of them is tidied up."""
        rescued: list[int] = []
        self._for_all(lambda part: rescued.append(part.rescue()))
        for number in range(len(self.parts)):
            self._keys.free(number)
        self._crowds.thin_out()
        return sum(rescued)

    def began(self, grant: Grant) -> float:
        """A handler is about to start."""
        return self._part_of(grant).began(grant)

    def reserve(self, key: str, digest: str, grant: Grant, instead_of: Owner | None = None) -> Shared:
        """As `RedisStore.reserve`; the key's record and its owner may be in other shards."""
        return self._keys.reserve(key, digest, grant, self._of[grant], instead_of)

    def file(self, key: str, grant: Grant, value: bytes) -> bytes:
        """As `RedisStore.file`."""
        return self._keys.file(key, grant, value)

    def pass_on(self, settle: Settle, worker: str) -> Grant | None:
        """Nothing is saved by an exchange of one."""
        return None

    def step(self, run: Any, settle: Settle | None, worker: str) -> Grant | None:
        """As `pass_on`."""
        return None

    def abandon(self, run: Any, reason: str) -> None:
        """Workers of a fleet do not end runs."""

    def reopen(self, run: Any, job: int | None, *, anew: bool) -> object:
        """Runs are reopened by their executor."""
        raise TypeError("a worker reopens no runs")

    def cancel(self, run: Any, reason: str) -> None:
        """Runs are cancelled by their executor."""
        raise TypeError("a worker cancels no runs")

    def _planned(self, seq: int, settles: Sequence[Settle], want: Want) -> _Call:
        """What is told to whom."""
        monotonic = time.monotonic()
        by_shard: dict[int, list[Settle]] = {}
        for settle in settles:
            by_shard.setdefault(self._of[settle.grant], []).append(settle)
        for number in self._indebted():
            if not want.limit or self._away_until[number] <= monotonic:
                by_shard.setdefault(number, [])
        if want.suspects:
            for number in self._kept_suspects:
                self.may_have[number] = True
            self._kept_suspects.clear()
        return _Call(seq, want, by_shard)

    def _order(self, call: _Call) -> list[int]:
        """Who is asked for work: shards take turns to be the first."""
        order: list[int] = []
        if call.want.limit:
            now, monotonic, count = self.clock(), time.monotonic(), len(self.parts)
            self._turn += 1
            for place in range(count):
                number = (self._turn + place) % count
                due = self._due[number]
                if due is not None and due <= now:
                    self.may_have[number], self._due[number] = True, None
                if self._away_until[number] <= monotonic and (self.may_have[number] or number in call.settles):
                    order.append(number)
        return order

    def _indebted(self) -> list[int]:
        """The shards that settles are owed to."""
        asks = enumerate(zip(self._pending, self._owed, strict=True))
        return [number for number, (ask, owed) in asks if owed or (ask and ask.settles)]

    def _settle(self, call: _Call, loop: str, worker: str | None) -> None:
        """Have all settles answered, or owe them; the last call may claim, where its shard has the first turn."""
        first = call.order[0] if call.order else -1
        for number in sorted(call.settles, key=lambda number: number == first):
            self._owed[number] += call.settles.pop(number)
            if call.want.limit and self._away_until[number] > time.monotonic():
                continue
            try:
                self._ask(number, call, number == first, loop, worker)
            except (UnavailableError, OSError) as away:
                if not call.want.limit:
                    call.settles.setdefault(number, [])  # to be told when the call is made again
                    raise
                self._note_absence(number, call, away)

    def _claim(self, call: _Call, loop: str, worker: str | None) -> None:
        for number in call.order:
            if number in call.asked or self._away_until[number] > time.monotonic():
                continue
            if len(call.grants) >= call.want.limit:
                break
            try:
                self._ask(number, call, True, loop, worker)
            except (UnavailableError, OSError) as away:
                self._note_absence(number, call, away)
        if call.error is not None and not call.answered and all(self._away_until):
            raise call.error
        if len(call.grants) >= call.want.limit:
            for number, part in enumerate(self.parts):
                part.rest()
                self.may_have[number] = True  # nobody tells from now on

    def _want(self, call: _Call, claims: bool) -> Want:
        want, has = call.want, len(call.grants)
        limit = max(0, want.limit - has) if claims else 0
        suspects = want.suspects and not call.suspects and not any(ask and ask.want.suspects for ask in self._pending)
        return Want(limit, queues=want.queues, suspects=suspects, at_once=max(0, want.at_once - has))

    def _ask(self, number: int, call: _Call, claims: bool, loop: str, worker: str | None) -> None:
        """Tell a shard what it is owed, after the answer to the call before, if that is still missing; and claim."""
        open_ask = self._pending[number]
        if open_ask is not None:
            self._send(number, call, open_ask, loop, worker)
        want, settles = self._want(call, claims), self._owed[number]
        if open_ask is not None and not settles and not want.limit:
            return
        self._seqs[number] += 1
        self._owed[number] = []
        ask = self._pending[number] = _Ask(self._seqs[number], settles, want, call.seq)
        self._send(number, call, ask, loop, worker)
        if ask.want.limit and not ask.want.suspects:
            self._kept_suspects.add(number)  # where it has some, they are for a later call

    def _send(self, number: int, call: _Call, ask: _Ask, loop: str, worker: str | None) -> None:
        self.may_have[number] = False  # before: a wake that comes meanwhile counts
        try:
            reply = self.parts[number].exchange(loop, ask.seq, ask.settles, ask.want, worker)
            # Leases run from when they were asked for, and that may be long ago.
            old = reply.grants if ask.call != call.seq else ()
            over = frozenset(RedisStore.extend(self.parts[number], old) if old else ())
        except BaseException:
            self.may_have[number] = True
            raise
        self._pending[number] = None
        call.answered = True
        self._note_presence(number)
        if reply.more or len(reply.grants) >= ask.want.limit:
            self.may_have[number] = True
        self._due[number] = reply.due_at
        grants = [grant for grant in reply.grants if grant not in over]
        self._of.update(dict.fromkeys(grants, number))
        for settle in ask.settles:
            self._of.pop(settle.grant, None)
            self._crowds.note(settle.grant)
        call.grants += grants
        call.refused += reply.refused
        call.suspects += reply.suspects
        if ask.want.limit:
            call.asked.add(number)

    def _note_absence(self, number: int, call: _Call, error: Exception) -> None:
        call.error = error
        if not self._away_until[number]:
            log.warning("shard %d does not answer, the others are served meanwhile: %s", number, error)
        self._away_until[number] = time.monotonic() + AGAIN_SECONDS

    def _note_presence(self, number: int) -> None:
        if self._away_until[number]:
            self._away_until[number] = 0.0
            log.info("shard %d answers again", number)

    def _answer(self, call: _Call) -> Reply:
        now, monotonic = self.clock(), time.monotonic()
        dues = [due for due in self._due if due is not None]
        away = [until for until in self._away_until if until > monotonic]
        dues += [now + until - monotonic for until in away]
        more = any(may and until <= monotonic for may, until in zip(self.may_have, self._away_until, strict=True))
        return Reply(now, call.grants, call.refused, more, min(dues, default=None), call.suspects)

    def _by_shard(self, grants: Sequence[Grant]) -> dict[FleetStore, list[Grant]]:
        held: dict[FleetStore, list[Grant]] = {}
        for grant in grants:
            number = self._of.get(grant)
            if number is not None:  # else its settle has been answered just now
                held.setdefault(self.parts[number], []).append(grant)
        return held

    def _part_of(self, grant: Grant) -> PartStore:
        return self.parts[self._of[grant]]

    def _for_all(self, do: Callable[[FleetStore], object]) -> None:
        """In all shards that answer; then what went wrong with one of the others is raised."""
        failure: Exception | None = None
        for part in self.parts:
            try:
                do(part)
            except (UnavailableError, OSError) as error:
                failure = error
        if failure is not None:
            raise failure
