"""Ids of jobs that were given none: the name, then ``name#2`` and on, by first visit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


def number(names: Sequence[str], visits: Iterable[int]) -> list[str]:
    """Ids by position, where nothing is in the way of a number.

    Args:
        names: Task names by position.
        visits: Positions in the order of first visits.
    """
    ids = [""] * len(names)
    counts: dict[str, int] = {}
    for position in visits:
        name = names[position]
        counts[name] = count = counts.get(name, 0) + 1
        ids[position] = name if count == 1 else f"{name}#{count}"
    return ids


def number_around(names: Sequence[str], visits: Iterable[int], given: Mapping[int, str]) -> list[str]:
    """As `number`, where some ids are given, by position, or a name looks like a number of another."""
    ids = [""] * len(names)
    taken = set(given.values())
    counts: dict[str, int] = {}
    for position in visits:
        job_id = given.get(position)
        if job_id is None:
            name = names[position]
            count = counts.get(name, 0) + 1
            job_id = name if count == 1 else f"{name}#{count}"
            while job_id in taken:
                count += 1
                job_id = f"{name}#{count}"
            taken.add(job_id)
            counts[name] = count
        ids[position] = job_id
    return ids
