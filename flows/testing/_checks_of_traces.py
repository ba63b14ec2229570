"""Assertions on what a simulation came to: what happened in which order, who saw what, what the spans tell of it."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Final

from flows import _semconv as names
from flows._names import shown
from flows.errors import DefinitionError
from flows.testing._checks import OURS, assertion, broken, check_jobs, check_ledger, without_effect

if TYPE_CHECKING:
    from flows.testing._attempts import SimulatedAttempt
    from flows.testing._ledger import EffectLedger
    from flows.testing._trace import Trace

_ENDS: Final = ("completed", "failed", "skipped", "cancelled")
_ALWAYS: Final = (
    *(names.SYSTEM, names.OPERATION_NAME, names.OPERATION_TYPE, names.DESTINATION, names.CONVERSATION_ID),
    *(names.CLIENT_ID, names.TASK, names.MESSAGE_ID, names.ATTEMPT),
)
"""What the span of each attempt says."""


@assertion
def order_of(trace: Trace[Any], *jobs: str) -> None:
    """These jobs ran in this order: each had ended before the next one began.

    Args:
        trace: The simulation.
        jobs: Their ids, two at least.

    Raises:
        AssertionError: One began earlier, or did not run at all.
        DefinitionError: There is no such job.
    """
    check_jobs(trace, jobs, "order_of jobs")
    if len(jobs) < 2:
        raise DefinitionError(f"order_of takes the ids of two jobs at least, not {shown(jobs)}")
    began_at: dict[str | None, int] = {}
    ended_at: dict[str | None, int] = {}
    for place, event in enumerate(trace.events):
        if event.kind == "started":
            began_at.setdefault(event.job, place)
        elif event.kind in _ENDS:
            ended_at[event.job] = place
    for before, after in itertools.pairwise(jobs):
        facts = [event for event in trace.events if event.job in (before, after)]
        for job in (before, after):
            if job not in began_at:
                broken(trace, f"order_of: job {job!r} never began", facts, "look for why in run.explain(job)")
        if ended_at.get(before, len(trace.events)) > began_at[after]:
            remedy = f"where {after!r} must wait, hand it the result of {before!r}, or have it run .after() that"
            broken(trace, f"order_of: job {after!r} began before {before!r} had ended", facts, remedy)


@assertion
def parent_sees_all_children(trace: Trace[Any]) -> None:
    """Each handler that takes `Children` was given the result or the failure of every dependency that counts.

    Those are the direct ones, but for order-only edges and for failures whose policy is ``remove``. A job that was
    released early by a dependency that says ``continue`` sees the others only as far as they had ended by then.

    Raises:
        AssertionError: One was kept from it, or it was shown one that had not ended.
    """
    plan = trace._record.plan
    places = {job: place for place, job in enumerate(plan.ids)}
    for attempt in trace.attempts:
        if attempt.saw is None:
            continue
        values, failures = attempt.saw
        place = places[attempt.job]
        optional, cut = plan.optional.get(place, ()), place in trace._record.state.cut
        for child in plan.inputs[place]:
            job, state = plan.ids[child], trace.states[plan.ids[child]]
            if state == "completed":
                missing = job not in values
            else:
                removed = plan.settings[child].on_failure == "remove" and child not in optional
                missing = not removed and job not in failures
            if missing and not cut:
                what = f"parent_sees_all_children: job {attempt.job!r} was not given what {job!r} came to"
                broken(trace, what, [attempt, f"{job} is {state}"], OURS)


@assertion
def effects_at_least_once(trace: Trace[Any], ledger: EffectLedger, jobs: Collection[str] | None = None) -> None:
    """Each job that completed has done its effect, be it more than once: for a world that honours no keys.

    Args:
        trace: The simulation.
        ledger: What its handlers told of their effects; empty before the simulation.
        jobs: Ids of the jobs that must have had an effect if they completed; left out, all those of a task of which
            any job had one.

    Raises:
        AssertionError: An effect was not done at all.
        DefinitionError: There is no such job.
    """
    check_ledger(ledger, "effects_at_least_once")
    if jobs is not None:
        check_jobs(trace, jobs, "effects_at_least_once jobs=")
    without_effect(trace, ledger, jobs, "effects_at_least_once")


@assertion
def spans_complete(trace: Trace[Any], secrets: Collection[str] = ()) -> None:
    """The spans tell what happened, and no data.

    There is one trace under one root. Each handler that was called has a span, with its attributes, an error where it
    failed, and links to the attempt before it and to those whose results it took.

    Args:
        trace: A simulation with ``spans=True``.
        secrets: Texts that must stand in no attribute, as they belong to data.

    Raises:
        AssertionError: Something is missing, or a secret is told.
        DefinitionError: No spans were recorded.
    """
    if not trace.spans:
        raise DefinitionError("spans_complete takes a simulation that has recorded spans: simulate(..., spans=True)")
    if isinstance(secrets, str):
        raise DefinitionError(f"spans_complete secrets= takes a list of texts, not {shown(secrets)}")
    roots = [span for span in trace.spans if span.parent is None]
    if len(roots) != 1 or len({span.context.trace_id for span in trace.spans}) != 1:
        broken(trace, "spans_complete: the spans are of several traces", [span.name for span in trace.spans], OURS)
    by_attempt: dict[tuple[Any, ...], list[Any]] = {}
    for span in trace.spans:
        told = span.attributes
        _check_secrets(trace, span, secrets)
        if span is not roots[0]:
            lacking = [name for name in _ALWAYS if name not in told]
            if lacking or span.parent.span_id != roots[0].context.span_id:
                broken(trace, f"spans_complete: {span.name!r} lacks {lacking or 'the run as parent'}", [told], OURS)
            key = (told[names.MESSAGE_ID], told[names.ATTEMPT], told[names.CLIENT_ID])
            by_attempt.setdefault(key, []).append(span)
    for attempt in trace.attempts:
        if attempt.called:
            _check_span(trace, attempt, by_attempt.get((attempt.job, attempt.number, attempt.worker), ()))
    _check_links(trace, [span for span in trace.spans if span is not roots[0]])


def _check_secrets(trace: Trace[Any], span: Any, secrets: Collection[str]) -> None:
    said = [*span.attributes.values(), *(value for event in span.events for value in event.attributes.values())]
    told = [secret for secret in secrets if any(secret in str(value) for value in said)]
    if told:
        remedy = "keep data out of the texts of errors, and out of names and ids: these are told"
        broken(trace, f"spans_complete: {span.name!r} tells {told[0]!r}", [dict(span.attributes)], remedy)


def _check_span(trace: Trace[Any], attempt: SimulatedAttempt, spans: Sequence[Any]) -> None:
    if not spans:
        broken(trace, f"spans_complete: {attempt!r} has no span", [], OURS)
    wrong = [span for span in spans if span.status.status_code.name == "ERROR" and names.ERROR_TYPE in span.attributes]
    if attempt.outcome == "completed" and len(wrong) == len(spans):
        broken(trace, f"spans_complete: {attempt!r} completed, and its span tells of an error", [attempt], OURS)
    # A handler that is too late runs on here after its attempt has failed: its span is that of the handler.
    timed_out = attempt.error.startswith("JobTimeoutError")
    if attempt.outcome in ("failed", "retrying") and not wrong and not timed_out:
        broken(trace, f"spans_complete: {attempt!r} failed, and its span tells of no error", [attempt], OURS)


def _check_links(trace: Trace[Any], spans: Sequence[Any]) -> None:
    """Of spans in the order in which they ended."""
    plan, record = trace._record.plan, trace._record.state
    places = {job: place for place, job in enumerate(plan.ids)}
    seen: dict[str, set[int]] = {}
    for span in spans:
        job = span.attributes[names.MESSAGE_ID]
        place, linked = places[job], {link.context.span_id for link in span.links}
        named = [plan.ids[child] for child in plan.inputs[place] if child not in plan.lists]
        wanted = [] if place in record.cut or names.DEPENDENCY_COUNT in span.attributes else named
        wanted = [one for one in wanted if trace.states[one] == "completed" and one in seen]
        if span.attributes[names.ATTEMPT] > 1:
            wanted.append(job)
        for one in wanted:
            if not linked & seen.get(one, set()):
                broken(trace, f"spans_complete: a span of {job!r} has no link to one of {one!r}", [span.name], OURS)
        seen.setdefault(job, set()).add(span.context.span_id)
