"""FleetStore: the store as one worker has it: it tells the worker of work and of cancels, and the fleet of the worker.

Everything that a worker asks for goes over connections of its threads: the exchange thread has one, the keeper another,
the waker a third that blocks until a token is left for it. The stream of cancelled runs is read once a process.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from executors._leasing._process_checks import process_handler
from executors._store import Listener
from executors._stored import Brief, Header, Unread, writing_async, writing_quickly
from executors.redis._connection import Link
from executors.redis._flight import InFlight
from executors.redis._keys import Keys
from executors.redis._listener import Waker, patience
from executors.redis._server import check_namespace
from executors.redis._shard import Shard
from executors.redis._spans import tell_spans, told_spans
from executors.redis._store import RedisStore, stated
from executors.redis._waiting import Hub
from executors.redis._wire import MICRO
from flows._state import CONTROL_QUEUE
from flows._telemetry import carried_trace, is_recorded
from flows._verbs import Grant, Reply, Settle, Want
from flows.errors import FlowsError

if TYPE_CHECKING:
    from executors.redis._wire import Granted, Told
    from flows._carried_trace import CarriedTrace

QueueLimits = Mapping[str, tuple[int | None, tuple[int, float] | None]]

GONE_LEASES: Final = 1.5
"""A worker that has not been heard of for so many leases is taken for dead: a few beats, and a stall of its machine."""

EARLY_SECONDS: Final = 0.01
"""Clocks are estimated: who looks for an overdue run a little early looks again after this."""

LOG_LINES: Final = 1000
TRACES: Final = 512


class Sink:
    """Where what the handler of one grant says goes."""

    __slots__ = ("_about", "_shard")

    def __init__(self, shard: Shard, run_id: str, job: int, fence: int) -> None:
        self._shard = shard
        self._about = run_id, job, fence  # not the grant: that leads back here, and would not go without a collection

    def report(self, job: int, progress: bytes) -> None:
        """How far it is, as JSON."""
        self._say("progress", progress)

    def record(self, job: int, line: str) -> None:
        """A line for the job's log; the first thousand are kept."""
        self._say("log", line.encode("utf-8", "replace"))

    def placed(self, job: int, worker: str) -> None:
        """Who runs it: the worker that claimed it is known, and says enough."""

    def _say(self, what: str, text: bytes) -> None:
        self._shard.run("report", *self._about, what, text, LOG_LINES)


class Bytes:
    """What makes bytes of results, in the hand that ran the handler."""

    around = staticmethod(writing_quickly)
    around_async = staticmethod(writing_async)


class FleetStore(RedisStore):
    """The verbs for one worker.

    Args:
        link: The way to the server.
        stops: Hears of runs that are cancelled.
        limits: Of queues, to be published for the fleet.
        lease_seconds: How long a grant lasts without being extended.

    Attributes:
        hears_of_rests: Whether the worker says when it is `resting`. Until then its own calls tell it of work, and a
            thread that waits for tokens would be in the way of those that work.
    """

    writing = Bytes
    hears_of_rests = False

    def __init__(self, link: Link, stops: Hub, limits: QueueLimits, *, lease_seconds: float) -> None:
        shard = Shard(link, Keys(link.address.namespace, link.shard))
        super().__init__(link, link.address.namespace, lease_seconds=lease_seconds, shard=shard)
        self._link = link
        self._stops = stops
        self._limits = limits
        self._about: tuple[str, str] | None = None
        self._listener: Listener | None = None
        self._waker: Waker | None = None
        self._lacks = False
        self._keeping = link.channel("keeper")
        self._kept = self.shard.on(self._keeping)
        self._traces: dict[str, CarriedTrace] = {}
        self._recorded = False
        self._token = False
        self._checked = False

    def begin_exchange(
        self, loop: str, seq: int, settles: Sequence[Settle], want: Want, worker: str | None = None
    ) -> InFlight:
        """As `RedisStore.begin_exchange`; and who found less than it wanted is woken when there is more."""
        if not self._checked:
            if self._link.shard == 0:  # whose node has the namespace's record
                check_namespace(self._link, self._link.address.shards)
            if self._limits:
                self.shard.run("state", stated(self._limits))
            self._checked = True
            self._beat(self.shard)
        if want.limit:
            self._token = False
        elif self._waker is not None:
            self._waker.disarm()
        if self._traces and settles:
            tell_spans(self._loops.get(loop) or self._open_loop(loop), settles)
        return super().begin_exchange(loop, seq, settles, want, worker)

    def _reply(self, answer: Told, settles: Sequence[Settle], shard: Shard, want: Want) -> Reply:
        self._recorded = is_recorded()
        self._lacks = answer.count < want.limit
        if self._waker is not None:
            if not self._lacks:
                self._waker.disarm()
            elif not self.hears_of_rests:
                self._waker.arm()
        return super()._reply(answer, settles, shard, want)

    def resting(self) -> None:
        """The worker has nothing to do: where it found less than it wanted, it is woken from now on."""
        if self._lacks and self._waker is not None:
            self._waker.arm()

    def listen(self, worker: str, queues: frozenset[str], listener: Listener) -> Callable[[], None]:
        """Tell *listener* when there may be work in *queues*, and of runs that are cancelled; see `Store.listen`."""
        keys = [self.shard.keys.queue(queue, "wake") for queue in sorted({*queues, CONTROL_QUEUE})]
        self._listener = listener

        def woken() -> None:
            self._token = True
            listener.wake()

        def stopped(run: bytes | None) -> None:
            if run is None:  # of cancels that were missed the next renewal of the lease will tell
                listener.overdue(0.0)
            elif run.startswith(b"@"):
                listener.overdue(self.ours(int(run[1:]) / MICRO))
            else:
                listener.stop(run.decode())

        self._about = worker, json.dumps(sorted(queues))
        waker = self._waker = Waker(self._link, keys, woken, patience(self._link.address))
        waker.arm()
        unheard = self._stops.every(stopped)

        def end() -> None:
            self._waker = None
            unheard()
            waker.close()
            self._leave(keys)

        return end

    def extend(self, grants: Sequence[Grant]) -> list[Grant]:
        """As `RedisStore.extend`, over the keeper's own connection."""
        held = [(grant.run.id, grant.job, grant.fence) for grant in grants]
        over, stopped = self._kept.extend(held, int(self.lease_seconds * MICRO))
        for number in stopped:
            self.stopping(grants[number])
        return [grants[number] for number in over]

    def stopping(self, grant: Grant) -> None:
        """The run of a grant was cancelled."""
        super().stopping(grant)
        if self._listener is not None:
            self._listener.stop(grant.run.id)

    def rescue(self) -> int:
        """As `RedisStore.rescue`, over the keeper's own connection; and the fleet hears that this worker lives."""
        self._beat(self._kept)
        rescued, deadline = self._kept.rescue()
        if deadline is not None and self._listener is not None:
            self._listener.overdue(self.ours(max(deadline / MICRO, self.clock() + EARLY_SECONDS)))
        self._kept.clear_away()
        return rescued

    def close_loop(self, loop: str) -> None:
        """As `RedisStore.close_loop`."""
        try:
            super().close_loop(loop)
        finally:
            self._keeping.close()

    def _grant(self, granted: Granted, header: Header | Unread, rows: dict[tuple[str, int], bytes]) -> Grant:
        grant = super()._grant(granted, header, rows)
        if isinstance(header, Unread):
            return grant
        made = cast("Brief", grant.run)
        made.tell(Sink(self.shard, header.id, grant.job, grant.fence))
        if self._recorded or self._traces:
            made.tracing = self._trace_of(header)
        if made.handler is not None and made.settings.run_in == "process":
            made.handler = process_handler(made.handler.task)
            made.handlers = {grant.job: made.handler}
        return grant

    def _is_linked(self, granted: Granted, header: Header) -> bool:
        if not self._recorded and not self._traces:
            return False
        if not granted.inputs and not granted.place and granted.attempt == 1 and not granted.since:
            return False  # nothing came before it
        return self._trace_of(header) is not None

    def _trace_of(self, header: Header) -> CarriedTrace | None:
        trace = self._traces.get(header.id)
        if trace is None:
            trace = carried_trace(header.name, header.options)
            if trace is None:
                return None
            trace.source = lambda grant: told_spans(self.shard, grant)
            while len(self._traces) >= TRACES:
                self._traces.pop(next(iter(self._traces)))
            self._traces[header.id] = trace
        return trace

    def _beat(self, shard: Shard) -> None:
        """Let the fleet know that this worker lives, and what it serves."""
        about = self._about
        if about is None or self._waker is None:
            return
        name, queues = about
        shard.run("beat", name, queues, int(GONE_LEASES * self.lease_seconds * MICRO))

    def _leave(self, wake_keys: Sequence[str]) -> None:
        """The worker has ended: the fleet has one less, and what it was woken for is for others to look at."""
        if self._about is None:
            return
        name, keys = self._about[0], self.shard.keys
        commands: list[tuple[Any, ...]] = [("HDEL", keys.of("served"), name), ("ZREM", keys.of("workers"), name)]
        if self._token:
            commands += [("ZADD", key, 0, "1") for key in wake_keys]
        try:
            self._link.calls(commands)
        except (FlowsError, OSError):
            pass  # it is taken for dead in time, and who waits looks every few seconds


def served_of(store: RedisStore) -> dict[str, list[str]]:
    """The queues that each living worker serves; those that have died are forgotten."""
    keys, server = store.shard.keys, store.shard.server
    dead = server.call("ZRANGEBYSCORE", keys.of("workers"), "-inf", f"({int(store.clock() * MICRO)}")
    for name in dead:
        server.calls([("ZREM", keys.of("workers"), name), ("HDEL", keys.of("served"), name)])
    fields = server.call("HGETALL", keys.of("served"))
    return {name.decode(): json.loads(queues) for name, queues in zip(fields[::2], fields[1::2], strict=True)}
