"""Shard: the verbs as a server offers them, one script each; and the reading of what scripts leave to be read apart.

It has no state but the way there and the names of its keys: arguments become bytes (`_wire`, `_submits`), a script
runs, its answer is read. What is too much for one call goes in several: a large run is staged in parts and then
published, and long work is gone on with until none is left.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from executors.redis import _layout as layout
from executors.redis._alike import AlikeRun, arguments, holders
from executors.redis._alike import portions as alike_portions
from executors.redis._functions import Functions
from executors.redis._keys import BUCKET, Keys
from executors.redis._moulds import portions
from executors.redis._scripts import Calls, script
from executors.redis._submits import (
    AT_ONCE,
    Holder,
    NewRun,
    answered,
    at_once,
    delays_of,
    fields_of,
    is_small,
    row_commands,
    together,
)
from executors.redis._wire import Answer, Outcome, Told, pack_leases, pack_settles
from flows._state import SWEEP_LIMIT
from flows.errors import UnavailableError

STAGE_SECONDS: Final = 3600
INLINE: Final = 8192
"""Bytes of data that come along with a grant; what is more is read apart, outside of scripts."""

AWAY_SECONDS: Final = 0.5
"""After a failure that took so long, the server is not asked again for the runs that came with it."""

_CLEARING: Final = 64
"""Calls that clear away runs at one go: some 300,000 jobs."""

LANES: Final = 200
"""Lanes that are filled by one call."""

PARTS: Final = 200
"""Parts of a staged run that one call puts into their places."""


class Rescued(NamedTuple):
    """What a rescue has found.

    Attributes:
        taken: How many jobs were taken back.
        deadline: When the next run is to be cancelled, in microseconds of the store's clock; None where there is none.
    """

    taken: int
    deadline: float | None


def _lost(message: str) -> str:
    failed = {"type": "LeaseLostError", "message": message, "traceback": "", "job": "", "state": "failed"}
    return json.dumps(failed, separators=(",", ":"))


_LOST: Final = _lost("the worker died or was cut off")
_SPENT: Final = _lost("lost its worker 3 times; the handler may be killing its process")


class Shard:
    """One shard of a namespace on one server.

    Args:
        server: The way there.
        keys: The names of its keys.
        chunk: Edges applied by a call at most.
        inline: Bytes of a job's data that come along with its grant.
    """

    def __init__(self, server: Calls, keys: Keys, *, chunk: int = SWEEP_LIMIT, inline: int = INLINE) -> None:
        self.server = server
        self.keys = keys
        self.chunk = chunk
        self.inline = inline

    def on(self, server: Calls) -> Shard:
        """The same shard by another way, as a connection of a thread's own."""
        return Shard(server, self.keys, chunk=self.chunk, inline=self.inline)

    def run(self, name: str, *arguments: Any) -> Any:
        """Run a script."""
        return script(name).on(self.server, self.keys.meta, *arguments)

    def put_run(self, run: NewRun | AlikeRun) -> Holder:
        """Accept a run in one visible step; may be sent twice.

        Returns:
            Who has the key now: the run itself, or the one that was there before it.
        """
        if isinstance(run, AlikeRun):
            return self._put_alike([run])[0]
        if is_small(run):
            name, *given = at_once(run)
            held, fingerprint = self.run(name, *given)
        else:
            # Under a name of its own: what is staged again must not write over what is at work already.
            stage = os.urandom(12).hex()
            run = run._replace(laid_out=layout.with_few_lanes(run.laid_out, LANES))
            parts = self._stage(stage, run)
            for first in range(0, len(parts), PARTS):
                self.run("move", run.run_id, stage, STAGE_SECONDS, *parts[first : first + PARTS])
            held, fingerprint = self.run(
                *("publish", run.run_id, run.key, run.fingerprint, run.timeout, run.limits),
                " ".join(run.laid_out.ready),
            )
            if not fingerprint or held.decode() != run.run_id:
                self._unstage(stage, parts)
                self.clear_away()
        return Holder(held.decode(), fingerprint.decode() or run.fingerprint)

    def put_many(self, runs: Sequence[NewRun | AlikeRun]) -> list[Holder | Exception]:
        """Accept runs, each by itself, small ones in one round trip; errors stand in the place of answers."""
        functions = getattr(self.server, "functions", None) or Functions(usable=False)
        parts: list[Sequence[NewRun | AlikeRun]] = [*alike_portions(run for run in runs if isinstance(run, AlikeRun))]
        parts += [(run,) for run in runs if not isinstance(run, AlikeRun) and is_small(run)]
        sent = [together(part) for part in parts]
        try:
            replies = self.server.calls(
                [script(name).command(functions, self.keys.meta, *taken) for name, *taken in sent]
            )
        except UnavailableError:  # to all, or to some of them
            replies = [None] * len(parts)
        known: dict[str, Holder] = {}
        for part, reply in zip(parts, replies, strict=True):
            if isinstance(reply, Exception) and len(part) > 1:  # the server has to be told the script
                known |= self._known(part)
            elif reply is not None and not isinstance(reply, Exception):
                known |= {run.run_id: holder for run, holder in zip(part, answered(part, reply), strict=True)}
        answers: list[Holder | Exception] = []
        away: Exception | None = None
        for run in runs:
            try:
                if run.run_id in known:
                    answers.append(known[run.run_id])
                elif away is not None:
                    answers.append(away)
                else:
                    began = time.monotonic()
                    answers.append(self.put_run(run))
            except Exception as error:
                answers.append(error)
                if time.monotonic() - began > AWAY_SECONDS:
                    away = error
        return answers

    def _known(self, runs: Sequence[Any]) -> dict[str, Holder]:
        """Who has the keys of these runs, once more accepted together; nothing where that fails."""
        try:
            return {run.run_id: holder for run, holder in zip(runs, self._put_alike(runs), strict=True)}
        except Exception:
            return {}  # each by itself will be told why

    def _put_alike(self, runs: Sequence[AlikeRun]) -> list[Holder]:
        return holders(runs, self.run("put_alike", *arguments(runs)), Holder)

    def exchange(
        self,
        loop: str,
        seq: int,
        outcomes: Iterable[Outcome],
        queues: Sequence[str],
        *,
        limit: int,
        at_once: int,
        suspects: bool,
        worker: str,
        lease: int,
    ) -> Answer:
        """Settle and claim, in one step; the same *seq* again is answered as before.

        Args:
            lease: Microseconds.
        """
        told = self.begin_exchange(
            *(loop, seq, outcomes, queues),
            limit=limit,
            at_once=at_once,
            suspects=suspects,
            worker=worker,
            lease=lease,
            apart=False,
        )()
        return Answer(told.now, told.due, told.more, told.refused, told.grants(), told.headers, told.deadlines)

    def begin_exchange(
        self,
        loop: str,
        seq: int,
        outcomes: Iterable[Outcome],
        queues: Sequence[str],
        *,
        limit: int,
        at_once: int,
        suspects: bool,
        worker: str,
        lease: int,
        apart: bool = True,
    ) -> Callable[[], Told]:
        """As `exchange`; the call returned waits for the answer.

        Args:
            apart: Whether the way to the server is a channel, which sends at once.
        """
        ids, numbers, payloads = pack_settles(outcomes)
        arguments = (
            *(loop, seq, worker, lease, limit, int(suspects), at_once, self.inline, self.chunk),
            *(ids, numbers, payloads, "\n".join(queues)),
        )
        if not apart:
            return lambda: Told(self.run("exchange", *arguments))
        end = script("exchange").begin(self.server, self.keys.meta, *arguments)
        return lambda: Told(end())

    def stow(self, run_id: str, job: int, fence: int, payloads: Sequence[bytes]) -> bool:
        """Put the items of a list aside, before the settle that expands it; whether the lease still holds."""
        for first, part in portions(payloads):
            if not self.run("stow", run_id, job, fence, len(payloads), first, *part):
                return False
        return True

    def extend(self, leases: Iterable[tuple[str, int, int]], lease: int) -> tuple[Sequence[int], Sequence[int]]:
        """Extend leases; the numbers of those that are over, and of those whose run was cancelled."""
        over, stopped = self.run("extend", lease, *pack_leases(leases))
        return over, stopped

    def rescue(self) -> Rescued:
        """Take back expired leases, cancel what is overdue, sweep: to the end, in calls of bounded work."""
        taken, cursor = 0, b"0"
        while True:
            some, more, following, deadline = self.run("rescue", _LOST, _SPENT, self.chunk, cursor)
            taken += some
            if not more:
                cursor = following
            if not more and cursor == b"0":
                return Rescued(taken, float(deadline) if deadline else None)

    def sweep(self, run_id: str = "") -> bool:
        """Apply a chunk of unswept edges; whether some are left."""
        return bool(self.run("sweep", run_id, self.chunk))

    def cancel(self, run_id: str, reason: str) -> bool:
        """Cancel a run and go on until all of it is marked; whether there is such a run."""
        said: int = self.run("cancel", run_id, reason, self.chunk)
        while said == 2 and self.sweep(run_id):
            pass
        return said >= 0

    def pause(self, queue: str, *, paused: bool) -> None:
        """Hand out no job of a queue, or again what its limits allow."""
        self.run("pause", queue, int(paused))

    def reserve(self, run_id: str, job: int, name: str, key: str, digest: str, instead: tuple[str, str]) -> list[Any]:
        """Look at a job-level key, and reserve it if that is free to do; see ``lua/reserve.lua``."""
        return list(self.run("reserve", run_id, job, name, key, digest, *instead))

    def file(self, run_id: str, job: int, fence: int, name: str, key: str, value: bytes, ttl: float) -> bytes | None:
        """File a result under a job-level key for *ttl* seconds; the one that counts."""
        found: bytes | None = self.run("file", run_id, job, fence, name, key, value, max(1, int(ttl * 1000)))
        return found

    def began(self, run_id: str, job: int, fence: int) -> int:
        """The handler of a granted job starts; the instant in microseconds."""
        return int(self.run("began", run_id, job, fence))

    def retire(self, most: int = 200) -> bool:
        """Forget runs whose time is over, *most* keys at most; whether there is more."""
        return bool(self.run("retire", most))

    def clear_away(self) -> None:
        """Forget a good many of the runs whose time is over, in as many short calls; the rest has time."""
        for _ in range(_CLEARING):
            if not self.retire():
                return

    def close_loop(self, loop: str) -> None:
        """Forget an exchange loop that will not call again."""
        self.server.call("UNLINK", self.keys.of(f"l:{loop}"))

    def stage_many(self, command: str, stage: str, part: str, arguments: Sequence[Any]) -> None:
        """Put something where nobody finds it yet."""
        self._send_many(command, self.keys.staged(stage, part), arguments)

    def _stage(self, stage: str, run: NewRun) -> list[str]:
        """Put all of a run where nobody finds it yet; what is not made visible goes away by itself.

        Returns:
            The names of its parts, in the order in which they end if nothing becomes of them.
        """
        laid, of, parts = run.laid_out, self.keys.staged, ["run"]
        self._send(of(stage, "run"), [("HSET", of(stage, "run"), *fields_of(run))])
        for number, bucket in enumerate(laid.buckets):
            self._send(of(stage, f"c:{number}"), [("SET", of(stage, f"c:{number}"), bucket.records)])
            if bucket.edges:
                self._send(of(stage, f"e:{number}"), [("SET", of(stage, f"e:{number}"), bucket.edges)])
            rows = layout.pack_rows(run.rows[number * BUCKET : (number + 1) * BUCKET])
            self._send(of(stage, f"w:{number}"), [("SET", of(stage, f"w:{number}"), rows)])
            parts += [f"{part}:{number}" for part in ("cew" if bucket.edges else "cw")]
        apart = row_commands(of(stage, "b"), layout.long_rows(run.rows))
        for command in apart:
            self._send(of(stage, "b"), [command])
        for lane, jobs in laid.ready.items():
            self._send_many("RPUSH", of(stage, f"j:{lane}"), list(map(layout.name_of, jobs)))
        if laid.late:
            self._send(of(stage, "late"), [("SET", of(stage, "late"), layout.u32s(laid.late))])
        self._send_many("HSET", of(stage, "d"), delays_of(laid))
        there = {"b": apart, "late": laid.late, "d": laid.delays}
        return [*parts, *[part for part, found in there.items() if found], *[f"j:{lane}" for lane in laid.ready]]

    def _send_many(self, command: str, key: str, arguments: Sequence[Any]) -> None:
        for first in range(0, len(arguments), 2 * AT_ONCE):
            self._send(key, [(command, key, *arguments[first : first + 2 * AT_ONCE])])

    def _send(self, key: str, commands: Sequence[Sequence[Any]]) -> None:
        """Write to a staged key, which has an end from the first moment on."""
        for reply in self.server.calls([("MULTI",), *commands, ("EXPIRE", key, STAGE_SECONDS), ("EXEC",)]):
            if isinstance(reply, Exception):
                raise reply

    def _unstage(self, stage: str, parts: Sequence[str]) -> None:
        for first in range(0, len(parts), 200):
            self.server.call("UNLINK", *[self.keys.staged(stage, part) for part in parts[first : first + 200]])
