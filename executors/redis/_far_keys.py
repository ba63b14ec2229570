"""Job-level keys over several shards: the record of a key is kept in one of them, whichever shard a job's run is in.

It is the protocol of `flows._shared_results` over two records that no script sees together:

1. the run *vows*: its shard notes which key it is about to reserve, so that what is never filed is freed when the run
   is forgotten;
2. the key's shard is asked who holds it (``hold``), which reserves it where that is free to do, or in place of an owner
   that the caller names: a compare-and-set;
3. of another owner its own shard tells how it stands; who has ended, or is gone, is replaced by 2;
4. a result is filed (``deposit``) by the newest attempt of the owner, and settled in the run's shard after that.

A crash after 1 leaves a vow that frees nothing; after 2, a reservation that the owner's next attempt finds to be its
own, and others wait for or take over as the owner's state says; after the filing, a result that the next attempt takes
instead of doing it again. No step has to be undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from executors._stored import Brief
from executors.redis._part import placed
from executors.redis._shard import Shard
from flows._shared_results import Owner, Shared, owner_of
from flows._state import ACTIVE, STATE_NAMES
from flows._verbs import Grant

FREED_AT_ONCE: Final = 100
"""Vows of runs that are forgotten that one look after a shard takes up."""

_OPEN: Final = STATE_NAMES[ACTIVE]


class FarKeys:
    """The verbs of shared results, over the shards of a namespace."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = shards

    def reserve(self, key: str, digest: str, grant: Grant, own: int, instead_of: Owner | None) -> Shared:
        """As `executors._store.Store.reserve`, for a grant of the shard *own*.

        Raises:
            UnavailableError: One of the shards concerned is away.
        """
        me, home = owner_of(grant), placed(key, len(self._shards))
        if not self._shards[own].run("vow", me.run, f"{home} {me.run} {key}"):
            return Shared(Owner("", ""), digest, False, None, _OPEN)  # its settle will be refused
        run, name, said, done, value, shard, row = self._shards[home].run(
            *("hold", own, me.run, grant.job, me.job, grant.fence, key, digest),
            *(instead_of or ("", "")),
        )
        owner = Owner(run.decode(), name.decode())
        if done or owner == me:
            state: int = ACTIVE
        else:
            state = self._shards[shard].run("stands", owner.run, row)
        return Shared(
            owner, said.decode(), bool(done), value if done else None, None if state < 0 else STATE_NAMES[state]
        )

    def file(self, key: str, grant: Grant, value: bytes) -> bytes:
        """As `executors._store.Store.file`."""
        me, ttl = owner_of(grant), cast("Brief", grant.run).header.options.key_ttl
        home = self._shards[placed(key, len(self._shards))]
        found: bytes | None = home.run("deposit", me.run, me.job, grant.fence, key, value, max(1, int(ttl * 1000)))
        return value if found is None else found

    def free(self, number: int) -> None:
        """Have the keys freed that forgotten runs of a shard had reserved; what a crash leaves is taken up again."""
        shard = self._shards[number]
        vows = shard.server.call("SRANDMEMBER", shard.keys.of("vows"), FREED_AT_ONCE)
        for vow in vows:
            home, run, key = vow.decode().split(" ", 2)
            self._shards[int(home)].run("unhold", run, key)
        if vows:
            shard.server.call("SREM", shard.keys.of("vows"), *vows)
