"""Assertions on what a simulation came to: about the run, its jobs and their leases, as any executor must keep them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from flows._state import CONTINUE, FAIL, IGNORE, KIND, ORDER_ONLY, REMOVE, SKIP
from flows.testing._checks import (
    OURS,
    always_ends,
    assertion,
    attempts_by_job,
    attempts_within_limits,
    backoff_respected,
    broken,
    check_ledger,
    deadline_respected,
    effects_exactly_once,
    idempotency_keys_stable,
    starts_bounded,
)
from flows.testing._checks_of_traces import parent_sees_all_children

if TYPE_CHECKING:
    from flows.testing._ledger import EffectLedger
    from flows.testing._trace import Trace

ENDS: Final = ("completed", "failed", "skipped", "cancelled")

_SAYS: Final[dict[str, dict[int, str]]] = {
    "completed": {},
    "failed": {FAIL: "failed", SKIP: "skipped", CONTINUE: "go"},
    "skipped": {FAIL: "skipped", SKIP: "skipped", CONTINUE: "go"},
    "cancelled": {FAIL: "cancelled", SKIP: "cancelled", CONTINUE: "go"},
}
"""How a job ended -> policy -> what that makes of its dependent; left out: nothing."""


@assertion
def children_before_parents(trace: Trace[Any]) -> None:
    """No job began before all that it depends on had ended, unless a dependency that says so released it early.

    Raises:
        AssertionError: One did.
    """
    ended_at = {event.job: place for place, event in enumerate(trace.events) if event.kind in ENDS}
    into = _edges_into(trace)
    never = len(trace.events)
    for place, event in enumerate(trace.events):
        if event.kind != "started" or event.job is None:
            continue
        open_ones = [child for child, _ in into[event.job] if ended_at.get(child, never) > place]
        early = any(
            _says(trace, child, effect) == "go" and ended_at.get(child, never) < place
            for child, effect in into[event.job]
        )
        if open_ones and not early:
            what = f"children_before_parents: job {event.job!r} began before {', '.join(open_ones)} had ended"
            broken(trace, what, [event], OURS)


@assertion
def committed_once(trace: Trace[Any]) -> None:
    """Each job has ended once, and one attempt at most was taken for its result.

    Raises:
        AssertionError: One has not.
    """
    ends = Counter(event.job for event in trace.events if event.kind in ENDS)
    for job, times in ends.items():
        if times > 1:
            facts = [event for event in trace.events if event.job == job]
            broken(trace, f"committed_once: job {job!r} ended {times} times", facts, OURS)
    for job, attempts in attempts_by_job(trace).items():
        taken = [one for one in attempts if one.outcome == "completed" and one.settled_at is not None]
        if len(taken) > 1:
            broken(trace, f"committed_once: {len(taken)} results of job {job!r} were taken", attempts, OURS)


@assertion
def released_once(trace: Trace[Any]) -> None:
    """Each job came to its queue once; each further start had a cause: a retry, a lost worker, a claim given back.

    Raises:
        AssertionError: One was started without a cause.
    """
    kinds = Counter((event.job, event.kind) for event in trace.events)
    for job in trace.states:
        causes = 1 + sum(kinds[job, kind] for kind in ("retrying", "lost", "released"))
        if kinds[job, "started"] > causes:
            facts = [event for event in trace.events if event.job == job]
            broken(trace, f"released_once: job {job!r} was started without a cause", facts, OURS)


@assertion
def newest_lease_wins(trace: Trace[Any]) -> None:
    """No two leases of a job have the same fence, and what the newest one came to is what counts.

    Raises:
        AssertionError: An older one was heard.
    """
    for job, attempts in attempts_by_job(trace).items():
        fences = [attempt.fence for attempt in attempts]
        if len(fences) != len(set(fences)):
            broken(trace, f"newest_lease_wins: the leases of job {job!r} have the fences {fences}", attempts, OURS)
        newest = max(fences)
        late = [one for one in attempts if one.outcome == "completed" and one.settled_at and one.fence < newest]
        if late:
            broken(trace, f"newest_lease_wins: an older attempt of job {job!r} was heard", attempts, OURS)


@assertion
def no_orphans(trace: Trace[Any]) -> None:
    """When the run had ended, no job was left open, and none was started after that.

    Raises:
        AssertionError: One was.
    """
    if trace.run.state == "running":
        return
    left = {job: state for job, state in trace.states.items() if state not in ENDS}
    if left:
        facts = [f"{job} is {state}" for job, state in left.items()]
        broken(trace, "no_orphans: the run has ended, and jobs are open", facts, OURS)
    end = next((place for place, event in enumerate(trace.events) if event.kind == "ended"), len(trace.events))
    after = [event for event in trace.events[end:] if event.kind == "started"]
    if after:
        broken(trace, "no_orphans: jobs were started after the run had ended", after, OURS)


@assertion
def cancelled_jobs_never_start(trace: Trace[Any]) -> None:
    """No job was started after it had ended, cancelled ones above all.

    Raises:
        AssertionError: One was.
    """
    ended: set[str | None] = set()
    for event in trace.events:
        if event.kind == "started" and event.job in ended:
            facts = [each for each in trace.events if each.job == event.job]
            broken(trace, f"cancelled_jobs_never_start: job {event.job!r} was started after it had ended", facts, OURS)
        if event.kind in ENDS:
            ended.add(event.job)


@assertion
def failure_policy_respected(trace: Trace[Any]) -> None:
    """What became of jobs that never started is what the policies of those before them say, and none other started.

    Raises:
        AssertionError: A job started that a failure should have stopped, or the other way round.
    """
    if trace.run.state == "running":
        return
    # A list ends as its items say, also after it was expanded: it has no attempt to be stopped.
    started = {event.job for event in trace.events if event.kind in ("started", "replayed")}
    cancelled = trace._record.state.cancelling
    for job, edges in _edges_into(trace).items():
        said = {child: _says(trace, child, effect) for child, effect in edges}
        words = {word for word in said.values() if word}
        state = trace.states[job]
        if job in started:
            wrong = "go" not in words and bool(words)
        else:
            dooms = words & {"failed", "cancelled"} or ({"skipped"} & words if "go" not in words else set())
            wrong = bool(dooms) and state not in dooms and not cancelled
        if wrong:
            facts = [f"{child} {trace.states[child]}: says {word}" for child, word in said.items() if word]
            what = f"failure_policy_respected: job {job!r} {'was started and ' if job in started else ''}is {state}"
            broken(trace, what, facts, OURS)


@assertion
def replays_equal(trace: Trace[Any]) -> None:
    """The same simulation again comes out the same, event for event.

    Handlers are called again; what they keep for themselves between two simulations is the caller's to reset.

    Raises:
        AssertionError: It does not: a handler depends on something that is not in its arguments.
    """
    from flows.testing._simulate import simulate

    other = simulate(trace._plan, **trace.replay)
    for place, (one, two) in enumerate(zip(trace.log, other.log, strict=False)):
        if one != two:
            remedy = "look for chance, the clock, global state or the order of a set in the handlers of jobs near there"
            broken(trace, f"replays_equal: line {place} differs", [f"first: {one}", f"again: {two}"], remedy)
    if len(trace.log) != len(other.log):
        facts = [f"first: {len(trace.log)} lines", f"again: {len(other.log)} lines"]
        broken(trace, "replays_equal: one goes on where the other ends", facts, "look for global state in handlers")


@assertion
def check_all(trace: Trace[Any], ledger: EffectLedger | None = None) -> None:
    """All of the above but `replays_equal`; those about effects where there is a *ledger*.

    Raises:
        AssertionError: One does not hold.
    """
    always_ends(trace)
    for check in (
        *(children_before_parents, committed_once, released_once, newest_lease_wins, no_orphans),
        *(cancelled_jobs_never_start, failure_policy_respected, parent_sees_all_children),
        *(attempts_within_limits, starts_bounded, backoff_respected, deadline_respected),
    ):
        check(trace)
    # What has been done twice is said before why: without any key there is nothing to say of keys.
    if ledger is not None and any(effect.key is None for effect in check_ledger(ledger, "check_all").effects):
        effects_exactly_once(trace, ledger)
    idempotency_keys_stable(trace, ledger)
    if ledger is not None:
        effects_exactly_once(trace, ledger)


def _edges_into(trace: Trace[Any]) -> dict[str, list[tuple[str, int]]]:
    """Job id -> the jobs that it depends on, with the code of each edge."""
    plan = trace._record.plan
    into: dict[str, list[tuple[str, int]]] = {job: [] for job in trace.states}
    for child, dependent, effect in plan.edges():
        if plan.ids[dependent] in into and plan.ids[child] in into:
            into[plan.ids[dependent]].append((plan.ids[child], effect))
    return into


def _says(trace: Trace[Any], child: str, effect: int) -> str:
    """What an edge makes of its dependent: how that ends, ``go`` for an early release, or nothing."""
    state, policy = trace.states[child], effect & KIND
    if policy in (IGNORE, REMOVE) or (state == "skipped" and effect & ORDER_ONLY and policy != CONTINUE):
        return ""
    return _SAYS.get(state, {}).get(policy, "")
