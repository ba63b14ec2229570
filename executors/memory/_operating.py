"""What the memory executor offers to operators: the runs of this process, as `flows.operating.Operator` asks for them.

All of it looks at every run there is, which in one process are few; nothing is kept for it while runs go on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from flows._names import shown
from flows._state import ACTIVE, CONTROL_QUEUE, DELAYED, STATE_NAMES, WAITING
from flows._views import end_state
from flows.errors import DefinitionError, UnknownRunError

if TYPE_CHECKING:
    from weakref import ref

    from executors.memory._retention import Retention
    from executors.memory._run import MemoryRun
    from executors.memory._store import MemoryStore
    from flows._dead_letters import DeadLetter
    from flows.operating import Check, DeadJob, DeadPage, Pruned, QueueSummary, RunPage, RunState, RunSummary


class Home(Protocol):
    """Where the runs live."""

    store: MemoryStore
    runs: dict[str, ref[MemoryRun]]
    retention: Retention

    def find(self, run_id: str | None) -> MemoryRun | None: ...


_dropped: WeakKeyDictionary[MemoryRun, dict[str, datetime | None]] = WeakKeyDictionary()
"""Dead letters that were seen to: job id -> when the job failed, so that its next failure is listed again."""


class Operating:
    """The verbs of an operator, for an executor that has a `Home`."""

    _home: Any

    def runs(
        self, *, state: RunState | None = None, flow: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> RunPage:
        """The runs of this process, newest first."""
        from flows.operating import RunPage

        found = self._found(lambda run: _is(run, state, flow))
        page, cursor = _page(found, _place, limit, cursor)
        return RunPage([_summary(run) for run in page], cursor)

    def queues(self) -> Sequence[QueueSummary]:
        """The queues that have open jobs, dead letters, limits or a pause, by name."""
        from flows.operating import QueueSummary

        home: Home = self._home
        counts: Counter[tuple[str, int]] = Counter()
        for run in self._found(lambda run: not run.ended):
            counts.update(zip(run.plan.queues_of, run.state.state, strict=False))
        dead = Counter(entry.letter.queue for entry in self._letters(None, None))
        limits = {limit.queue: limit for limit in home.store.limited()}
        queues = []
        for name in sorted({*(queue for queue, state in counts if state <= ACTIVE), *dead, *limits} - {CONTROL_QUEUE}):
            waiting, delayed, active = (counts[name, state] for state in (WAITING, DELAYED, ACTIVE))
            limit = limits.get(name)
            paused, concurrency, rate = (limit.paused, limit.concurrency, limit.rate) if limit else (False, None, None)
            queues.append(QueueSummary(name, waiting, delayed, active, dead[name], paused, concurrency, rate))
        return queues

    def pause_queue(self, queue: str) -> None:
        """Hand out no job of a queue until it is resumed."""
        self._home.store.pause(queue, paused=True)

    def resume_queue(self, queue: str) -> None:
        """Hand out the jobs of a queue again."""
        self._home.store.pause(queue, paused=False)

    def dead_letters(
        self, *, queue: str | None = None, flow: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> DeadPage:
        """What failed for good by itself in the runs of this process, newest first."""
        from flows.operating import DeadPage

        page, cursor = _page(self._letters(queue, flow), _letter_place, limit, cursor)
        return DeadPage(page, cursor)

    def drop_dead_letters(self, run_id: str, jobs: Sequence[str] | None = None) -> int:
        """Take dead letters of a run off the list."""
        run = self._home.find(run_id)
        if run is None:
            raise UnknownRunError(f"there is no run of id {shown(run_id)} here")
        letters = [letter for letter in _undropped(run) if jobs is None or letter.job in jobs]
        _dropped.setdefault(run, {}).update((letter.job, letter.at) for letter in letters)
        return len(letters)

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
        """Remove ended runs before their retention would, oldest first; handles that are held go on reading them."""
        from flows.operating import Pruned

        home: Home = self._home
        ended = sorted(self._found(lambda run: run.ended), key=lambda run: run.closed_at or 0.0, reverse=True)
        spared: Counter[str] = Counter()
        due = []
        for run in ended:
            spared[run.plan.name] += 1
            old = older_than is None or home.store.clock() - (run.closed_at or 0.0) >= older_than
            if old and _is(run, state, flow) and (keep is None or spared[run.plan.name] > keep):
                due.append(run)
        due.reverse()
        pruned = Pruned([_summary(run) for run in due[:limit]], len(due) > limit)
        if not dry_run:
            for run in due[:limit]:
                home.retention.retire(run)
        return pruned

    def doctor(self) -> Sequence[Check]:
        """What is to be known about runs in memory."""
        from flows.operating import Check

        open_runs = sum(1 for _ in self._found(lambda run: not run.ended))
        return [
            Check("reachable", "ok", f"in this process; {len(self._home.runs)} runs, {open_runs} of them go on"),
            Check(
                "persistence",
                "warn",
                "runs are in the memory of one process and end with it",
                "use an executor with a file or a server where runs have to survive, or other processes to see them",
            ),
        ]

    def _found(self, wanted: Callable[[MemoryRun], bool]) -> Iterator[MemoryRun]:
        home: Home = self._home
        home.retention.look_after(home.store.clock())
        for reference in list(home.runs.values()):
            run = reference()
            if run is not None and wanted(run):
                yield run

    def _letters(self, queue: str | None, flow: str | None) -> list[DeadJob]:
        from flows.operating import DeadJob

        return [
            DeadJob(run.id, run.key, run.plan.name, run.ended, letter)
            for run in self._found(lambda run: bool(run.errors) and _is(run, None, flow))
            for letter in _undropped(run)
            if queue is None or letter.queue == queue
        ]


def _is(run: MemoryRun, state: str | None, flow: str | None) -> bool:
    return (flow is None or run.plan.name == flow) and (state is None or _state(run) == state)


def _state(run: MemoryRun) -> RunState:
    return end_state(run) if run.ended else "running"  # type: ignore[return-value]


def _summary(run: MemoryRun) -> RunSummary:
    from flows.operating import RunSummary

    roots = run.plan.roots
    wrong = next((root for root in roots if STATE_NAMES[run.state.state[root]] in ("failed", "cancelled")), None)
    error = None if wrong is None else run.failed(wrong)
    jobs = len(run.plan) - len(run.plan.gone)
    return RunSummary(
        run.id, run.key, run.plan.name, _state(run), run.submitted_at, run.ended_at, jobs, run.state.open, error
    )


def _undropped(run: MemoryRun) -> list[DeadLetter]:
    from flows._dead_letters import dead_letters

    seen_to = _dropped.get(run, {})
    return [one for one in dead_letters(run) if one.job not in seen_to or seen_to[one.job] != one.at]


def _place(run: MemoryRun) -> tuple[float, str]:
    return run.submitted_at.timestamp(), run.id


def _letter_place(entry: DeadJob) -> tuple[float, str]:
    at = entry.letter.at
    return 0.0 if at is None else at.timestamp(), f"{entry.run} {entry.letter.job}"


def _page(found: Any, place: Callable[[Any], tuple[float, str]], limit: int, cursor: str | None) -> tuple[Any, Any]:
    """The first *limit* of what was found after *cursor*, newest first, and the cursor behind them."""
    after = None if cursor is None else _read(cursor)
    left = sorted((one for one in found if after is None or place(one) < after), key=place, reverse=True)
    page = left[:limit]
    if len(left) <= limit:
        return page, None
    at, name = place(page[-1]) if page else (after or (float("inf"), ""))
    return page, f"{at!r}/{name}"


def _read(cursor: str) -> tuple[float, str]:
    at, slash, name = cursor.partition("/")
    try:
        if slash:
            return float(at), name
    except ValueError:
        pass
    raise DefinitionError(f"cursor {shown(cursor)}: no page of a listing gave it; leave it out to begin anew")
