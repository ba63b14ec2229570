"""Part: one shard of a namespace as its executor has it; and which of several a run is placed in."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable
from typing import Final

from executors._stored import Packed
from executors.redis._connection import Link
from executors.redis._fleet import served_of
from executors.redis._keys import Keys
from executors.redis._limited import Limited, limits_of
from executors.redis._listener import close_idle
from executors.redis._outlook import Outlook
from executors.redis._reading import ServerReader
from executors.redis._shard import Shard
from executors.redis._store import RedisStore
from executors.redis._together import Together
from executors.redis._url import Address
from executors.redis._waiting import Hub
from flows.errors import UnsupportedError

Served = Callable[[Iterable[str]], set[str]]

_ALONE: Final = "has one shard (leave ?shards= out), or several namespaces"


class Part:
    """The way to one shard, and all that goes by it.

    Args:
        served: Which of some queues have a worker, in any shard.
    """

    def __init__(self, address: Address, number: int, served: Served) -> None:
        self.number = number
        self.link = Link(address, number)
        self.store = RedisStore(self.link, address.namespace, shard=Shard(self.link, Keys(address.namespace, number)))
        keys = self.store.shard.keys
        self.ends = Hub(self.link, keys.of("ended"))
        self.stops = Hub(self.link, keys.of("stops"), aloud=False)
        events = Hub(self.link, keys.of("events"))
        self.reader = ServerReader(self.store.shard, events, self.store.clock, self._held_back)
        self.outlook = Outlook(self.reader.look_ahead)
        self.together = Together(self.store.shard.put_many)
        self._served = served

    def is_due(self, run_id: str) -> bool:
        """Whether a run is past its retention: then it is as good as gone, whoever clears it away."""
        due = self.link.call("ZSCORE", self.store.shard.keys.of("retire"), run_id)
        if due is None or float(due) > self.store.clock() * 1_000_000:
            return False
        self.store.shard.retire()
        return True

    def end_overdue(self, run_id: str) -> None:
        """Cancel a run whose deadline has passed, as workers do; for who waits for one that no worker knows of."""
        due = self.link.call("ZSCORE", self.store.shard.keys.of("deadlines"), run_id)
        if due is not None and float(due) <= self.store.clock() * 1_000_000:
            self.store.shard.rescue()

    def close(self) -> None:
        """End the connections. It can still be used, and makes new ones."""
        close_idle(self.link)
        self.link.close()

    def _held_back(self, run: str, job: int, queue: str) -> str | None:
        """What keeps a job of a queue back other than its turn."""
        if not self._served((queue,)):
            return f"no worker serves queue {queue}"
        paused, concurrency, rate = limits_of(self.store.shard).get(queue, (False, None, None))
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


def placed(name: str, shards: int) -> int:
    """The shard of the run of that key, or of that id where it has no key."""
    return zlib.crc32(name.encode()) % shards


def served_in(parts: Iterable[Part]) -> dict[str, list[str]]:
    """The queues that each living worker serves."""
    found: dict[str, list[str]] = {}
    for part in parts:
        found |= served_of(part.store)
    return found


def check_spread(address: Address, run: Packed) -> None:
    """See that a run asks for nothing that one shard cannot know of.

    Raises:
        UnsupportedError: It does: limits of queues.
    """
    check_limits(address, run.limits)


def check_limits(address: Address, limits: Limited) -> None:
    """See that no queue is limited.

    Raises:
        UnsupportedError: One is.
    """
    for queue, (concurrency, rate) in limits.items():
        if concurrency is not None or rate is not None:
            raise UnsupportedError(
                f"{address}: queue {queue!r} has a limit, which {address.shards} shards cannot keep together; a "
                f"namespace with limited queues {_ALONE}"
            )
