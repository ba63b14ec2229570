"""Store: what a place must offer that keeps runs for workers. Few coarse verbs, each of them one atomic step.

Whatever becomes of a caller, crashing in the middle included, the store has taken either the whole
step or nothing of it. The in-memory store is the model that others are tested to be equal to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from flows._shared_results import Owner, Shared
from flows._verbs import Grant, Reply, Settle, Want


class StaleCallError(RuntimeError):
    """An exchange came with an older number than the last one answered: a lost call has turned up late."""


class Listener(Protocol):
    """A worker, as a store sees it. Both may be called from any thread, also one that is inside a verb; they are quick.

    What is told too often costs a look, what is never told is lost.
    """

    def wake(self) -> None:
        """There may be something to claim in one of the worker's queues, or will be earlier than it knows."""
        ...

    def stop(self, run_id: str) -> None:
        """The run of that id is being cancelled: the handlers of its jobs should stop. For others it means nothing."""
        ...

    def overdue(self, instant: float) -> None:
        """By *instant* of the store's clock a run may be overdue, whoever works on it: `Store.rescue` should look then.

        For stores whose deadlines nobody else looks after.
        """
        ...


class Flight(Protocol):
    """An exchange that is under way, for one thread at a time."""

    def is_answered(self) -> bool:
        """Whether `land` would return at once, as far as can be seen without waiting."""
        ...

    def land(self) -> Reply:
        """Wait for the answer; raises what `Store.exchange` does. To be called once.

        The grants need not be a list, only a sequence: they may be made when they are first looked at.
        """
        ...


class Store(Protocol):
    """The verbs, as workers and clients use them. All may be called from any thread.

    Where a store is reached over a network, each verb answers or raises within a few seconds: leases are given up 5 s
    before their end, and a renewal that hangs for longer comes too late.

    Attributes:
        clock: The store's clock, in seconds; instants in replies are its. Where that clock is elsewhere, an estimate.
        lease_seconds: How long a grant lasts without being extended; None: for ever.

    Raises:
        UnavailableError: From any verb: the store cannot be reached now. Whether it took the step is unknown.
    """

    clock: Callable[[], float]

    @property
    def lease_seconds(self) -> float | None: ...

    def put_run(self, run: Any, /) -> object:
        """Accept a run and release the jobs that wait for nothing."""
        ...

    def exchange(self, loop: str, seq: int, settles: Sequence[Settle], want: Want, worker: str | None = None) -> Reply:
        """Settle attempts that have ended and claim jobs.

        Each exchange loop has a name of its own and one call in flight. The same *seq* again is a call whose reply was
        lost: it gets the same reply and changes nothing, so it is safe to send a call again until it is answered.

        A settle is taken if its grant holds the newest fence of its job; the same settle twice counts once; others are
        refused. No job is granted twice without a settle, a release or a lost lease in between.

        Raises:
            StaleCallError: *seq* is older than the last one answered; nothing was changed.
        """
        ...

    # A store that is far away may also have `begin_exchange`, which takes what `exchange` does, sends it, and returns a
    # `Flight`: the caller may have something better to do than to wait. The runs of its grants then say in `simple`
    # whether the handler of their job is a sync one that runs in a thread, without a time limit or a key of its own.

    def pass_on(self, settle: Settle, worker: str, /) -> Grant | None:
        """An exchange of the smallest kind: settle a completed attempt and claim the one job that it releases.

        Returns:
            The grant; None where there is more or less to do than that, and nothing has changed.
        """
        ...

    def began(self, grant: Grant, /) -> float:
        """The handler is about to start; told of grants of `rated` runs, so that rates count starts and not claims.

        An attempt of which this is not told counts as started when its settle says so, and keeps its start from
        others until then.

        Returns:
            The instant that is counted.
        """
        ...

    def abandon(self, run: Any, reason: str, /) -> None:
        """End a run at once, without waiting for the handlers that run; their results will be refused."""
        ...

    def close_loop(self, loop: str, /) -> None:
        """Forget an exchange loop that will not call again."""
        ...

    def listen(self, worker: str, queues: frozenset[str], listener: Listener, /) -> Callable[[], None]:
        """Tell *listener* from now on when there may be work in *queues*, or in the library's own lane.

        A wake may be spurious. None is lost: where the store cannot be sure, it wakes at least every 5 s. Of a cancel
        the listener hears at once where that is cheap, and at the latest with the next `extend` of a lease of that run:
        before that returns. What a worker's own exchange leaves claimable is in its reply, and need not be told it.

        This calls nothing that could fail or wait: where the store is away, it is told when it is back.

        Returns:
            What ends it; to be called once, and nothing is told after it has returned but what is under way.
        """
        ...

    def extend(self, grants: Sequence[Grant], /) -> Sequence[Grant]:
        """Extend leases by their full length from now; returns the grants that hold none any more."""
        ...

    def rescue(self) -> int:
        """Take back the jobs of expired leases, and cancel the runs whose deadline has passed.

        Returns:
            How many jobs were taken back.
        """
        ...

    def reopen(self, run: Any, job: int | None, /, *, anew: bool) -> object:
        """Have jobs of an ended run done again, with their keys and a fresh attempts budget; see `flows._reopening`.

        Args:
            job: Where to begin; None: with all that failed or was cancelled.
            anew: Whether all that follows *job* is done again, and not only what it failed, skipped or cancelled.

        Raises:
            RunError: The run has not ended, or *job* has nothing to retry.
        """
        ...

    def reserve(self, key: str, digest: str, grant: Grant, instead_of: Owner | None = None, /) -> Shared:
        """Look at what stands under a job-level *key*, and reserve it for the job of *grant* if that is free to do.

        It is where nothing stands there, or a reservation without a result: this job's own, or that of *instead_of*.

        Returns:
            What stands there now.
        """
        ...

    def file(self, key: str, grant: Grant, value: Any, /) -> Any:
        """File a result under a job-level *key*, before the job of *grant* is settled with it.

        Returns:
            The result that counts: the one filed first. *value* itself, if the job has lost its lease or
            its reservation meanwhile.
        """
        ...

    def cancel(self, run: Any, reason: str, /) -> None:
        """Cancel a run: what has not started ends at once, what runs is told to stop. A second call changes nothing."""
        ...
