"""Lists, read apart: where stamped jobs stand, and the values of lists that have completed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from executors._stored import Header, Input, Place, gathered
from executors.redis._keys import VALUES
from executors.redis._layout import STAMPED, name_of
from executors.redis._moulds import Known, Mould, known_of, mould_head, place_at
from executors.redis._shard import Shard

_FLAGS, _LIST_ROW = 2, 4
_ITEMS, _BEGUN = 7, 8


class Records(NamedTuple):
    """How the reading of lists reads jobs."""

    records: Callable[[Shard, str, Sequence[int]], tuple[list[Any], dict[int, Any]]]
    ends: Callable[[Shard, str, Sequence[int]], list[Input]]


def knowns_of(shard: Shard, run_id: str, lists: Iterable[int]) -> dict[int, Known]:
    """What is kept of lists that have been expanded."""
    jobs = list(dict.fromkeys(lists))
    if not jobs:
        return {}
    found = shard.server.call("HMGET", shard.keys.run(run_id, "l"), *map(name_of, jobs))
    return {job: known_of(packed) for job, packed in zip(jobs, found, strict=True) if packed is not None}


def moulds_of(shard: Shard, run_id: str, numbers: Iterable[int]) -> dict[int, Mould]:
    """What is to be known of bodies, by number."""
    wanted = list(dict.fromkeys(numbers))
    if not wanted:
        return {}
    found = shard.server.call("HMGET", shard.keys.run(run_id), *[f"body:{number}" for number in wanted])
    return {number: mould_head(packed) for number, packed in zip(wanted, found, strict=True)}


def places_of(shard: Shard, run_id: str, jobs: Sequence[int], read: Records) -> dict[int, tuple[Place, ...]]:
    """Where jobs stand: for each the lists around it, the outermost first; nothing for those that were not stamped."""
    chains: dict[int, list[tuple[int, int]]] = {job: [] for job in jobs}
    level = {job: job for job in jobs}
    knowns: dict[int, Known] = {}
    while level:
        rows = list(dict.fromkeys(level.values()))
        records, _ = read.records(shard, run_id, rows)
        above = {row: rec[_LIST_ROW] for row, rec in zip(rows, records, strict=True) if rec[_FLAGS] & STAMPED}
        level = {job: row for job, row in level.items() if row in above}
        for job, row in level.items():
            chains[job].append((above[row], row))
        knowns |= knowns_of(shard, run_id, [one for one in above.values() if one not in knowns])
        level = {job: above[row] for job, row in level.items()}
    moulds = moulds_of(shard, run_id, [known.body for known in knowns.values()])
    sizes = {job: moulds[known.body].size for job, known in knowns.items()}
    bases = {(job, row): knowns[job].spot_of(row, sizes[job])[1] for chain in chains.values() for job, row in chain}
    items = _items(shard, run_id, list(dict.fromkeys(bases.values())))
    return {
        job: tuple([place_at(one, knowns[one], row, sizes[one], items[bases[one, row]]) for one, row in chain[::-1]])
        for job, chain in chains.items()
    }


def value_of(shard: Shard, run_id: str, job: int, extra: Sequence[Any] | None, read: Records) -> bytes:
    """The value of a list that has completed."""
    known = knowns_of(shard, run_id, [job])[job]
    mould = moulds_of(shard, run_id, [known.body])[known.body]
    items = 0 if extra is None else max(0, min(extra[_ITEMS], extra[_BEGUN]))
    roots = [known.base_of(position, mould.size) + mould.root for position in range(items)]
    said = shard.server.call("HGET", shard.keys.run(run_id), "reason") or b""

    def ends() -> Iterator[Input]:
        for first in range(0, len(roots), 2000):
            yield from read.ends(shard, run_id, roots[first : first + 2000])

    label: list[tuple[str, str]] = []

    def id_of(row: int) -> str:
        if not label:
            header = Header(shard.server.call("HGET", shard.keys.run(run_id), "header"))
            around = "".join(f"[{one.position}]" for one in places_of(shard, run_id, [job], read)[job])
            label.append((header.bodies[known.body].rows[mould.root][0], around))
        return f"{label[0][0]}{label[0][1]}[{known.spot_of(row, mould.size)[0]}]"

    return gathered(ends(), drops=mould.drops, id_of=id_of, reason=said.decode())


def _items(shard: Shard, run_id: str, bases: Sequence[int]) -> dict[int, bytes]:
    asked = [("HGET", shard.keys.run(run_id, f"i:{base // VALUES}"), name_of(base)) for base in bases]
    found = shard.server.calls(asked) if asked else []
    for one in found:
        if isinstance(one, Exception):
            raise one
    return dict(zip(bases, found, strict=True))
