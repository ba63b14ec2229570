"""Trace: what a simulation came to, to be asserted on and to be read by a person."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from flows._events import Event
from flows._run import Run
from flows.errors import UnsupportedError
from flows.testing._attempts import SimulatedAttempt

if TYPE_CHECKING:
    from flows._plan import Plan
    from flows.testing._step import Step
    from flows.testing._world import World

R_co = TypeVar("R_co", covariant=True)


class Trace(Generic[R_co]):
    """What happened in a simulation.

    Attributes:
        run: The run, as any run is read: state, value, jobs.
        attempts: Every start of a job, in order, those that were lost or came too late included.
        steps: What happened besides the run's events: crashes, lost calls, clocks that jump.
        replay: What makes the same simulation again: ``simulate(flow, **trace.replay)``. Its `repr` is a literal.
        missed: The faults that never struck: what they wait for did not come.
        spans: The spans of the run, where ``simulate(spans=True)`` was asked for.
    """

    def __init__(self, world: World, replay: Mapping[str, Any], plan: Plan[Any], spans: Sequence[Any]) -> None:
        self._world = world
        self._record = world.runs[0]
        self._plan = plan
        self.run: Run[R_co] = Run(_Over(), self._record, plan)
        self.attempts: tuple[SimulatedAttempt, ...] = tuple(world.attempts)
        self.steps: tuple[Step, ...] = tuple(world.steps)
        self.replay = dict(replay)
        self.missed = tuple(world.mishaps.faults[place] for place in sorted(world.mishaps.missed))
        self.spans = tuple(spans)

    @functools.cached_property
    def events(self) -> Sequence[Event]:
        """The run's events, in order."""
        return self._record.events(0)[0]

    @property
    def results(self) -> dict[str, Any]:
        """Job id -> result, of the jobs that completed."""
        return {job_id: view.value for job_id, view in self.run.jobs.items() if view.state == "completed"}

    @functools.cached_property
    def states(self) -> dict[str, str]:
        """Job id -> state."""
        return {job_id: view.state for job_id, view in self.run.jobs.items()}

    @property
    def seconds(self) -> float:
        """How long the run took, by a clock that does not jump."""
        return self._world.ended_at.get(self._record, self._world.elapsed())

    @functools.cached_property
    def log(self) -> tuple[str, ...]:
        """All that happened, a line each; the same for the same seed on every machine."""
        begun = self._record.submitted_at
        lines = [((event.at - begun).total_seconds(), 0, _spelled(event)) for event in self.events]
        lines += [(step.at, 1, f"{step.worker or '-'} {step}") for step in self.steps]
        lines += [
            (one.began_at, 2, f"{one.worker} begins {one.job} {one.number} {one.outcome}") for one in self.attempts
        ]
        return tuple(f"{at:.6f} {text}" for at, _, text in sorted(lines, key=lambda line: line[:2]))

    def timeline(self) -> str:
        """What each worker did, a line an attempt, with what went wrong in between."""
        from flows.testing._lanes import drawn

        return drawn(self)

    def to_svg(self) -> str:
        """The timeline as a picture; Jupyter shows it where a trace is the last line of a cell."""
        from flows.testing._lanes_picture import picture

        return picture(self)

    _repr_svg_ = to_svg

    def __repr__(self) -> str:
        return f"<trace of {self.run.name!r}: {self.run.state} after {self.seconds:g} s, {len(self.attempts)} attempts>"


class _Over:
    """The executor of a run that is over: it can be read, and no more."""

    embedded = True

    def work(self, record: Any, timeout: float | None) -> bool:
        return bool(record.ended)

    def join(self, record: Any, *, blocks: bool = False) -> None:
        pass

    def cancel(self, record: Any, reason: str) -> None:
        raise UnsupportedError(_READ_ONLY)

    def reopen(self, record: Any, job: int | None, *, anew: bool) -> None:
        raise UnsupportedError(_READ_ONLY)

    def submit(self, plan: Any, options: Any, *, background: bool) -> Any:
        raise UnsupportedError(_READ_ONLY)

    def find(self, *, run_id: str | None = None, key: str | None = None) -> Any:
        return None


_READ_ONLY: Final = (
    "a simulated run is over and can only be read; to cancel one, simulate(faults=[Fault.cancel(at=...)])"
)


def _spelled(event: Event) -> str:
    job = "" if event.job is None else f" {event.job}"
    number = "" if event.attempt is None else f" {event.attempt}"
    return f"{event.kind}{job}{number}{'' if event.detail is None else f' {event.detail}'}"


def literal(replay: Mapping[str, Any]) -> str:
    """Keyword arguments as one would write them."""
    return ", ".join(f"{name}={value!r}" for name, value in replay.items())
