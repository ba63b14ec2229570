"""The meaning of a run: which job may run when, and what each ending does to the jobs that depend on it.

Pure functions over a `RunState`: no clock, no I/O, no randomness, no values, no handlers. Every executor means what
this module says: the in-memory store is it, other stores re-state it and are tested to be equal.

State and flow. A job waits for its children (``WAITING_CHILDREN``), is released to its queue (``WAITING``, or
``DELAYED`` first), is granted to a worker (``ACTIVE``) and ends in one of four terminal states. A *settle* makes one
job terminal; it is O(1) and puts the job on the list ``later``. The *sweep* applies the edges of settled jobs, first
in first out over settles, each with its whole cascade (list ``cascade``) before the next settle, in chunks that
anyone may continue. An edge counts in its dependent's ``pending`` until it is swept, so nothing that a failure will
fail can start in between.

Failure policies are counters, a pure function of the children's states: each swept edge adds to its dependent's
``pending`` (-1), ``dooms``, ``skips``, ``cancels`` or ``conts``, and `_decide` looks at nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from flows._state import (
    ACTIVE,
    CANCELLED,
    COMPLETED,
    CONTINUE,
    DELAYED,
    FAIL,
    FAILED,
    IGNORE,
    KIND,
    LOST_LIMIT,
    ORDER_ONLY,
    REMOVE,
    SKIPPED,
    WAITING,
    WAITING_CHILDREN,
    Commands,
    Retry,
    RunState,
)


def begin(run: RunState, out: Commands) -> None:
    """Release the jobs that wait for nothing."""
    ready = [job for job, edges in enumerate(run.pending) if not edges]
    if run.delays:
        for job in ready:
            _release(run, job, out)
    else:  # as `_release` does, without a call for each leaf
        for job in ready:
            run.state[job] = WAITING
        out.ready += ready


def grant(run: RunState, jobs: Iterable[int]) -> list[int]:
    """Give waiting jobs to a worker.

    Returns:
        Those that were still waiting; the others were cancelled meanwhile.
    """
    state = run.state
    granted = []
    for job in jobs:
        if state[job] == WAITING:
            state[job] = ACTIVE
            granted.append(job)
    return granted


def wake(run: RunState, job: int, out: Commands) -> None:
    """A delay has passed: the job joins its queue, unless it was cancelled meanwhile."""
    if run.state[job] == DELAYED:
        run.state[job] = WAITING
        out.ready.append(job)


def settle(run: RunState, job: int, end: int, out: Commands) -> None:
    """Make an active job terminal: `end` is one of the four terminal states. Its edges are applied by `sweep`."""
    run.state[job] = end
    run.open -= 1
    run.later.append(job)
    out.ended.append(job)


def complete(run: RunState, jobs: Sequence[int], limit: int, out: Commands) -> bool:
    """Settle active *jobs* as completed, in order, and sweep: one pass, where nothing in the run is amiss.

    Returns:
        Whether edges are left to sweep.
    """
    if run.cascade or run.later or run.sweeping >= 0 or run.cause:
        for job in jobs:
            if run.state[job] == ACTIVE:
                settle(run, job, COMPLETED, out)
        return sweep(run, limit, out)
    state, pending, edges, ordinal, turn = run.state, run.pending, run.edges, run.ordinal, run.turn
    ended, ready, left = out.ended, out.ready, limit
    lists = run.lists
    odd = run.delays or run.gated or lists
    for job in jobs:
        if state[job] != ACTIVE:
            continue  # the same settle twice in one call
        state[job] = COMPLETED
        run.open -= 1
        ended.append(job)
        dependents = edges[job]
        left -= len(dependents)
        if left < 0:
            run.later.append(job)
            continue
        turn += 1
        ordinal[job] = turn
        for dependent in dependents:
            pending[dependent] = open_edges = pending[dependent] - 1
            if not open_edges and state[dependent] == WAITING_CHILDREN:
                if odd:
                    _decide(run, dependent, out)
                else:  # as `_release` does, without the call
                    state[dependent] = WAITING
                    ready.append(dependent)
        if lists:
            out.grow += [one for one in dependents if one in lists and run.begun[one] < lists[one]]
    run.turn = turn
    return sweep(run, limit, out) if run.later or run.cascade else False


def follower(run: RunState, job: int) -> int:
    """The one job that completing the active *job* would release to its queue, if that is all it would do; else -1."""
    dependents = run.edges[job]
    if len(dependents) != 1:
        return -1
    one = dependents[0]
    if (
        run.pending[one] != 1
        or run.state[one] != WAITING_CHILDREN
        or run.state[job] != ACTIVE
        or run.cause
        or run.later
        or run.cancelling
        or run.lists
        or one in run.delays
        or one in run.gated
    ):
        return -1
    return one


def hand_on(run: RunState, job: int, follower: int) -> None:
    """Complete the active *job* and give its `follower` to a worker: as `complete` and `grant` do, in one step."""
    run.state[job] = COMPLETED
    run.state[follower] = ACTIVE
    run.pending[follower] = 0
    run.open -= 1
    run.turn = run.ordinal[job] = run.turn + 1


def retry(run: RunState, job: int, again: Retry, out: Commands) -> bool:
    """An active job's attempt failed: back to its queue after a while, or failed for good when no attempt is left.

    Returns:
        Whether the job will be tried again.
    """
    if again.counted:
        made = run.made[job] = run.made.get(job, 0) + 1
        if made >= run.limits[job]:
            settle(run, job, FAILED, out)
            return False
    return _requeue(run, job, again.after, out)


def release(run: RunState, job: int, out: Commands, after: float = 0.0) -> None:
    """An active job goes back to its queue unrun: a worker drains or has no handler. Costs no attempt."""
    _requeue(run, job, after, out)


def lose(run: RunState, job: int, out: Commands) -> bool:
    """An active job lost its worker. Has a budget of its own: no attempt is spent, but the job fails at the limit.

    Returns:
        Whether the job will be tried again.
    """
    lost = run.lost[job] = run.lost.get(job, 0) + 1
    if lost >= LOST_LIMIT:
        settle(run, job, FAILED, out)
        return False
    return _requeue(run, job, 0.0, out)


def admit(run: RunState, job: int, out: Commands) -> None:
    """The condition of an active job holds: the job goes on to its queue as if released just now."""
    run.gated.discard(job)
    if run.cancelling:
        settle(run, job, CANCELLED, out)
    else:
        _release(run, job, out)


def expand(run: RunState, job: int, items: int, out: Commands) -> None:
    """The active *job* is a list whose items are known: it waits for them, and ends with the last of them."""
    if run.cancelling:
        settle(run, job, CANCELLED, out)
        return
    run.lists[job] = run.pending[job] = items
    run.begun[job] = 0
    if items:
        run.state[job] = WAITING_CHILDREN
        out.grow.append(job)
    else:
        settle(run, job, COMPLETED, out)


def room(run: RunState, job: int, limit: int | None) -> int:
    """How many further items of a list may be stamped out now, when *limit* may be open at once."""
    if run.state[job] != WAITING_CHILDREN:
        return 0  # it has ended early: what has not begun never will
    left = run.lists[job] - run.begun[job]
    return left if limit is None else min(left, limit - (run.pending[job] - left))


def stamp(run: RunState, jobs: Sequence[int], outer: Iterable[tuple[int, int, int]], out: Commands) -> None:
    """Take up *jobs*, which have just been put into the columns for the items of a list.

    Args:
        outer: Edges into them from jobs around the list, as (child, dependent, effect). Those of jobs that have been
            swept count at once; of the others, which are being done again, when they are swept.
    """
    run.open += len(jobs)
    for child, dependent, effect in outer:
        if run.ordinal[child]:
            run.pending[dependent] -= 1
            _count(run, child, dependent, effect)
    take_up(run, jobs, out)


def take_up(run: RunState, jobs: Iterable[int], out: Commands) -> None:
    """Decide about jobs that have come to wait for their children otherwise than by being submitted."""
    for job in jobs:
        if run.state[job] == WAITING_CHILDREN:
            if run.cancelling:
                _end(run, job, CANCELLED, out)
            elif not run.pending[job] or job in run.cause or job in run.lists:
                _decide(run, job, out)


def cancel(run: RunState, out: Commands, jobs: Iterable[int] | None = None) -> None:
    """Cancel the run: what has not started is cancelled, active jobs are told to stop. A second call changes nothing.

    Active jobs end by their own settle: a handler that completes all the same has completed.

    Args:
        jobs: The run's jobs, where not every row of the columns is one.
    """
    if run.cancelling:
        return
    run.cancelling = True
    for job in range(run.size) if jobs is None else jobs:
        state = run.state[job]
        if state < ACTIVE:
            _end(run, job, CANCELLED, out)
        elif state == ACTIVE:
            out.interrupt.append(job)


def sweep(run: RunState, limit: int, out: Commands) -> bool:
    """Apply up to *limit* edges of settled jobs; may be called by anyone, any number of times.

    Returns:
        Whether edges are left.
    """
    edges = run.edges
    while True:
        job = run.sweeping
        if job < 0:
            if run.cascade:
                job = run.cascade.popleft()
            elif run.later:
                job = run.later.popleft()
            else:
                return False
            run.turn += 1
            run.ordinal[job] = run.turn
            run.position = 0
        dependents = edges[job]
        begun = run.position
        if begun or len(dependents) > limit:
            dependents = dependents[begun : begun + limit]
        _apply(run, job, dependents, run.effects.get(job), begun, out)
        limit -= len(dependents)
        run.position = begun + len(dependents)
        if run.position >= len(edges[job]):
            run.sweeping = -1
        else:
            run.sweeping = job
        if limit <= 0 and (run.sweeping >= 0 or run.cascade or run.later):
            return True


def influence(end: int, effect: int) -> str | None:
    """Which counter of the dependent an edge adds to when its child ended in *end*; None: only ``pending`` falls.

    This is the table of failure policies; everything else follows from it.
    """
    kind = effect & KIND
    if end == COMPLETED or kind in (IGNORE, REMOVE):
        return None
    if kind == CONTINUE:
        return "conts"
    if end == FAILED:
        return "dooms" if kind == FAIL else "skips"
    if end == CANCELLED:
        return "cancels"
    return None if effect & ORDER_ONLY else "skips"


def inputs_of(run: RunState, job: int, children: Sequence[int]) -> Iterator[int]:
    """Those of *children* that count for *job*: all of them, or those that had ended when it was released early."""
    cut = run.cut.get(job)
    for child in children:
        if cut is None or 0 < run.ordinal[child] <= cut:
            yield child


def _apply(
    run: RunState, job: int, dependents: Sequence[int], codes: Sequence[int] | None, begun: int, out: Commands
) -> None:
    clean = run.state[job] == COMPLETED and not codes
    for position, dependent in enumerate(dependents, begun):
        run.pending[dependent] -= 1
        if not clean:
            _count(run, job, dependent, codes[position] if codes else FAIL)
        if run.state[dependent] == WAITING_CHILDREN:
            _decide(run, dependent, out)


def _count(run: RunState, child: int, dependent: int, effect: int) -> None:
    """Add what the end of *child* does to *dependent* to its counters."""
    counter = influence(run.state[child], effect)
    if counter is None:
        return
    counts: dict[int, int] = getattr(run, counter)
    counts[dependent] = counts.get(dependent, 0) + 1
    run.cause.setdefault(dependent, child)
    if counter == "dooms" and run.dooms[dependent] == 1:
        run.cause[dependent] = child


def _decide(run: RunState, job: int, out: Commands) -> None:
    """Where a job that waits for its children goes now; most often nowhere."""
    if job in run.dooms:
        _end(run, job, FAILED, out)
    elif job in run.cancels:
        _end(run, job, CANCELLED, out)
    elif run.pending[job]:
        if job in run.lists:
            if run.begun[job] < run.lists[job]:
                out.grow.append(job)
        elif job in run.conts:
            run.cut[job] = run.turn
            _release(run, job, out)
    elif job in run.skips:
        _end(run, job, SKIPPED, out)
    elif job in run.lists:
        _end(run, job, COMPLETED, out)
    else:
        _release(run, job, out)


def _end(run: RunState, job: int, end: int, out: Commands) -> None:
    run.state[job] = end
    run.open -= 1
    run.cascade.append(job)
    out.ended.append(job)


def _release(run: RunState, job: int, out: Commands) -> None:
    if job in run.delays and job not in run.gated:
        run.state[job] = DELAYED
        out.delayed.append((job, run.delays[job]))
    else:
        run.state[job] = WAITING
        out.ready.append(job)


def _requeue(run: RunState, job: int, after: float, out: Commands) -> bool:
    if run.cancelling:
        settle(run, job, CANCELLED, out)
        return False
    if after > 0:
        run.state[job] = DELAYED
        out.delayed.append((job, after))
    else:
        run.state[job] = WAITING
        out.ready.append(job)
    return True
