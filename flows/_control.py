"""Control jobs: the library's own work within a run, done by whichever worker comes by.

A `when` is judged, and the list of an `each` is looked at, here and not in a store, for values may be anything and
looking at them may run a user's code. Neither spends an attempt, a delay or a place on a queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows._binding import Arguments, Held, Pick
from flows._each import listed
from flows._handlers import lookup_of
from flows._reference import spell
from flows._verbs import End, FailedSettle, Grant, Settle
from flows.errors import DataError, Skip

if TYPE_CHECKING:
    from flows._handlers import Clock


def control(grant: Grant, clock: Clock) -> Settle:
    """Judge the condition of a job that has one, else look at the list that is to be expanded."""
    started_at = clock()
    run, job = grant.run, grant.job
    if run.state.cancelling:
        return Settle(grant, End.CANCELLED, None, started_at, started_at)
    lookup, spot = lookup_of(run, job), f"job {run.plan.ids[job]!r}"
    try:
        if job in run.state.gated:
            for condition in run.conditions[job]:
                if not lookup.resolve(condition):
                    reason = Skip(f"its condition does not hold{_spelled(grant, condition)}")
                    return FailedSettle(grant, End.SKIPPED, reason, started_at, clock())
            return Settle(grant, End.PASSED, None, started_at, clock())
        binding = run.bindings[job]
        assert isinstance(binding, Arguments)
        return Settle(grant, End.EXPANDED, listed(lookup.resolve(binding.kwargs["items"]), spot), started_at, clock())
    except LookupError as error:
        return FailedSettle(grant, End.FAILED, DataError(f"{spot}: {error}"), started_at, clock())
    except Exception as error:  # the truth of a user's value may raise anything
        return FailedSettle(grant, End.FAILED, error, started_at, clock())


def _spelled(grant: Grant, condition: object) -> str:
    if type(condition) is Pick:
        return f": {grant.run.plan.ids[condition.child]}.out{spell(condition.path)}"
    return f": the item's {spell(condition.path)}" if type(condition) is Held and condition.path else ""
