"""Assertions on what handlers make of what goes wrong around them; not every flow means to keep them."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

from flows.errors import DependencyFailedError, JobTimeoutError, LeaseLostError, RunCancelledError
from flows.testing._checks import assertion, broken
from flows.testing._checks_of_runs import _edges_into

if TYPE_CHECKING:
    from flows.testing._trace import Trace

_OURS: Final = (DependencyFailedError, JobTimeoutError, LeaseLostError, RunCancelledError)
_CALM: Final = ("faults", "schedule", "workers")


@assertion
def fails_only_by_faults(
    trace: Trace[Any], besides: type[BaseException] | Collection[type[BaseException]] = ()
) -> None:
    """No handler raised anything by itself: all errors are those that faults raised, timeouts, or lost leases.

    The end of an attempt whose run was cancelled is none of its own.

    Args:
        trace: The simulation.
        besides: Errors that handlers may raise all the same.

    Raises:
        AssertionError: One did.
    """
    raised = [fault.exc for fault in trace.replay.get("faults", ()) if fault.exc is not None]
    others = (besides,) if isinstance(besides, type) else tuple(besides)
    classes = [exc if isinstance(exc, type) else type(exc) for exc in (*raised, *others, *_OURS)]
    names = {each.__name__ for each in classes}
    for attempt in trace.attempts:
        name = (attempt.error or "").partition(":")[0]
        ended_for_it = name == "CancelledError" and attempt.outcome == "cancelled"
        if name and name not in names and not ended_for_it:
            what = f"fails_only_by_faults: job {attempt.job!r} raised {attempt.error} by itself"
            remedy = (
                "look at what the handler takes for granted: the form of its arguments, a dependency's result, order"
            )
            broken(trace, what, [attempt], f"{remedy}; if it rightly raises it, name the error: besides=")


@assertion
def results_unaffected(trace: Trace[Any]) -> None:
    """What completed has the result that it has where nothing goes wrong; nobody can tell how often it was tried.

    The flow is simulated again without faults, so handlers are called again: call it last, and build the flow anew for
    each example if its handlers keep anything. Jobs that come after one that did not complete are not compared.

    Raises:
        AssertionError: A result depends on attempts, on order, or on what was left by attempts before.
    """
    from flows.testing._simulate import simulate

    calm = simulate(trace._plan, **{name: value for name, value in trace.replay.items() if name not in _CALM})
    mine, theirs = trace.results, calm.results
    below = _edges_into(trace)
    odd = {job for job in below if job not in mine or job not in theirs}
    fresh = odd
    while fresh:
        fresh = {job for job, edges in below.items() if job not in odd and any(child in fresh for child, _ in edges)}
        odd = odd | fresh
    for job in below:
        if job not in odd and mine[job] != theirs[job]:
            what = f"results_unaffected: the result of job {job!r} is another one where nothing goes wrong"
            facts = [f"here:           {mine[job]!r}", f"without faults: {theirs[job]!r}"]
            remedy = "look for state that outlives an attempt, flows.current().attempt, or the order of siblings"
            broken(trace, what, facts, remedy)
