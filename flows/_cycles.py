"""What is said of jobs that wait for each other in a circle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flows._job import Job
from flows._numbering import number_around
from flows.errors import CycleError


def cycle_error(visited: Sequence[Job[Any]], path: Sequence[Job[Any]], child: Job[Any]) -> CycleError:
    """The error that names a circle.

    Args:
        visited: The jobs met so far, in the order of first visits.
        path: From the job at hand up to a root.
        child: Stands on the path and is needed again.
    """
    place_of = {job: place for place, job in enumerate(visited)}
    given = {place: job.id for job, place in place_of.items() if job.id is not None}
    ids = number_around([job.name for job in visited], range(len(visited)), given)
    names = [ids[place_of[job]] for job in path[: path.index(child) + 1]]
    if len(names) == 1:
        return CycleError(f"job {names[0]!r} depends on itself", cycle=(names[0], names[0]))
    shown = [names[-1], *names] if len(names) <= 20 else [names[-1], *names[:9], "...", *names[-9:]]
    return CycleError(
        f"jobs wait for each other in a circle: {' -> '.join(shown)} (each runs before the next); "
        "take one of these edges out",
        cycle=(names[-1], *names),
    )
