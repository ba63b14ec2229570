"""Assertions on what a simulation came to, each with a message to act on: about the handlers, and what they promise.

Each goes through the attempts of a trace, and through a ledger where effects are meant. The first thing that is wrong
is raised with what happened, what to do, and the literal that makes it happen again.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Final, NoReturn, ParamSpec

from flows._backoff import Backoff
from flows._duration import Duration, seconds
from flows._names import nearest, shown
from flows._run import Run
from flows._state import LOST_LIMIT
from flows.errors import DefinitionError
from flows.testing._ledger import EffectLedger
from flows.testing._step import STOPPED
from flows.testing._trace import Trace, literal
from flows.testing._virtual_time import HIRED_AFTER

if TYPE_CHECKING:
    from flows._opts import Settings
    from flows.testing._attempts import SimulatedAttempt
    from flows.testing._ledger import Effect
    from flows.testing._step import Step

P = ParamSpec("P")

OURS: Final = "report it: this is the library's to keep, whatever handlers do"
"""What is to be done where a promise of the library itself is broken."""

SLACK_SECONDS: Final = 1e-6
NOTICE_SECONDS: Final = 10.0
"""How long a worker may take to notice that its run was cancelled."""

_HANGS: Final = ("hangs", "is cut off")


def assertion(check: Callable[Concatenate[Trace[Any], P], None]) -> Callable[Concatenate[Trace[Any], P], None]:
    """What asserts something of a trace: refuses whatever is none, rather than to stumble over it."""

    @functools.wraps(check)
    def checked(trace: Trace[Any], /, *args: P.args, **options: P.kwargs) -> None:
        __tracebackhide__ = True
        if not isinstance(trace, Trace):
            hint = "; give it the trace itself, and not its run" if isinstance(trace, Run) else ""
            raise DefinitionError(f"{check.__name__} takes the trace that simulate() returns, not {shown(trace)}{hint}")
        try:
            check(trace, *args, **options)
        except AssertionError as error:
            raise error.with_traceback(None) from None  # the way here tells nobody anything

    return checked


def check_ledger(ledger: object, spot: str) -> EffectLedger:
    """Refuse what is no ledger.

    Raises:
        DefinitionError: It is none.
    """
    if not isinstance(ledger, EffectLedger):
        raise DefinitionError(f"{spot} takes the EffectLedger that handlers have recorded in, not {shown(ledger)}")
    return ledger


def broken(trace: Trace[Any], what: str, facts: Sequence[object], remedy: str) -> NoReturn:
    """Raise an `AssertionError` that says what is wrong, what happened, what to do, and how to see it again."""
    lines = [what, *(f"  {fact}" for fact in facts), f"To do: {remedy}", "", trace.timeline(), ""]
    again = ", ".join(filter(None, ("flow", literal(trace.replay))))
    lines.append(f"The same again: simulate({again})")
    raise AssertionError("\n".join(lines))


def settings_of(trace: Trace[Any]) -> dict[str, Settings]:
    """Job id -> the job's options."""
    plan = trace._record.plan
    return dict(zip(plan.ids, plan.settings, strict=True))


def check_jobs(trace: Trace[Any], jobs: object, spot: str) -> None:
    """Refuse ids of jobs that the flow does not have: nothing would be asserted of them.

    Raises:
        DefinitionError: There is no such job, or *jobs* are no ids.
    """
    if isinstance(jobs, str) or not isinstance(jobs, Collection):
        raise DefinitionError(f"{spot} takes ids of jobs, as ['charge'], not {shown(jobs)}")
    for job in jobs:
        if job not in trace.states:
            near = nearest(str(job), list(trace.states)) or list(trace.states)[:20]
            raise DefinitionError(f"{spot}: the run has no job {shown(job)}; there are {', '.join(near)}")


def attempts_by_job(trace: Trace[Any]) -> dict[str, list[SimulatedAttempt]]:
    """Job id -> its attempts, in order."""
    found: dict[str, list[SimulatedAttempt]] = {}
    for attempt in trace.attempts:
        found.setdefault(attempt.job, []).append(attempt)
    return found


_TWICE: Final = (
    "hand flows.current().idempotency_key on to the outside API, which then does the effect once "
    "(EffectLedger(idempotent=True) stands for such an API; record(..., key=) hands the key on)"
)
_NOT_CLEARED: Final = "clear() the ledger before each simulation: it holds effects of others, too"


def _is_of_one(trace: Trace[Any], effects: Iterable[Effect]) -> bool:
    """Whether *effects* are of this simulation, as far as one knows."""
    return {effect.simulation for effect in effects} <= {trace._world.number, None}


@assertion
def effects_exactly_once(trace: Trace[Any], ledger: EffectLedger, jobs: Collection[str] | None = None) -> None:
    """Each job's effect was done at most once, and exactly once where the job completed.

    Args:
        trace: The simulation.
        ledger: What its handlers told of their effects; empty before the simulation.
        jobs: Ids of the jobs that must have had an effect if they completed; left out, all those of a task of which
            any job had one.

    Raises:
        AssertionError: An effect was done twice, or not at all.
        DefinitionError: There is no such job.
    """
    check_ledger(ledger, "effects_exactly_once")
    if jobs is not None:
        check_jobs(trace, jobs, "effects_exactly_once jobs=")
    done: dict[tuple[str, str], list[Effect]] = {}
    for effect in ledger.effects:
        if effect.applied:
            done.setdefault((effect.job or effect.key or "", effect.name), []).append(effect)
    for (job, name), effects in done.items():
        if len(effects) > 1:
            remedy = _TWICE if _is_of_one(trace, effects) else _NOT_CLEARED
            broken(trace, f"effects_exactly_once: job {job!r} did {name!r} {len(effects)} times", effects, remedy)
    without_effect(trace, ledger, jobs, "effects_exactly_once")


def without_effect(trace: Trace[Any], ledger: EffectLedger, jobs: Collection[str] | None, check: str) -> None:
    """Raise where a job completed without an effect, in the name of *check*.

    Args:
        jobs: Those that must have had one; None: all those of a task of which any job had one.
    """
    __tracebackhide__ = True
    task_of = dict(zip(trace._record.plan.ids, trace._record.plan.names, strict=True))
    tasks = {task_of.get(effect.job or "") for effect in ledger.effects}
    replayed = {attempt.job for attempt in trace.attempts if attempt.outcome == "replayed"}
    affected = {effect.job for effect in ledger.effects}
    plan = trace._record.plan
    lists = {plan.ids[job] for job in plan.lists}  # bear the name of their items' task, and have no handler
    for job, state in trace.states.items():
        expected = job in jobs if jobs is not None else task_of[job] in tasks
        if expected and state == "completed" and job not in replayed | affected | lists:
            broken(
                trace,
                f"{check}: job {job!r} completed without its effect",
                [attempt for attempt in trace.attempts if attempt.job == job],
                "look for an error that the handler swallows; if it rightly does nothing, name those that must: jobs=",
            )


@assertion
def idempotency_keys_stable(trace: Trace[Any], ledger: EffectLedger | None = None) -> None:
    """Each job has one key, whatever happens to it, and no other job has the same; effects are done under one key.

    Args:
        trace: The simulation.
        ledger: What its handlers told of their effects: then a job's effect must bear the same key in each attempt,
            and no other job's key.

    Raises:
        AssertionError: A key has changed, is missing, or is shared.
    """
    if ledger is not None:
        check_ledger(ledger, "idempotency_keys_stable")
    settings = settings_of(trace)
    owners: dict[str, str] = {}
    for attempt in trace.attempts:
        owner = owners.setdefault(attempt.key, attempt.job)
        if owner != attempt.job and settings[attempt.job].idempotency_key is None:
            facts = [attempt for attempt in trace.attempts if attempt.job in (owner, attempt.job)]
            broken(trace, f"idempotency_keys_stable: jobs {owner!r} and {attempt.job!r} share a key", facts, OURS)
    seen: dict[tuple[str | None, str], Effect] = {}
    users: dict[tuple[str, str], Effect] = {}
    for effect in ledger.effects if ledger is not None else ():
        first = seen.setdefault((effect.job, effect.name), effect)
        if first.key != effect.key or (effect.key is None and first is not effect):
            how = "more than once, and without a key" if effect.key is None else "under changing keys"
            what = f"idempotency_keys_stable: job {effect.job!r} does {effect.name!r} {how}"
            remedy = "use flows.current().idempotency_key; a key made of the attempt, the time or chance changes"
            remedy = remedy if _is_of_one(trace, [first, effect]) else _NOT_CLEARED
            broken(trace, what, [first, effect], remedy)
        user = users.setdefault((effect.name, effect.key), effect) if effect.key is not None else effect
        if user.job != effect.job and settings[effect.job or user.job or ""].idempotency_key is None:
            what = f"idempotency_keys_stable: jobs {user.job!r} and {effect.job!r} do {effect.name!r} under one key"
            remedy = "make the key of flows.current().idempotency_key, which names the job; else one effect is lost"
            broken(trace, what, [user, effect], remedy)


@assertion
def always_ends(trace: Trace[Any], within: Duration | None = None) -> None:
    """The run has ended.

    Args:
        trace: The simulation.
        within: How long it may have taken, by the simulation's clock.

    Raises:
        AssertionError: It has not, or not in time.
    """
    if trace.run.state == "running":
        remedy = "give handlers that may wait for ever a timeout=, or the run one"
        stopped = [step for step in trace.steps if step.what == STOPPED]
        broken(trace, "always_ends: the run has not ended", [*trace.run.explain().splitlines(), *stopped], remedy)
    limit = None if within is None else seconds(within, "always_ends within")
    if limit is not None and trace.seconds > limit:
        what = f"always_ends: the run took {trace.seconds:g} s, and not at most {limit:g} s"
        broken(trace, what, (), "look at the waits between attempts below; a cap= of the backoff limits them")


@assertion
def attempts_within_limits(trace: Trace[Any]) -> None:
    """No job was tried more often than its options allow; attempts that lost their worker do not count.

    Raises:
        AssertionError: One was.
    """
    settings = settings_of(trace)
    for job, attempts in attempts_by_job(trace).items():
        if max(attempt.number for attempt in attempts) > settings[job].attempts:
            what = f"attempts_within_limits: job {job!r} has attempts={settings[job].attempts} and was tried more often"
            broken(trace, what, attempts, OURS)


@assertion
def starts_bounded(trace: Trace[Any]) -> None:
    """No job was started more often than it has attempts, may lose workers, and was given back.

    Raises:
        AssertionError: One was.
    """
    settings = settings_of(trace)
    given_back = Counter(event.job for event in trace.events if event.kind == "released")
    for job, attempts in attempts_by_job(trace).items():
        limit = settings[job].attempts + LOST_LIMIT + given_back[job]
        if len(attempts) > limit:
            what = f"starts_bounded: job {job!r} was started {len(attempts)} times, at most {limit} are promised"
            broken(trace, what, attempts, OURS)


@assertion
def backoff_respected(trace: Trace[Any], job: str | None = None, waits: Sequence[Duration] | None = None) -> None:
    """No attempt began before the wait was over that the one before had asked for, and that was what the options say.

    Args:
        trace: The simulation.
        job: Only this job.
        waits: What its waits must have been, in order; without jitter.

    Raises:
        AssertionError: A wait was cut short, or is not what was declared.
        DefinitionError: There is no such job, or it is not said whose the *waits* are.
    """
    if job is not None:
        check_jobs(trace, [job], "backoff_respected job=")
    elif waits is not None:
        raise DefinitionError("backoff_respected waits= are those of one job: name it with job=")
    settings = settings_of(trace)
    for name, attempts in attempts_by_job(trace).items():
        if job not in (None, name):
            continue
        failed = [one for one in attempts if one.outcome == "retrying" and one.backoff is not None]
        for one in failed:
            following = next((two for two in attempts if two.number == one.number + 1), None)
            wait = one.backoff or 0.0
            if following is not None and following.store_began_at < one.store_settled_at + wait - SLACK_SECONDS:
                what = f"backoff_respected: job {name!r} was tried again before its wait of {wait:g} s was over"
                broken(trace, what, [one, following], OURS)
            backoff = settings[name].backoff
            if isinstance(backoff, Backoff) and backoff.kind != "custom" and not one.error.startswith("RetryAfter"):
                declared = backoff.delay(one.number, key=one.key)
                if settings[name].retry is None and abs(declared - wait) > SLACK_SECONDS:
                    number = one.number
                    what = (
                        f"backoff_respected: job {name!r} waited {wait:g} s after attempt {number}, not {declared:g} s"
                    )
                    broken(trace, what, [one], OURS)
        if waits is not None and job == name:
            wanted = [seconds(each, "backoff_respected waits") for each in waits]
            got = [one.backoff or 0.0 for one in failed]
            if len(got) != len(wanted) or any(abs(a - b) > SLACK_SECONDS for a, b in zip(got, wanted, strict=True)):
                what = f"backoff_respected: job {name!r} waited {got}, and not {wanted} seconds"
                broken(trace, what, failed, f"compare its backoff: {settings[name].backoff!r}")


@assertion
def deadline_respected(trace: Trace[Any]) -> None:
    """A run with a deadline started nothing after it, and a job with a timeout was not waited for beyond it.

    It is workers that act upon both. Where faults take them away, the bounds are wider by what that may cost: the
    periods of a lease and of a rescue, and the time for which workers hang, the store is away and calls are late.

    Raises:
        AssertionError: One was.
    """
    record, settings = trace._record, settings_of(trace)
    away = _away(trace)
    for attempt in trace.attempts:
        late = (
            record.deadline_at is not None
            and attempt.called
            and attempt.store_began_at > record.deadline_at + NOTICE_SECONDS + away
        )
        if late:
            what = f"deadline_respected: job {attempt.job!r} began after the run's deadline"
            broken(trace, what, [attempt], OURS)
        timeout = settings[attempt.job].timeout
        if timeout is None or attempt.ended_at is None or attempt.outcome != "completed":
            continue
        took = attempt.ended_at - attempt.began_at
        if took > timeout + SLACK_SECONDS + _hung(trace, attempt):
            what = (
                f"deadline_respected: job {attempt.job!r} has a timeout of {timeout:g} s and completed after {took:g} s"
            )
            broken(trace, what, [attempt], "look for a handler that catches asyncio.CancelledError and goes on")


def _away(trace: Trace[Any]) -> float:
    """How much later than it should a worker may act on a deadline, for all that strikes in this simulation."""
    lease, faults = trace._world.lease, trace._world.mishaps.faults
    gone = sum(1 for step in trace.steps if step.what in ("crashes", "leaves", "joins"))
    lost = [fault for fault in faults if fault.verb in ("rescue", "exchange")]
    hung = sum(_length(step) for step in trace.steps if step.what in _HANGS)
    stood = sum(fault.seconds or 0.0 for fault in faults if fault.kind == "store_restart")
    jumps = sum(abs(fault.seconds or 0.0) for fault in faults if fault.kind == "clock_step")
    late = sum((fault.seconds or 0.0) + lease * (fault.times or 1) for fault in lost)
    rescued = (lease + lease / 3 + max(HIRED_AFTER)) * min(gone, 1) + (lease / 3 + max(HIRED_AFTER)) * gone
    return hung + stood + jumps + late + rescued


def _hung(trace: Trace[Any], attempt: SimulatedAttempt) -> float:
    """For how long the worker of *attempt* hung during it: meanwhile it cannot see that a time is over."""
    end = math.inf if attempt.ended_at is None else attempt.ended_at
    steps = [step for step in trace.steps if step.worker == attempt.worker and step.what in _HANGS]
    return sum(_length(step) for step in steps if step.at + _length(step) >= attempt.began_at and step.at <= end)


def _length(step: Step) -> float:
    return float(step.detail.removeprefix("for ").removesuffix(" s"))
