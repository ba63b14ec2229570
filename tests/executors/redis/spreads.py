"""Three shards on one server, without nodes that die and workers that run: what a worker's store does, step by step."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from typing import Any

import flows
from executors._stored import writing
from executors.redis._connection import Link
from executors.redis._keys import Keys
from executors.redis._shard import Shard
from executors.redis._spread import SpreadStore
from executors.redis._store import RedisStore
from executors.redis._url import parse
from executors.redis._waiting import Hub
from flows._handlers import perform
from flows._verbs import Grant, Want
from flows.errors import UnavailableError
from tests.executors.redis.servers import Server
from tests.executors.shelf import inside

SHARDS = 3
QUEUE = "spread"
names = itertools.count(1)


@flows.task(name="spread-double", queue=QUEUE)
def double(x: int) -> int:
    return 2 * x


@flows.task(name="spread-total", queue=QUEUE)
def total(*numbers: int) -> int:
    return sum(numbers)


def doubled(count: int) -> Any:
    return total(*[double(number).out for number in range(count)])


class Spread:
    """Three shards on one server, and a worker of all of them."""

    def __init__(self, there: Server) -> None:
        address = dataclasses.replace(parse(there.url), namespace="spread", shards=SHARDS)
        self.links = [Link(address, number) for number in range(SHARDS)]
        shards = [Shard(link, Keys("spread", number)) for number, link in enumerate(self.links)]
        self.stores = [RedisStore(shard.server, "spread", shard=shard) for shard in shards]  # type: ignore[arg-type]
        stops = [Hub(shard.server, shard.keys.of("stops")) for shard in shards]  # type: ignore[arg-type]
        self.store = SpreadStore(self.links, stops, lease_seconds=30.0)
        self.granted: Counter[tuple[str, int]] = Counter()
        self.perform = inside(writing(perform))
        self.seq, self.loop = 0, f"loop-{next(names)}"

    def round(self, grants: list[Grant], limit: int) -> list[Grant]:
        """Do what is held, and claim, however often that must be said."""
        settles = [self.perform(grant, self.store.clock) for grant in grants]
        self.seq += 1
        want = Want(limit, queues=frozenset((QUEUE, "flows:control")))
        while True:
            try:
                reply = self.store.exchange(self.loop, self.seq, settles, want, "w")
                break
            except UnavailableError:
                continue
        assert reply is self.store.exchange(self.loop, self.seq, settles, want, "w")
        assert not reply.refused
        self.granted.update((grant.run.id, grant.job) for grant in reply.grants)
        return list(reply.grants)

    def close(self) -> None:
        self.store.close_loop(self.loop)
        for link in self.links:
            link.close()
