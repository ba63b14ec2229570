"""RedisExecutor: runs kept on a server, worked off by whatever workers are connected to it.

A `Part` for each shard has the way there, the store and the reader. `submit` packs a flow and puts it into the part
that its key or id falls to; a `RedisRecord` reads it from there; `work` waits for the stream of ended runs to name it.
Of a run nothing is kept here but what its submitter knew.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from executors._leasing import _main_import
from executors._leasing._process_checks import check_places
from executors._stored import Header, Limits, Packed, StoredRecord, pack, read
from executors.redis._crowds import is_crowded_out
from executors.redis._fleet import FleetStore
from executors.redis._limited import Limited
from executors.redis._operating import Operating
from executors.redis._outlook import Ended, Outlook, Seen, drop
from executors.redis._part import Part, check_limits, check_spread, placed, served_in
from executors.redis._server import check_namespace
from executors.redis._store import new_run
from executors.redis._submits import Holder
from executors.redis._unserved import Unserved
from executors.redis._url import parse
from flows._idempotency import conflict, expired
from flows._plan import Plan
from flows._shared_results import check_shared
from flows._state import CONTROL_QUEUE, STATE_NAMES
from flows._telemetry import trace_run
from flows._views import end_state
from flows.errors import FlowsError, UnknownRunError
from flows.executor import RunOptions, WorkerOptions

if TYPE_CHECKING:
    from executors._leasing._workshop import Workshop
    from flows._tracing import RunTrace


FRESH_SECONDS: Final = 0.001
"""A run that was accepted so shortly ago has not ended: who waits for it hears of its end, and need not look."""


class RedisRecord(StoredRecord):
    """A run on a server, as users read it.

    Attributes:
        tracing: The trace whose root span this process has begun; None where it has not.
        part: The shard that it is in.
        accepted_at: When it was accepted, by the monotonic clock, where it was submitted here.
        written: The header, where it was written here: most who submit never read it.
        outlook: Looks at how this and other runs have ended; None for a run that was not submitted here.
    """

    tracing: RunTrace | None = None
    outlook: Outlook | None = None
    written: bytes | None = None
    accepted_at = -math.inf
    _seen: Seen | None = None

    def __init__(self, part: Part, run_id: str, header: Header | None, plan: Plan[Any] | None = None) -> None:
        super().__init__(part.reader, run_id, header, plan)
        self.part = part

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
    ``redis+sentinel://host,host/name``; ``?namespace=`` sets the runs of one application apart from others,
    ``?shards=`` spreads them over the nodes of a cluster, ``?max_jobs=`` says how many jobs a flow may have,
    ``?lease=`` how long its workers may be unheard of (30 s). A bare ``redis://`` reads ``REDIS_URL``, or
    ``REDIS_HOST`` and its kin.

    Handlers run in workers only (`flows.Worker`, ``flows worker``). A submit takes a round trip or two, and raises
    `UnavailableError` within 2 s where the server is away. What an acknowledged run survives is what the server's
    persistence and replication keep.

    Attributes:
        lease_seconds: How long workers that this executor makes may be unheard of before their jobs go to others.
    """

    embedded = False

    def __init__(self, url: str) -> None:
        self.address = parse(url)
        self.lease_seconds: float = self.address.lease_seconds
        self.parts = [Part(self.address, number, self._served) for number in range(self.address.shards)]
        first = self.parts[0]
        self.link, self.store, self.reader = first.link, first.store, first.reader
        self._unserved = Unserved(self._served, self._goes_on)
        self._sizes = Limits(jobs=self.address.max_jobs)
        self._checked = 0

    def submit(self, plan: Plan[Any], options: RunOptions, *, background: bool) -> RedisRecord:
        """Accept a run: all of it or, if this raises, nothing. Never waits for a worker."""
        self._look_at(plan)
        tracing = trace_run(plan.name, len(plan), options)
        try:
            part, packed = self._packed(plan, options, tracing)
            holder = part.store.put_run(packed)
        except BaseException:
            _failed(tracing)
            raise
        return self._accepted(part, plan, packed, holder, tracing)

    async def asubmit(self, plan: Plan[Any], options: RunOptions) -> RedisRecord:
        """As `submit`; the loop goes on meanwhile, and what is submitted at the same time shares round trips."""
        self._look_at(plan)
        tracing = trace_run(plan.name, len(plan), options)
        try:
            part, packed = self._packed(plan, options, tracing)
            holder = await part.together.put(new_run(packed))
        except BaseException:
            _failed(tracing)
            raise
        return self._accepted(part, plan, packed, holder, tracing)

    def _look_at(self, plan: Plan[Any]) -> None:
        """See that a plan can be worked off here."""
        if _main_import.under_way:
            _main_import.refuse()
        check_places(plan)
        if any(one.idempotency_key is not None for one in plan.distinct):
            check_shared(plan)
        self._check()

    def _packed(self, plan: Plan[Any], options: RunOptions, tracing: RunTrace | None = None) -> tuple[Part, Packed]:
        if tracing is not None:
            options = dataclasses.replace(options, trace_id=tracing.trace_id, carrier=tracing.carrier)
        packed = pack(plan, options, self._sizes)
        if len(self.parts) > 1:
            check_spread(self.address, packed)
        return self._placed(options.key or options.run_id), packed

    def _accepted(
        self, part: Part, plan: Plan[Any], packed: Packed, holder: Holder, tracing: RunTrace | None
    ) -> RedisRecord:
        options = packed.options
        if holder.run_id != options.run_id:
            if tracing is not None:
                tracing.finish("completed", None)
            return self._joined(part, options.key or "", holder.run_id, holder.fingerprint, plan)
        self._unserved.look_after(packed.shape.queues, options.run_id)
        record = RedisRecord(part, options.run_id, None, plan)
        record.written = packed.header
        record.tracing = tracing
        record.accepted_at = time.monotonic()
        record.outlook = part.outlook
        part.outlook.add(record)
        return record

    def find(self, *, run_id: str | None = None, key: str | None = None) -> RedisRecord | None:
        """The run of that id or key, if it is there and within its retention."""
        self._check()
        if key is not None:
            part = self._placed(key)
            (held,) = part.link.call("HMGET", part.store.shard.keys.key(key), "run")
            if held is None:
                return None
            record = self._found(part, held.decode())
            if record is None:
                raise self._expired(part, key, held.decode())
            return record
        likely = self._placed(run_id or "")  # unless it has a key, by which it was placed
        for part in (likely, *[part for part in self.parts if part is not likely]):
            record = self._found(part, run_id or "")
            if record is not None:
                return record
        return None

    def _found(self, part: Part, run_id: str) -> RedisRecord | None:
        try:
            if part.is_due(run_id):
                return None
            header = Header(part.reader.header(run_id))
        except UnknownRunError:
            return None
        keep = header.options.keep_count if len(self.parts) > 1 else None
        if keep is not None:
            shards = [one.store.shard for one in self.parts]
            if is_crowded_out(shards, part.store.shard, run_id, header.name, keep):
                return None
        return RedisRecord(part, run_id, header)

    def work(self, record: RedisRecord, timeout: float | None) -> bool:
        """Wait for the end of the run, and see to its deadline where no worker does."""
        if record.seen is not None:
            self._conclude(record)
            return True
        until = None if timeout is None else time.monotonic() + timeout
        looks = itertools.count()

        def left() -> float | None:
            return None if until is None else until - time.monotonic()

        def ended() -> bool:
            if record.part.outlook.has_ended(record):
                return True
            if next(looks):  # not at the first look: most runs end before there is another
                self._see_to(record)
            return False

        fresh = time.monotonic() - record.accepted_at < FRESH_SECONDS
        if not record.part.ends.wait(record.run, ended, left, fresh=fresh):
            return False
        self._conclude(record)
        return True

    def _see_to(self, record: RedisRecord) -> None:
        """Somebody waits for the run, and it has not ended."""
        record.part.end_overdue(record.run)

    def join(self, record: RedisRecord, *, blocks: bool = False) -> None:
        """Workers work on it."""
        if record.tracing is not None and record.ended:
            self._conclude(record)

    def cancel(self, record: RedisRecord, reason: str) -> None:
        """Cancel a run: what has not started is cancelled, running handlers are told to stop."""
        record.part.store.cancel(record.run, reason)
        record.refresh()
        self.join(record)

    def reopen(self, record: RedisRecord, job: int | None, *, anew: bool) -> None:
        """Have jobs of an ended run done again."""
        opened = record.part.store.reopen(record, job, anew=anew)
        drop()
        record.refresh()
        if opened and record.tracing is not None:
            record.tracing.reopen(len(record.plan))

    def serve(self, options: WorkerOptions) -> Workshop:
        """A worker for all runs of the namespace."""
        from executors._leasing._serving import workshop  # most programs have no worker

        store = self.worker_store(options.limits)
        if isinstance(store, FleetStore):
            store.hears_of_rests = True
        return workshop(store, options, min(options.concurrency, os.cpu_count() or 1), logs_jobs=True)

    def worker_store(self, limits: Limited) -> Any:
        """The store as one worker has it."""
        if len(self.parts) == 1:
            return FleetStore(self.link, self.parts[0].stops, limits, lease_seconds=self.lease_seconds)
        from executors.redis._spread import SpreadStore  # most namespaces have one shard

        check_limits(self.address, limits)
        links, stops = [part.link for part in self.parts], [part.stops for part in self.parts]
        return SpreadStore(links, stops, lease_seconds=self.lease_seconds)

    def close(self) -> None:
        """End the connections. It can still be used, and makes new ones."""
        self._unserved.close()
        for part in self.parts:
            part.close()

    def _check(self) -> None:
        """See once a process that the namespace is ours."""
        if self._checked != os.getpid():
            check_namespace(self.link, self.address.shards)
            self._checked = os.getpid()

    def _placed(self, name: str) -> Part:
        return self.parts[placed(name, len(self.parts))]

    def _joined(self, part: Part, key: str, run_id: str, fingerprint: str, plan: Plan[Any]) -> RedisRecord:
        """The run that has the key already.

        Raises:
            IdempotencyConflictError: It is of another flow.
            ResultExpiredError: It is past its retention.
        """
        record = self._found(part, run_id)
        if fingerprint != plan.fingerprint:
            raise conflict(key, run_id, fingerprint, None if record is None else record.origin, plan)
        if record is None:
            raise self._expired(part, key, run_id)
        return record if record.origin.lists else RedisRecord(part, run_id, record.header, plan)

    def _expired(self, part: Part, key: str, run_id: str) -> FlowsError:
        left = part.link.call("PTTL", part.store.shard.keys.key(key))
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
        served = {CONTROL_QUEUE}.union(*served_in(self.parts).values())
        return served.intersection(queues)

    def _goes_on(self, run_id: str) -> bool:
        """Whether the run of that id is there and has not ended."""
        record = self.find(run_id=run_id)
        return record is not None and not record.ended


def _failed(tracing: RunTrace | None) -> None:
    """The trace that the run has begun, if any, ends with what was raised."""
    if tracing is not None:
        tracing.finish("failed", None)
