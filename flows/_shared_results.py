"""Results shared under a job-level idempotency key: the one protocol over two records, the same on every store.

The first record is the job's own; the second, `Shared`, stands under the key in the namespace. Before a job with such
a key starts, its worker reserves the key; after the handler has returned, and before the job is settled, it files the
result there. `decide` says what to do about the record that it finds::

    none                              reserve it
    pending, mine                     go: an attempt of this job has begun before
    done, same data                   replay: settle with the filed result, without an attempt
    pending, another's                wait, without a slot, and look again
    pending, another's who is done    take over by compare-and-set: it failed for good, or is gone
    other data                        conflict: the job fails, and is not tried again

A job reserves when it could start and waits for nothing else, and holds one key only: owners never wait for each
other. A crash between filing and settling replays the result; one between the effect and filing runs the job again.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from flows._codec import canonical, jsonable
from flows._handlers import _inputs
from flows._idempotency import data_of
from flows._task import call_arguments
from flows._verbs import Grant
from flows.errors import DefinitionError, IdempotencyConflictError

if TYPE_CHECKING:
    from flows._plan import Plan

WAIT_SECONDS: Final = (0.05, 5.0)
"""First and longest wait for the owner of a key; each is twice the one before."""

_TERMINAL: Final = frozenset(("completed", "failed", "skipped", "cancelled"))


class Owner(NamedTuple):
    """A job in the world: the id of its run, and its own."""

    run: str
    job: str

    def __str__(self) -> str:
        return f"job {self.job!r} of run {self.run}"


class Shared(NamedTuple):
    """What stands under a key.

    Attributes:
        owner: Who reserved it last.
        digest: Of the owner's task name and data.
        done: Whether `value` is the owner's filed result.
        owner_state: The state of the owner's job at that moment; None when the owner is gone.
    """

    owner: Owner
    digest: str
    done: bool
    value: Any
    owner_state: str | None


class Move(Enum):
    """What a worker does with a job whose key it has looked at."""

    GO = auto()
    REPLAY = auto()
    WAIT = auto()
    TAKE_OVER = auto()
    CONFLICT = auto()


def decide(shared: Shared | None, me: Owner, digest: str) -> Move:
    """What the record under a job's key means for it; `Move.TAKE_OVER` of no record is to reserve it."""
    if shared is None:
        return Move.TAKE_OVER
    if shared.done:
        return Move.REPLAY if shared.digest == digest else Move.CONFLICT
    if shared.owner == me:
        return Move.GO
    if shared.owner_state is None or shared.owner_state in _TERMINAL:
        return Move.TAKE_OVER
    return Move.WAIT if shared.digest == digest else Move.CONFLICT


def owner_of(grant: Grant) -> Owner:
    """The job of *grant*."""
    return Owner(grant.run.id, grant.run.plan.ids[grant.job])


def wait_seconds(waited: int) -> float:
    """How long to wait for the owner after having waited *waited* times."""
    first, longest = WAIT_SECONDS
    return min(longest, first * 2.0 ** min(waited, 16))


def digest_of(grant: Grant) -> str:
    """Tells whether two jobs of one key do the same: a hash over the task's name and the arguments of the call.

    What is injected (`Children`, `Context`) is no argument; parameters that were left to their defaults are none.

    Raises:
        DataError: An argument has no JSON form, or a part of a result that it takes is not there.
    """
    import hashlib  # OpenSSL takes longer to load than most flows to run

    run, job = grant.run, grant.job
    handler = run.handlers[job]
    args, kwargs = _inputs(grant, handler)
    named = call_arguments(handler.task, tuple(args), kwargs)
    data = {name: value for name, value in named.items() if name not in handler.parameters.injected}
    plain = jsonable(data, f"job {run.plan.ids[job]!r}: data", depth=-1)
    return hashlib.blake2b(canonical([run.plan.names[job], plain]), digest_size=32).hexdigest()


def check_shared(plan: Plan[Any]) -> None:
    """Refuse jobs that share their results and whose data, as far as it is known, could not be compared.

    Raises:
        DataError: Data has no JSON form; all problems in one error.
    """
    problems: list[DefinitionError] = []
    for job, settings in enumerate(plan.settings):
        if settings.idempotency_key is not None:
            try:
                jsonable(data_of(plan, job), f"job {plan.ids[job]!r}: data", depth=-1)
            except DefinitionError as error:
                problems.append(error)
    if problems:
        raise DefinitionError.of(problems)


def conflict(key: str, shared: Shared, grant: Grant) -> IdempotencyConflictError:
    """Why a job cannot have the key that it was given."""
    return IdempotencyConflictError(
        f"the idempotency key {key!r} of job {grant.run.plan.ids[grant.job]!r} belongs to {shared.owner}, which does "
        "something else: another task, or other data; give work that differs another key",
        job=grant.run.plan.ids[grant.job],
    )
