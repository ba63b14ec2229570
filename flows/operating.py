"""Operator: what an executor may offer to those who keep it running. Runs, queues, dead letters, retention, health.

An executor works without any of it. Those that know more than single runs implement these verbs beside those of
`flows.executor.Executor`; the command line (``flows runs``, ``queues``, ``dead``, ``doctor``) works on them, and so can
a program::

    from flows.operating import operator

    for queue in operator("redis://localhost").queues():
        ...

Results are plain records, as the store saw things at one moment. Listings come in pages: a page's `cursor` asks for the
next one, and None is the end. Whatever is added meanwhile may or may not be seen; nothing is seen twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, cast

from flows._executors import executor_of, masked
from flows.errors import UnsupportedError

if TYPE_CHECKING:
    from datetime import datetime

    from flows._dead_letters import DeadLetter
    from flows.errors import Failed
    from flows.executor import Executor

RunState = Literal["running", "completed", "failed", "cancelled"]
Verb = Literal["runs", "queues", "pause_queue", "resume_queue", "dead_letters", "drop_dead_letters", "prune", "doctor"]

VERBS: dict[str, str] = {
    "runs": "list its runs",
    "queues": "list its queues",
    "pause_queue": "pause a queue",
    "resume_queue": "resume a queue",
    "dead_letters": "list dead letters",
    "drop_dead_letters": "drop dead letters",
    "prune": "remove ended runs",
    "doctor": "examine itself",
}
"""The verbs of an `Operator`, and what each is for."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run in a listing.

    Attributes:
        id, key, flow: Its id, the key it was submitted under if any, and its flow's name.
        state: As `Run.state`.
        submitted_at, ended_at: By the store's clock; `ended_at` is None while it goes on.
        jobs: How many jobs it has, those that lists have brought included.
        open: How many of them have not ended.
        error: Why the root did not complete, where the executor knows that cheaply; None where all went well, too.
    """

    id: str
    key: str | None
    flow: str
    state: RunState
    submitted_at: datetime
    ended_at: datetime | None
    jobs: int
    open: int
    error: Failed | None = None


@dataclass(frozen=True, slots=True)
class RunPage:
    """A page of a listing of runs, newest first.

    Attributes:
        cursor: Asks for the next page; None: this was the last.
    """

    runs: Sequence[RunSummary]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class QueueSummary:
    """How it stands with one queue.

    Attributes:
        waiting, delayed, active: How many jobs are in that state.
        dead: How many dead letters it has; None where they are not counted.
        paused: Whether no job of it is handed out.
        concurrency: Attempts active at once at most, in the whole fleet; None: any number.
        rate: Starts within any so many seconds at most; None: any number.
        workers: How many workers serve it; None where that is not known.
        oldest_waiting_at: When the job that has waited longest became ready, as far as the executor knows; None: it
            does not, or none waits.
    """

    name: str
    waiting: int
    delayed: int
    active: int
    dead: int | None = None
    paused: bool = False
    concurrency: int | None = None
    rate: tuple[int, float] | None = None
    workers: int | None = None
    oldest_waiting_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DeadJob:
    """A dead letter with the run that it is of.

    Attributes:
        run, key, flow: The run's id, its key if any, and its flow's name.
        ended: Whether the run has ended: only then can the job be retried.
    """

    run: str
    key: str | None
    flow: str
    ended: bool
    letter: DeadLetter


@dataclass(frozen=True, slots=True)
class DeadPage:
    """A page of a listing of dead letters, newest first.

    Attributes:
        cursor: Asks for the next page; None: this was the last.
    """

    letters: Sequence[DeadJob]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a call of `Operator.prune` has removed, or would remove.

    Attributes:
        runs: The runs, oldest first.
        more: Whether there are more; the next call removes them.
    """

    runs: Sequence[RunSummary]
    more: bool


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a doctor has looked at.

    Attributes:
        name: What, in a word or two: ``reachable``, ``version``, ``persistence``.
        status: ``warn`` where it works, but not as one would want it in earnest.
        found: What was found, in words, with figures and units.
        remedy: What to do about it; empty where there is nothing to do.
    """

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    remedy: str = ""


class Operator(Protocol):
    """The verbs. Each may be called from any thread, and raises `UnavailableError` where the store is out of reach."""

    def runs(
        self, *, state: RunState | None = None, flow: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> RunPage:
        """The runs of the namespace, newest first.

        Args:
            state: Only runs in this state.
            flow: Only runs of the flow of this name.
            limit: Runs a page at most; a page may have less and not be the last.
            cursor: Where the page before ended.

        Raises:
            DefinitionError: *cursor* is none that a page gave.
        """
        ...

    def queues(self) -> Sequence[QueueSummary]:
        """The queues that have jobs, limits, workers, dead letters or a pause, by name."""
        ...

    def pause_queue(self, queue: str) -> None:
        """Hand out no job of a queue until it is resumed, in the whole namespace. Safe to repeat.

        What a worker has already been given runs on. The pause is the store's: it outlives whoever asked for it, and
        holds for jobs that come later, too.
        """
        ...

    def resume_queue(self, queue: str) -> None:
        """Hand out the jobs of a queue again. Safe to repeat, and where the queue was not paused."""
        ...

    def dead_letters(
        self, *, queue: str | None = None, flow: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> DeadPage:
        """What failed for good by itself and is still kept, over all runs, newest first.

        Args:
            queue: Only those of this queue.
            flow: Only those of runs of the flow of this name.
            limit: Letters a page at most; a page may have less and not be the last.
            cursor: Where the page before ended.

        Raises:
            DefinitionError: *cursor* is none that a page gave.
        """
        ...

    def drop_dead_letters(self, run_id: str, jobs: Sequence[str] | None = None) -> int:
        """Take dead letters of a run off the list: somebody has seen to them. The run stays as it is.

        A job that is retried and fails again is listed again.

        Args:
            jobs: Their ids; None: all of the run.

        Returns:
            How many were taken off. Safe to repeat.

        Raises:
            UnknownRunError: There is no such run.
        """
        ...

    def prune(
        self,
        *,
        older_than: float | None = None,
        state: RunState | None = None,
        flow: str | None = None,
        keep: int | None = None,
        limit: int = 500,
        dry_run: bool = False,
    ) -> Pruned:
        """Remove ended runs before their retention would, oldest first; a key stays taken for its ``key_ttl``.

        Each run is removed whole or not at all. A run that goes on is never removed.

        Args:
            older_than: Only runs that ended so many seconds ago, or longer.
            state: Only runs that ended so.
            flow: Only runs of the flow of this name.
            keep: Spare the newest so many ended runs of each flow.
            limit: Runs removed by a call at most, so that none is long.
            dry_run: Remove nothing, only say what would be removed.
        """
        ...

    def doctor(self) -> Sequence[Check]:
        """Look at what the executor depends on. What is wrong is in the checks; nothing is raised for it."""
        ...


def operator(executor: str | Executor | None = None, *verbs: Verb) -> Operator:
    """The executor as an operator of it.

    Args:
        executor: A URL or an executor; without it ``FLOWS_EXECUTOR``, then ``memory://``.
        *verbs: What is needed of it; without any, all of them.

    Raises:
        UnsupportedError: The executor does not offer some of them; the message names these.
        UnknownExecutorError: The URL or its scheme means nothing here.
    """
    chosen = executor_of(executor)
    missing = [verb for verb in verbs or VERBS if not callable(getattr(chosen, verb, None))]
    if missing:
        named = masked(executor) if isinstance(executor, str) else type(chosen).__name__
        cannot = ", ".join(VERBS[verb] for verb in missing)
        raise UnsupportedError(
            f"executor {named} cannot {cannot}: it has no {', '.join(f'{verb}()' for verb in missing)}, as "
            "flows.operating.Operator describes"
        )
    return cast("Operator", chosen)


__all__ = [
    "Check",
    "DeadJob",
    "DeadPage",
    "Operator",
    "Pruned",
    "QueueSummary",
    "RunPage",
    "RunState",
    "RunSummary",
    "operator",
]
