"""Names that stay the same: the key of a job's effect, and the fingerprint of a flow."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from flows._binding import Arguments, Held, Pick, Picks
from flows._codec import canonical, jsonable
from flows._reference import follow
from flows._task import call_arguments
from flows.errors import FlowsError, IdempotencyConflictError, ResultExpiredError

if TYPE_CHECKING:
    from flows._plan import Plan


class Named(Protocol):
    """A run by its names."""

    @property
    def id(self) -> str: ...
    @property
    def key(self) -> str | None: ...
    @property
    def plan(self) -> Plan[Any]: ...


def job_key(run: Named, job: int) -> str:
    """The key of a job's effect: the one it was given, else ``"{key or run id}/{job id}"``."""
    given = run.plan.settings[job].idempotency_key
    return given if given is not None else f"{run.key or run.id}/{run.plan.ids[job]}"


def fingerprint(plan: Plan[Any]) -> str:
    """BLAKE2b-256, as hex, over the canonical JSON of one row a job, and of the roots.

    A row: id, task name, policy, data (arguments by parameter name, results as references), and the in-edges as
        (child id, effect). What a list stamps out and what a condition is follow in one that has them.

    Raises:
        DataError: Data that JSON has no form for.
    """
    import hashlib  # OpenSSL takes longer to load than most flows to run

    digest = hashlib.blake2b(digest_size=32)
    plan = plan.origin
    for row in _rows(plan, plan.ids, ()):
        digest.update(canonical(row))
        digest.update(b"\n")
    digest.update(canonical([plan.ids[root] for root in plan.roots]))
    return digest.hexdigest()


def first_difference(theirs: Plan[Any], ours: Plan[Any]) -> str | None:
    """The id of the first job in which two plans of different fingerprints differ; None if only in their roots."""
    theirs, ours = theirs.origin, ours.origin
    ids = itertools.zip_longest(theirs.ids, ours.ids)
    rows = itertools.zip_longest(_rows(theirs, theirs.ids, ()), _rows(ours, ours.ids, ()))
    for (their_id, our_id), (their_row, our_row) in zip(ids, rows, strict=True):
        if their_row != our_row:
            return our_id if our_id is not None else their_id
    return None


def conflict(key: str, run_id: str, fingerprint: str, theirs: Plan[Any] | None, ours: Plan[Any]) -> FlowsError:
    """What is said where a key belongs to the run of another flow.

    Args:
        fingerprint: That flow's.
        theirs: Its plan; None where its run is past its retention.
    """
    job = None if theirs is None else first_difference(theirs, ours)
    return IdempotencyConflictError(
        f"the key {key!r} belongs to run {run_id} of another flow (fingerprint {fingerprint[:16]}, not "
        f"{ours.fingerprint[:16]}" + ("" if job is None else f"; they differ first at job {job!r}") + "); use another "
        "key for other work"
    )


def expired(key: str, run_id: str, seconds: float) -> FlowsError:
    """What is said where the run of a key is past its retention, and the key is taken for some more *seconds*."""
    return ResultExpiredError(
        f"run {run_id} of the key {key!r} has ended and is past its retention, but the key stays taken for another "
        f"{seconds:,.0f} s, so that its work is not done twice; use another key for other work, or keep runs longer "
        "(keep=, keep_failed=, keep_count=)"
    )


def data_of(plan: Plan[Any], job: int, names: Sequence[str] | None = None) -> dict[str, Any]:
    """A job's arguments by parameter name, with ``{"$out": ...}`` in the places that results go to.

    A part that an item of a list does not have is ``{"$item": the item, "path": [...]}``.

    Args:
        names: Ids by child, where the plan is that of a body; else the plan's own.
    """
    binding = plan.bindings[job]
    if type(binding) is tuple:
        binding = Arguments(tuple(Pick(child, (), False) for child in binding), {}, by_name=False)
    assert isinstance(binding, Arguments)
    task = plan.tasks[job]
    named = binding.kwargs if binding.by_name or task is None else call_arguments(task, binding.args, binding.kwargs)
    return {name: _spelled(names or plan.ids, value) for name, value in named.items()}


def _rows(plan: Plan[Any], names: Sequence[str], outer: Sequence[tuple[int, int, int]]) -> Iterator[list[Any]]:
    edges: list[list[tuple[str, int]]] = [[] for _ in plan.ids]
    for child, dependent, effect in (*plan.edges(), *outer):
        edges[dependent].append((names[child], effect))
    for job, job_id in enumerate(plan.ids):
        spot = f"job {job_id!r}: data"
        data = jsonable(data_of(plan, job, names), spot, depth=-1)  # values count, as in a call
        row = [job_id, plan.names[job], plan.settings[job].on_failure, data, sorted(edges[job])]
        if job in plan.conditions:
            row.append({"when": jsonable(_spelled(names, plan.conditions[job]), spot)})
        if job in plan.lists:
            body = plan.lists[job]
            row.append({"each": list(_rows(body.plan, body.names, body.outer)), "root": body.names[body.root]})
        yield row


def _spelled(names: Sequence[str], value: Any) -> Any:
    if type(value) is Pick:
        return {"$out": names[value.child], "path": list(value.path), "optional": value.optional}
    if type(value) is Picks:
        return [_spelled(names, Pick(child, (), False)) for child in value.children]
    if type(value) is Held:
        try:
            return follow(value.item, value.path)
        except Exception:  # the item has no such part, which is why the job failed
            return {"$item": value.item, "path": list(value.path)}
    if isinstance(value, dict):
        return {key: _spelled(names, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_spelled(names, item) for item in value]
    return value
