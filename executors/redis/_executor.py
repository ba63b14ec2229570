"""RedisExecutor: runs kept on a server, worked off by whatever workers are connected to it."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from executors._leasing import _main_import
from executors._leasing._process_checks import check_places
from executors._stored import Header, Limits, Packed, StoredRecord, pack, read
from executors.redis._connection import Link
from executors.redis._fleet import FleetStore, served_of
from executors.redis._listener import close_idle
from executors.redis._operating import Operating
from executors.redis._outlook import Ended, Outlook, Seen, drop
from executors.redis._reading import ServerReader
from executors.redis._server import check_namespace
from executors.redis._shard import Holder
from executors.redis._store import RedisStore, new_run
from executors.redis._together import Together
from executors.redis._unserved import Unserved
from executors.redis._url import parse
from executors.redis._waiting import Hub
from flows._idempotency import conflict, expired
from flows._plan import Plan
from flows._shared_results import check_shared
from flows._state import CONTROL_QUEUE, STATE_NAMES
from flows._telemetry import trace_run
from flows._views import end_state
from flows.errors import FlowsError, UnknownRunError, UnsupportedError
from flows.executor import RunOptions, WorkerOptions

if TYPE_CHECKING:
    from executors._leasing._workshop import Workshop
    from flows._tracing import RunTrace


class RedisRecord(StoredRecord):
    """A run on a server, as users read it.

    Attributes:
        tracing: The trace whose root span this process has begun; None where it has not.
        written: The header, where it was written here: most who submit never read it.
        outlook: Looks at how this and other runs have ended; None for a run that was not submitted here.
    """

    tracing: RunTrace | None = None
    outlook: Outlook | None = None
    written: bytes | None = None
    _seen: Seen | None = None

    @property
    def id(self) -> str:
        """Unique in the world."""
        return self.run

    @property
    def header(self) -> Header:
        """What its jobs have in common."""
        if self._header is None and self.written is not None:
            self._header = Header(self.written)
        return super().header

    @property
    def seen(self) -> Ended | None:
        """How it has ended, where the calling thread has just seen that."""
        seen = self._seen
        return seen.end if seen is not None and seen.counts else None

    def see(self, seen: Seen | None) -> None:
        """Somebody has looked."""
        self._seen = seen

    def refresh(self) -> None:
        """As `StoredRecord.refresh`."""
        self._seen = None
        super().refresh()

    def state_of(self, job: int) -> str:
        """As `StoredRecord.state_of`."""
        ended = self._root_ended(job)
        return super().state_of(job) if ended is None else STATE_NAMES[ended.state]

    def value_of(self, job: int) -> Any:
        """As `StoredRecord.value_of`."""
        ended = self._root_ended(job)
        if self.outlook is not None:
            self.outlook.read(self)
        if ended is None or ended.payload is None:
            return super().value_of(job)
        return self._returned(job, read(ended.payload))

    def _root_ended(self, job: int) -> Ended | None:
        outlook = self.outlook
        if outlook is None or job not in self.origin.roots:
            return None
        return self.seen or outlook.see(self)


class RedisExecutor(Operating):
    """Runs on a Redis server or a cluster: submitted from anywhere, worked off by workers anywhere.

    ``redis://host:6379/0``, ``rediss://`` over TLS, ``unix:///path/to/socket``, ``redis+cluster://host,host`` and
    ``redis+sentinel://host,host/name``; ``?namespace=`` sets the runs of one application apart from others, and
    ``?max_jobs=`` says how many jobs a flow may have, ``?lease=`` how long its workers may be unheard of (30 s). A bare
    ``redis://`` reads ``REDIS_URL``, or ``REDIS_HOST`` and its kin.

    Handlers run in workers only (`flows.Worker`, ``flows worker``). A submit takes a round trip or two, and raises
    `UnavailableError` within 2 s where the server is away. What an acknowledged run survives is what the server's
    persistence and replication keep.

    Attributes:
        lease_seconds: How long workers that this executor makes may be unheard of before their jobs go to others.
    """

    embedded = False

    def __init__(self, url: str) -> None:
        self.address = parse(url)
        if self.address.shards > 1:
            raise UnsupportedError(f"{self.address}: ?shards=N is not in this version yet; leave it out")
        self.lease_seconds: float = self.address.lease_seconds
        self.link = Link(self.address)
        self.store = RedisStore(self.link, self.address.namespace)
        keys = self.store.shard.keys
        self._ends = Hub(self.link, keys.of("ended"))
        self._stops = Hub(self.link, keys.of("stops"), aloud=False)
        self._unserved = Unserved(self._served)
        events = Hub(self.link, keys.of("events"))
        self.reader = ServerReader(self.store.shard, events, self.store.clock, self._held_back)
        self._outlook = Outlook(self.reader.look_ahead)
        self._together = Together(self.store.shard.put_many)
        self._checked = 0

    def submit(self, plan: Plan[Any], options: RunOptions, *, background: bool) -> RedisRecord:
        """Accept a run: all of it or, if this raises, nothing. Never waits for a worker."""
        self._look_at(plan)
        with _traced(plan, options) as (options, tracing):
            packed = pack(plan, options, Limits(jobs=self.address.max_jobs))
            holder = self.store.put_run(packed)
        return self._accepted(plan, packed, holder, tracing)

    async def asubmit(self, plan: Plan[Any], options: RunOptions) -> RedisRecord:
        """As `submit`; the loop goes on meanwhile, and what is submitted at the same time shares round trips."""
        self._look_at(plan)
        with _traced(plan, options) as (options, tracing):
            packed = pack(plan, options, Limits(jobs=self.address.max_jobs))
            holder = await self._together.put(new_run(packed))
        return self._accepted(plan, packed, holder, tracing)

    def _look_at(self, plan: Plan[Any]) -> None:
        """See that a plan can be worked off here."""
        if _main_import.under_way:
            _main_import.refuse()
        check_places(plan)
        if any(one.idempotency_key is not None for one in plan.distinct):
            check_shared(plan)
        self._check()

    def _accepted(self, plan: Plan[Any], packed: Packed, holder: Holder, tracing: RunTrace | None) -> RedisRecord:
        options = packed.options
        if holder.run_id != options.run_id:
            if tracing is not None:
                tracing.finish("completed", None)
            return self._joined(options.key or "", holder.run_id, holder.fingerprint, plan)
        self._unserved.look_after(packed.shape.queues)
        record = RedisRecord(self.reader, options.run_id, None, plan)
        record.written = packed.header
        record.tracing = tracing
        record.outlook = self._outlook
        self._outlook.add(record)
        return record

    def find(self, *, run_id: str | None = None, key: str | None = None) -> RedisRecord | None:
        """The run of that id or key, if it is there and within its retention."""
        self._check()
        if key is not None:
            (held,) = self.link.call("HMGET", self.store.shard.keys.key(key), "run")
            if held is None:
                return None
            run_id = held.decode()
        run_id = run_id or ""
        try:
            if not self._is_due(run_id):
                return RedisRecord(self.reader, run_id, Header(self.reader.header(run_id)))
        except UnknownRunError:
            pass
        if key is not None:
            raise self._expired(key, run_id)
        return None

    def _is_due(self, run_id: str) -> bool:
        """Whether a run is past its retention: then it is as good as gone, whoever clears it away."""
        due = self.link.call("ZSCORE", self.store.shard.keys.of("retire"), run_id)
        if due is None or float(due) > self.store.clock() * 1_000_000:
            return False
        self.store.shard.retire()
        return True

    def work(self, record: RedisRecord, timeout: float | None) -> bool:
        """Wait for the end of the run."""
        deadline = None if timeout is None else time.monotonic() + timeout

        def left() -> float | None:
            return None if deadline is None else deadline - time.monotonic()

        if not self._ends.wait(record.run, lambda: self._outlook.has_ended(record), left):
            return False
        self._conclude(record)
        return True

    def join(self, record: RedisRecord, *, blocks: bool = False) -> None:
        """Workers work on it."""
        if record.tracing is not None and record.ended:
            self._conclude(record)

    def cancel(self, record: RedisRecord, reason: str) -> None:
        """Cancel a run: what has not started is cancelled, running handlers are told to stop."""
        self.store.cancel(record.run, reason)
        record.refresh()
        self.join(record)

    def reopen(self, record: RedisRecord, job: int | None, *, anew: bool) -> None:
        """Have jobs of an ended run done again."""
        opened = self.store.reopen(record, job, anew=anew)
        drop()
        record.refresh()
        if opened and record.tracing is not None:
            record.tracing.reopen(len(record.plan))

    def serve(self, options: WorkerOptions) -> Workshop:
        """A worker for all runs of the namespace."""
        from executors._leasing._serving import workshop  # most programs have no worker

        store: Any = FleetStore(self.link, self._stops, options.limits, lease_seconds=self.lease_seconds)
        return workshop(store, options, min(options.concurrency, os.cpu_count() or 1), logs_jobs=True)

    def close(self) -> None:
        """End the connections. It can still be used, and makes new ones."""
        self._unserved.close()
        close_idle(self.link)
        self.link.close()

    def _check(self) -> None:
        """See once a process that the namespace is ours."""
        if self._checked != os.getpid():
            check_namespace(self.link, self.address.shards)
            self._checked = os.getpid()

    def _joined(self, key: str, run_id: str, fingerprint: str, plan: Plan[Any]) -> RedisRecord:
        """The run that has the key already.

        Raises:
            IdempotencyConflictError: It is of another flow.
            ResultExpiredError: It is past its retention.
        """
        record = self.find(run_id=run_id)
        if fingerprint != plan.fingerprint:
            raise conflict(key, run_id, fingerprint, None if record is None else record.origin, plan)
        if record is None:
            raise self._expired(key, run_id)
        return record if record.origin.lists else RedisRecord(self.reader, run_id, record.header, plan)

    def _expired(self, key: str, run_id: str) -> FlowsError:
        left = self.link.call("PTTL", self.store.shard.keys.key(key))
        return expired(key, run_id, max(left, 0) / 1000)

    def _conclude(self, record: RedisRecord) -> None:
        """The run has ended: its trace does, too."""
        if record.seen is None:
            record.refresh()
        tracing = record.tracing
        if tracing is not None:
            state = end_state(record)
            wrong = next((root for root in record.origin.roots if record.state_of(root) == state), None)
            tracing.finish(state, None if state == "completed" or wrong is None else record.failed(wrong))

    def _served(self, queues: Iterable[str]) -> set[str]:
        """Those of *queues* that a living worker serves."""
        served = {CONTROL_QUEUE}.union(*served_of(self.store).values())
        return served.intersection(queues)

    def _held_back(self, run: str, job: int, queue: str) -> str | None:
        if not self._served((queue,)):
            return f"no worker serves queue {queue}"
        paused, concurrency, rate = self._limits().get(queue, (False, None, None))
        if paused:
            return f"queue {queue} is paused"
        keys = self.store.shard.keys
        active = self.link.call("ZCARD", keys.queue(queue, "leases")) if concurrency is not None else 0
        if concurrency is not None and active >= concurrency:
            return f"waits for a free place on queue {queue} ({active} of {concurrency} active)"
        return self._rate_of(queue, rate)

    def _rate_of(self, queue: str, rate: tuple[int, float] | None) -> str | None:
        if rate is None:
            return None
        starts = self.link.call("ZREVRANGE", self.store.shard.keys.queue(queue, "starts"), 0, rate[0] - 1, "WITHSCORES")
        if len(starts) < 2 * rate[0]:
            return None
        oldest = float(starts[-1])  # infinite: that job has been claimed and has not begun
        left = rate[1] if oldest == math.inf else rate[1] - (self.store.clock() - oldest / 1_000_000)
        return f"rate limit of queue {queue}, next in {max(0.0, left):.1f} s" if left > 0 else None


@contextmanager
def _traced(plan: Plan[Any], options: RunOptions) -> Iterator[tuple[RunOptions, RunTrace | None]]:
    """The options with the trace that the run begins, if any; that ends with what is raised here."""
    tracing = trace_run(plan.name, len(plan), options)
    if tracing is not None:
        options = dataclasses.replace(options, trace_id=tracing.trace_id, carrier=tracing.carrier)
    try:
        yield options, tracing
    except BaseException:
        if tracing is not None:
            tracing.finish("failed", None)
        raise
