"""Keys: the names of what a shard keeps. All of them carry the shard's tag, so that they live in one slot of a cluster.

Scripts make the same names from the one key that is declared to them; see ``lua/``.
"""

from __future__ import annotations

from typing import Final

BUCKET: Final = 512
"""Jobs of a run that share a key: rows and columns come in buckets, so that none is large."""

VALUES: Final = 64
"""Jobs whose results share a hash, and rows whose items do: small hashes are searched from their beginning."""


class Keys:
    """The keys of one shard of a namespace.

    Args:
        namespace: What sets one application's runs apart from another's.
        shard: Its number.

    Attributes:
        meta: The shard's own hash: clock shift, fences, turns. The one key that scripts are called with.
    """

    __slots__ = ("_prefix", "meta")

    def __init__(self, namespace: str, shard: int = 0) -> None:
        if not namespace or {"{", "}"} & set(namespace):
            raise ValueError(f"a namespace cannot be {namespace!r}: braces have a meaning in keys")
        self._prefix = f"{{{namespace}:{shard}}}:"
        self.meta = self._prefix + "meta"

    def of(self, name: str) -> str:
        """A key of the shard: ``open``, ``runs``, ``retire``, ``events`` ..."""
        return self._prefix + name

    def run(self, run_id: str, part: str = "") -> str:
        """The hash of a run, or what belongs to it."""
        return f"{self._prefix}r:{run_id}:{part}" if part else f"{self._prefix}r:{run_id}"

    def lane(self, run_id: str, lane: str) -> str:
        """The waiting jobs of a run in one queue at one priority."""
        return f"{self._prefix}j:{run_id}:{lane}"

    def staged(self, stage: str, part: str) -> str:
        """What belongs to a run that is being submitted."""
        return f"{self._prefix}s:{stage}:{part}"

    def key(self, key: str) -> str:
        """Who has a run's key."""
        return f"{self._prefix}k:{key}"

    def queue(self, queue: str, part: str) -> str:
        """What belongs to a queue: ``ring``, ``due``, ``leases``, ``suspects``, ``wake``."""
        return f"{self._prefix}q:{queue}:{part}"
