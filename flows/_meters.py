"""Meters: how long jobs take and wait, how they end, how long the queues are. Loaded only where a meter collects.

=============================  ==============  ========================================================
``messaging.process.duration``  histogram, s   how long attempts took; ``error.type`` on failed ones
``flows.job.wait``              histogram, s   from when a job was ready, its delay over, to its first start
``flows.job.attempts``          histogram      how many attempts jobs took that were tried at all
``flows.job.outcomes``          counter        jobs that ended, by ``flows.outcome``
``flows.queue.depth``           gauge          jobs that have not ended, by queue and ``flows.job.state``
=============================  ==============  ========================================================

All carry the queue (``messaging.destination.name``), those of jobs the task (``flows.task.name``), too.
"""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry.metrics import CallbackOptions, Histogram, Meter, MeterProvider, Observation

from flows import _semconv as names
from flows._told import Listened, Told, attempt_of

if TYPE_CHECKING:
    from flows._events import EventKind
    from flows._views import Attempt

_ENDS: frozenset[EventKind] = frozenset(("completed", "failed", "skipped", "cancelled"))
_BEGINS: frozenset[EventKind] = frozenset(("submitted", "reopened", "expanded"))
_KINDS: frozenset[EventKind] = _ENDS | _BEGINS | {"retrying"}

_making = threading.Lock()
_latest: Meters | None = None


def meters_of(provider: MeterProvider) -> Meters:
    """The instruments of *provider*: the same ones for all runs, as an instrument is made once."""
    global _latest
    latest = _latest
    if latest is None or latest.provider is not provider:
        with _making:
            latest = _latest
            if latest is None or latest.provider is not provider:
                _latest = latest = Meters(provider)
    return latest


class Depths(Protocol):
    """A place with queues."""

    def depths(self) -> Mapping[tuple[str, str], int]:
        """How many jobs there are by queue and state; terminal states are left out."""
        ...


class Meters:
    """The instruments of one provider. Thread-safe."""

    def __init__(self, provider: MeterProvider) -> None:
        from flows import __version__

        self.provider = provider
        meter = provider.get_meter("flows", __version__)
        self.duration = _histogram(meter, names.PROCESS_DURATION, "s", "How long attempts took", names.DURATION_BUCKETS)
        self.wait = _histogram(
            meter, names.JOB_WAIT, "s", "From when a job was ready to its first start", names.DURATION_BUCKETS
        )
        self.attempts = _histogram(
            meter, names.JOB_ATTEMPTS, "{attempt}", "How many attempts jobs took", names.ATTEMPT_BUCKETS
        )
        self.outcomes = meter.create_counter(names.JOB_OUTCOMES, "{job}", "Jobs that ended")
        self._places: weakref.WeakSet[Any] = weakref.WeakSet()
        self._adding = threading.Lock()
        meter.create_observable_gauge(names.QUEUE_DEPTH, [self._depths], "{job}", "Jobs that have not ended")

    def watch(self, place: Depths) -> None:
        """Observe the queues of *place* as long as it lives."""
        if place not in self._places:
            with self._adding:
                self._places.add(place)

    def of_run(self, jobs: int) -> RunMeter:
        """What takes the measurements of one run, which has *jobs* jobs before its lists bring others."""
        return RunMeter(self, jobs)

    def _depths(self, options: CallbackOptions) -> Iterable[Observation]:
        with self._adding:
            places = tuple(self._places)
        total: Counter[tuple[str, str]] = Counter()
        for place in places:
            total.update(place.depths())
        return [
            Observation(count, {names.SYSTEM: "flows", names.DESTINATION: queue, names.STATE: state})
            for (queue, state), count in total.items()
        ]


class RunMeter:
    """Measures the jobs of one run.

    Attributes:
        kinds: What is worth telling it.
    """

    __slots__ = ("_attributes", "_begun", "_expanded", "_jobs", "_meters", "_ready", "kinds")

    def __init__(self, meters: Meters, jobs: int) -> None:
        self.kinds = _KINDS
        self._meters = meters
        self._jobs = jobs
        self._ready: dict[int, datetime] = {}
        self._begun: datetime | None = None
        self._expanded: datetime | None = None
        self._attributes: dict[tuple[str, str], dict[str, str]] = {}

    def tell(self, run: Listened, happened: Iterable[Told]) -> None:
        """Record these."""
        ended: Counter[tuple[int, EventKind]] = Counter()
        plan = run.plan
        for told in happened:
            if told.kind in _BEGINS:
                self._begin(told)
                continue
            if told.attempt is not None:
                self._attempted(run, told)
            if told.kind in _ENDS:
                ended[told.job, told.kind] += 1
                for dependent in run.state.edges[told.job]:
                    self._ready[dependent] = told.at
                self._ready.pop(told.job, None)
        counts: Counter[tuple[str, str, str]] = Counter()
        for (job, kind), count in ended.items():
            counts[plan.queues_of[job], plan.names[job], kind] += count
        for (queue, task, outcome), count in counts.items():
            self._meters.outcomes.add(count, {**self._common(queue, task), names.OUTCOME: outcome})

    def _attempted(self, run: Listened, told: Told) -> None:
        attempt = attempt_of(run, told)
        if attempt is None or attempt.seconds is None:
            return
        meters = self._meters
        common = self._common(run.plan.queues_of[told.job], run.plan.names[told.job])
        failed = told.failed if told.kind in ("failed", "retrying") else None
        meters.duration.record(attempt.seconds, common if failed is None else {**common, names.ERROR_TYPE: failed.type})
        if told.attempt == 1:
            self._waited(run, told.job, attempt, common)
        if told.kind in _ENDS:
            meters.attempts.record(told.attempt or 1, common)

    def _begin(self, told: Told) -> None:
        """From now on jobs may be ready that have not waited for another."""
        if told.kind == "expanded":
            self._expanded = told.at
        else:
            self._begun, self._expanded = told.at, None
            self._ready.clear()

    def _waited(self, run: Listened, job: int, attempt: Attempt, common: dict[str, str]) -> None:
        ready = self._ready.get(job, self._begun if job < self._jobs else self._expanded or self._begun)
        if ready is not None:
            waited = (attempt.start - ready).total_seconds() - run.plan.settings[job].delay
            self._meters.wait.record(max(0.0, waited), common)

    def _common(self, queue: str, task: str) -> dict[str, str]:
        common = self._attributes.get((queue, task))
        if common is None:
            common = {names.SYSTEM: "flows", names.OPERATION_NAME: "process"}
            common |= {names.DESTINATION: queue, names.TASK: task}
            self._attributes[queue, task] = common
        return common


def _histogram(meter: Meter, name: str, unit: str, about: str, buckets: tuple[float, ...]) -> Histogram:
    try:
        return meter.create_histogram(name, unit, about, explicit_bucket_boundaries_advisory=buckets)
    except TypeError:  # the API before 1.28 knows no advice
        return meter.create_histogram(name, unit, about)
