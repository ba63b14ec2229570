"""RedisStore: the verbs of a store, for workers and clients, over the shard that has the runs."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, cast

from executors._store import StaleCallError
from executors._stored import Brief, Header, Headers, Items, Packed, Unread, brief
from executors.redis._alike import AlikeRun, alike, keep_form
from executors.redis._flight import InFlight, LateGrants
from executors.redis._inputs import Inputs, Payloads, places
from executors.redis._keys import Keys
from executors.redis._layout import CONTROL, lay_out
from executors.redis._moulds import is_small, lanes_of, mould_of, union_of
from executors.redis._outcomes import outcome_of
from executors.redis._reopen import reopen
from executors.redis._rows import read_rows
from executors.redis._scripts import Calls
from executors.redis._shard import Shard
from executors.redis._submits import Holder, NewRun, common_of
from executors.redis._wire import CONTROLLED, GATE, MICRO, RATED, SUSPECT, Granted, Told
from flows._keeper import LEASE_SECONDS
from flows._shared_results import Owner, Shared, owner_of
from flows._state import STATE_NAMES
from flows._verbs import ControlGrant, End, Grant, Reply, Settle, SuspectGrant, Want
from flows.errors import UnknownRunError, UnsupportedError


class Way(Calls, Protocol):
    """The way to a server for all threads; and connections of a thread's own."""

    def channel(self, purpose: str, /) -> Any:
        """A connection for one thread: `Calls` that can be closed."""
        ...


class ApartGrant(Grant):
    """A grant whose inputs are read apart, or the spans that its attempt is linked to."""

    __slots__ = ()

    def fetch(self) -> None:
        """Read them; may block."""
        run = cast("Brief", self.run)
        if isinstance(run.inputs, Inputs):
            run.inputs.load()
        if run.tracing is not None and not self.control:
            run.tracing.fetch(self)


class _ApartControl(ApartGrant, ControlGrant):
    __slots__ = ()


class _ApartSuspect(ApartGrant, SuspectGrant):
    __slots__ = ()


_NOTHING_TOLD: Final[dict[tuple[str, int], Any]] = {}

_KINDS: Final[dict[tuple[bool, int], type[Grant]]] = {
    (False, 0): Grant,
    (False, CONTROLLED): ControlGrant,
    (False, SUSPECT): SuspectGrant,
    (False, CONTROLLED | SUSPECT): ControlGrant,
    (True, 0): ApartGrant,
    (True, CONTROLLED): _ApartControl,
    (True, SUSPECT): _ApartSuspect,
    (True, CONTROLLED | SUSPECT): _ApartControl,
}


class RedisStore:
    """Runs in one shard of a namespace. Safe to call from any thread; each verb is one atomic step.

    Args:
        way: The way to the server.
        namespace: Sets its runs apart from those of other applications.
        lease_seconds: How long a grant lasts without being extended.
    """

    def __init__(
        self, way: Way, namespace: str, *, lease_seconds: float = LEASE_SECONDS, shard: Shard | None = None
    ) -> None:
        self.lease_seconds: float = lease_seconds
        self._way = way
        self.shard = shard or Shard(way, Keys(namespace))
        self._headers = Headers(self._load_header)
        self._payloads = Payloads()
        self._loops: dict[str, Shard] = {}
        self._queues: tuple[frozenset[str] | None, list[str]] = None, []
        self._ahead: float | None = None
        self._lock = threading.Lock()

    def clock(self) -> float:
        """The server's clock in seconds since 1970, as far as the last answer tells."""
        if self._ahead is None:
            seconds, micros = self._way.call("TIME")
            shift = self._way.call("HGET", self.shard.keys.meta, "shift")
            self._ahead = int(seconds) + (int(micros) + int(shift or 0)) / MICRO - time.monotonic()
        return time.monotonic() + self._ahead

    def attempts_clock(self) -> float:
        """The clock by which attempts are timed: the server's, where there is one."""
        return self.clock()

    def ours(self, instant: float) -> float:
        """An instant of the server's clock, by the one that attempts are timed by."""
        return instant

    def put_run(self, run: Packed) -> Holder:
        """Accept a run, visible in one step; may be sent twice.

        Returns:
            Who has its key now: the run itself, or the one that was there before.

        Raises:
            UnavailableError: The server is away, or full; if it is full, nothing was stored.
        """
        return self.shard.put_run(new_run(run))

    def exchange(self, loop: str, seq: int, settles: Sequence[Settle], want: Want, worker: str | None = None) -> Reply:
        """Settle attempts that have ended and claim jobs; see `executors._store.Store.exchange`.

        Raises:
            StaleCallError: *seq* is older than the last one answered; nothing was changed.
            UnavailableError: The server is away; whether it took the step is unknown, and the same *seq* finds out.
        """
        reply = self.begin_exchange(loop, seq, settles, want, worker).land()
        reply.grants = list(reply.grants)
        return reply

    def begin_exchange(
        self, loop: str, seq: int, settles: Sequence[Settle], want: Want, worker: str | None = None
    ) -> InFlight:
        """As `exchange`, which is sent; see `executors._store.Flight`."""
        shard = self._loops.get(loop) or self._open_loop(loop)
        now = self.attempts_clock()
        outcomes = []
        for settle in settles:
            outcomes.append(outcome_of(settle, now))
            if settle.end is End.EXPANDED:
                self._stow(shard, settle)
        queues = self._queues
        if queues[0] is not want.queues:
            queues = self._queues = want.queues, sorted(want.queues or ())
        end = shard.begin_exchange(
            *(loop, seq, outcomes, queues[1]),
            limit=want.limit,
            at_once=want.at_once,
            suspects=want.suspects,
            worker=worker or loop,
            lease=int(self.lease_seconds * MICRO),
        )

        def land() -> Reply:
            try:
                answer = end()
            except Exception as error:
                if str(error).startswith("STALE"):
                    raise StaleCallError(str(error)) from error
                raise
            return self._reply(answer, settles, shard, want)

        return InFlight(cast("Any", shard.server).is_answered, land)

    def close_loop(self, loop: str) -> None:
        """Forget an exchange loop that will not call again."""
        shard = self._loops.pop(loop, None)
        try:
            self.shard.close_loop(loop)
        finally:
            if shard is not None:
                cast("Any", shard.server).close()

    def extend(self, grants: Sequence[Grant]) -> list[Grant]:
        """Extend leases by their full length from now; returns the grants that hold none any more."""
        held = [(grant.run.id, grant.job, grant.fence) for grant in grants]
        over, stopped = self.shard.extend(held, int(self.lease_seconds * MICRO))
        for number in stopped:
            self.stopping(grants[number])
        return [grants[number] for number in over]

    def stopping(self, grant: Grant) -> None:
        """The run of a grant was cancelled."""
        grant.run.state.cancelling = True

    def rescue(self) -> int:
        """Take back the jobs of expired leases, cancel overdue runs, go on with sweeps, forget runs that are due.

        Returns:
            How many jobs were taken back.
        """
        rescued = self.shard.rescue().taken
        self.shard.clear_away()
        return rescued

    def cancel(self, run_id: str, reason: str) -> None:
        """Cancel a run: what has not started ends at once, what runs is told to stop. A second call changes nothing.

        Raises:
            UnknownRunError: There is no such run.
        """
        if not self.shard.cancel(run_id, reason):
            raise UnknownRunError(f"there is no run {run_id!r}")

    def pause(self, queue: str, *, paused: bool) -> None:
        """Hand out nothing of a queue, whatever its limits, or again what these allow."""
        self.shard.pause(queue, paused=paused)

    def reserve(self, key: str, digest: str, grant: Grant, instead_of: Owner | None = None) -> Shared:
        """Look at what stands under *key*, and reserve it for the job of *grant* where that is free to do."""
        me, instead = owner_of(grant), instead_of or ("", "")
        run, name, said, done, value, state = self.shard.reserve(me.run, grant.job, me.job, key, digest, instead)
        owner = Owner(run.decode(), name.decode())
        state_name = None if state < 0 else STATE_NAMES[state]
        return Shared(owner, said.decode(), bool(done), value if done else None, state_name)

    def file(self, key: str, grant: Grant, value: bytes) -> bytes:
        """File the result of the job of *grant*, which has reserved *key*, before it is settled.

        Returns:
            The result that counts from now on: the one filed first. *value*, where the job has lost its lease or its
            reservation meanwhile: then nothing is filed.
        """
        ttl = cast("Brief", grant.run).header.options.key_ttl
        found = self.shard.file(grant.run.id, grant.job, grant.fence, owner_of(grant).job, key, value, ttl)
        return value if found is None else found

    def began(self, grant: Grant) -> float:
        """A handler is about to start; told of grants of `rated` runs. Returns the instant that is counted."""
        return self.ours(self.shard.began(grant.run.id, grant.job, grant.fence) / MICRO)

    def reopen(self, run: Any, job: int | None, *, anew: bool) -> bool:
        """Have jobs of an ended run done again: what failed or was cancelled, or *job* and what follows.

        Returns:
            Whether there was anything to do.

        Raises:
            RunError: The run has not ended, or *job* has nothing to retry.
            UnknownRunError: It is past its retention.
        """
        return reopen(self.shard, run.id, job, anew=anew)

    def pass_on(self, settle: Settle, worker: str) -> Grant | None:
        """Nothing is saved by an exchange of one: the round trip is what costs."""
        return None

    def _stow(self, shard: Shard, settle: Settle) -> None:
        items, grant = cast("Items", settle.value), settle.grant
        if not is_small(items):
            shard.stow(grant.run.id, grant.job, grant.fence, items.payloads)

    def _open_loop(self, loop: str) -> Shard:
        with self._lock:
            shard = self._loops.get(loop)
            if shard is None:
                shard = self._loops[loop] = self.shard.on(self._way.channel("exchange"))
            return shard

    def _reply(self, answer: Told, settles: Sequence[Settle], shard: Shard, want: Want) -> Reply:
        self._ahead = answer.now / MICRO - time.monotonic()
        now = self.ours(answer.now / MICRO)
        refused = [settles[number] for number in answer.refused]
        due = None if answer.due < 0 else self.ours(answer.due / MICRO)
        if not answer.count:
            return Reply(now, [], refused, answer.more, due)
        for run_id, header in answer.headers.items():
            with contextlib.suppress(UnsupportedError):  # which is said again below, of each of its jobs
                self._headers.put(run_id, header)
        suspects, told = 0, _NOTHING_TOLD
        headers = {run_id: self._header_of(run_id) for run_id in answer.ids}
        granted: list[Granted] | None = None
        if not answer.is_plain:
            granted = answer.grants()
            suspects = sum(grant.flags & SUSPECT for grant in granted)
            apart = [grant for grant in granted if grant.apart]
            told = self._told(apart, shard) if apart else told

        def made() -> list[Grant]:
            those = answer.grants() if granted is None else granted
            grants = [self._grant(grant, headers[grant[0]], told) for grant in those]
            if answer.deadlines:
                for grant in grants:
                    deadline = answer.deadlines.get(grant.run.id)
                    if deadline is not None:
                        cast("Brief", grant.run).deadline_at = self.ours(deadline / MICRO)
            return grants

        grants = made() if answer.count == 1 else cast("list[Grant]", LateGrants(answer.count, made))
        return Reply(now, grants, refused, answer.more, due, suspects)

    def _header_of(self, run_id: str) -> Header | Unread:
        try:
            return self._headers[run_id]
        except UnsupportedError as error:
            return Unread(run_id, str(error))

    def _grant(self, granted: Granted, header: Header | Unread, told: dict[tuple[str, int], Any]) -> Grant:
        run_id, job, attempt, flags, fence, since, row, inputs, place = granted
        if isinstance(header, Unread):
            return _KINDS[False, flags & SUSPECT](cast("Any", header), job, attempt, fence)
        taken: Sequence[Any] = inputs
        apart = row is None and not place
        if apart:
            row, place = told[run_id, job]
            taken = Inputs(self.shard, run_id, job, self._payloads)
        apart = apart or self._is_linked(granted, header)
        began = self.ours(since / MICRO) if since > 0 else None
        run = brief(header, job, row, taken, place=place, since=began, gated=bool(flags & GATE))
        if flags & RATED:
            run.rated = True
        kind = _KINDS[apart, flags & (CONTROLLED | SUSPECT)] if flags or apart else Grant
        return kind(cast("Any", run), job, attempt, fence)

    def _is_linked(self, granted: Granted, header: Header) -> bool:
        """Whether the attempt has a span, which may be linked to those of other workers."""
        return False

    def _told(self, apart: Sequence[Granted], shard: Shard) -> dict[tuple[str, int], Any]:
        """Rows of jobs, or for stamped ones where they stand."""
        found: dict[tuple[str, int], Any] = {}
        by_run: dict[str, list[int]] = {}
        for one in apart:
            by_run.setdefault(one.run_id, []).append(one.job)
        for run_id, jobs in by_run.items():
            stand = places(shard, run_id, jobs)
            own = [job for job in jobs if not stand[job]]
            rows = dict(zip(own, read_rows(shard, run_id, own), strict=True))
            found.update({(run_id, job): (rows.get(job), stand[job]) for job in jobs})
        return found

    def _load_header(self, run_id: str) -> bytes:
        header = self._way.call("HGET", self.shard.keys.run(run_id), "header")
        if header is None:
            raise UnknownRunError(f"there is no run {run_id!r}")
        return cast("bytes", header)


def new_run(run: Packed) -> NewRun | AlikeRun:
    """A packed run as a shard takes it."""
    return alike(run) or laid_out(run)


def laid_out(run: Packed) -> NewRun:
    """The same, as one that nothing is known of."""
    options, shape = run.options, run.shape
    queues = union_of(shape.queues, run.bodies)
    fields: dict[str, str | bytes | int] = {
        "header": run.header,
        "name": run.name,
        "queues": "\n".join(queues),
        "timeout": int((options.timeout or 0) * MICRO),
        "keep": int(options.keep * MICRO),
        "keep_failed": int(options.keep_failed * MICRO),
    }
    if options.key is not None:
        fields |= {"key": options.key, "key_ttl": int(options.key_ttl * MICRO)}
    if options.keep_count is not None:
        fields["keep_count"] = options.keep_count
    if options.fail_fast:
        fields["fast"] = 1
    fields |= {f"body:{number}": mould_of(body, queues) for number, body in enumerate(run.bodies)}
    laid = lay_out(shape, [len(row) for row in run.rows], lanes_of(run.bodies, queues, CONTROL))
    timeout = int((options.timeout or 0) * MICRO)
    limits = stated(run.limits)
    made = NewRun(options.run_id, options.key or "", run.fingerprint, fields, run.rows, laid, timeout, limits)
    if run.kept is not None:
        common = common_of(made, int(options.key_ttl * MICRO))
        if common is not None:
            keep_form(run, laid, common)
    return made


def stated(limits: Mapping[str, tuple[int | None, tuple[int, float] | None]]) -> str:
    """The limits of queues as scripts read them."""
    lines = []
    for queue, (concurrency, rate) in limits.items():
        starts, period = rate or (0, 0.0)
        lines.append(f"{queue}\t{concurrency or 0}\t{starts}\t{int(period * MICRO)}")
    return "\n".join(lines)
