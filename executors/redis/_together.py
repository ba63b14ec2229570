"""Together: what is submitted by async code at the same time shares round trips."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from executors._leasing._hands import hands
from executors.redis._alike import RUNS_AT_ONCE, AlikeRun
from executors.redis._submits import Holder, NewRun

MOST: Final = 2 * RUNS_AT_ONCE
"""Runs that are sent in one go."""

YIELD_SECONDS: Final = 0.001
"""Who submits a great many at once makes way for the sender at each call's worth of them, for so long at most: it would
else have to ask for the interpreter, which takes as long as a hundred of them, and the server would have nothing to do.
"""

PutMany = Callable[[Sequence[Any]], Sequence[Holder | Exception]]


class _Waiting(NamedTuple):
    run: NewRun | AlikeRun
    loop: asyncio.AbstractEventLoop
    told: asyncio.Future[Holder]


class Together:
    """Hands runs over to a thread that sends all that have come while it was away. For all loops and threads.

    Args:
        put_many: Sends them; an error stands where the answer to its run would.
    """

    def __init__(self, put_many: PutMany) -> None:
        self._put_many = put_many
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._busy = False
        self._taken = threading.Event()
        self._pid = os.getpid()

    async def put(self, run: NewRun | AlikeRun) -> Holder:
        """As `Shard.put_run`, while the loop goes on. Who is cancelled here does not know whether it was accepted."""
        if self._pid != os.getpid():
            self.__init__(self._put_many)  # type: ignore[misc]  # whoever sends is the parent's
        loop = asyncio.get_running_loop()
        told: asyncio.Future[Holder] = loop.create_future()
        with self._lock:
            self._waiting.append(_Waiting(run, loop, told))
            starts, self._busy = not self._busy, True
            many = len(self._waiting) % RUNS_AT_ONCE == 0
            if many:
                self._taken.clear()
        if starts:
            hands.run(self._send)
        if many:
            self._taken.wait(YIELD_SECONDS)
        return await told

    def _send(self) -> None:
        while True:
            with self._lock:
                batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                if not batch:
                    self._busy = False
                    return
            self._taken.set()
            try:
                answers = self._put_many([one.run for one in batch])
            except Exception as error:
                answers = [error] * len(batch)
            by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Holder], Holder | Exception]]] = {}
            for one, answer in zip(batch, answers, strict=True):
                by_loop.setdefault(one.loop, []).append((one.told, answer))
            for loop, told in by_loop.items():
                try:
                    loop.call_soon_threadsafe(_tell, told)
                except RuntimeError:
                    pass  # the loop was closed: nobody waits


def _tell(answers: Sequence[tuple[asyncio.Future[Holder], Holder | Exception]]) -> None:
    for told, answer in answers:
        if told.done():
            continue  # cancelled
        if isinstance(answer, Exception):
            told.set_exception(answer)
        else:
            told.set_result(answer)
