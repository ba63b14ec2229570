"""What pictures cost: to draw a flow, to recolour a run, to watch one while it goes on.

Times are those of the processor: all of it is computing, and what others do on the machine is left out. Of a run that
is watched the time on the wall counts as well, from its submit to its end: the painter must not get in its way. Both
leave out the last picture, which is made when the run has ended.
"""

import gc
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

import flows
from benchmarks.measure import Spread, processor_seconds
from benchmarks.report import Row, Target, limited
from benchmarks.workloads import Size
from flows._draw._live import LivePicture, words
from flows._draw._status import Status, statuses
from flows._watch import _Painter

NAME = "pictures"
RECOLOUR = 0.002
LIMITS = {"draw 50": 0.05, "draw 500": 1.0, "draw 10000": 1.0} | {
    f"recolour {jobs}": RECOLOUR for jobs in (50, 200, 10_000)
}
"""Seconds of the processor, warm; a box for each job but of the 10,000, where those that are alike share one."""
WATCHED = 1.05
"""How many times as long as without it a run may take that is watched."""


@dataclass(slots=True)
class Watched:
    """Runs with or without somebody who watches: seconds of the processor, and on the wall, for each round."""

    peer: str
    samples: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)


_ROUNDS = {"full": 7, "quick": 3, "tiny": 1}
_WATCHED = {"full": ((200, 25.0), (10_000, 0.3)), "quick": ((200, 4.0),), "tiny": ((20, 0.1),)}
"""Jobs, and milliseconds of each: a run that is painted while it goes on, and one that can afford a line of text."""
_WATCHED_ROUNDS = {"full": 5, "quick": 3, "tiny": 1}


@flows.task(name="picture-work", queue="pictures")
def work(*before: int, spin_ms: float = 0.0) -> int:
    until = time.thread_time() + spin_ms / 1e3  # keeps the interpreter busy: whoever watches takes it away
    while time.thread_time() < until:
        pass
    return len(before)


def about(size: Size = "full") -> str:
    """What the figures are of."""
    runs = " and ".join(f"{jobs:,} jobs of {spin_ms:g} ms" for jobs, spin_ms in _WATCHED[size])
    return f"layers of 10 jobs drawn and recoloured; {runs} watched and alone"


def layers(jobs: int, spin_ms: float = 0.0) -> flows.Flow[Any]:
    """Layers of ten jobs, each after two of the layer before."""
    front = [work(spin_ms=spin_ms) for _ in range(10)]
    for _ in range(jobs // 10 - 1):
        front = [work(front[place].out, front[(place + 3) % 10].out, spin_ms=spin_ms) for place in range(10)]
    return flows.flow(lambda: tuple(front), name="pictures")()


def picture_rows(size: Size = "full") -> list[Row]:
    """A row for each figure, judged."""
    rounds = _ROUNDS[size]
    calls: list[tuple[str, int, Callable[[], object]]] = [
        (f"draw {jobs}", jobs, partial(layers(jobs).to_svg, unfold=jobs <= 500))
        for jobs in ((50, 500, 10_000) if size != "tiny" else (50,))
    ]
    calls += [(f"recolour {jobs}", jobs, _recolour(jobs)) for jobs in ((50, 200, 10_000) if size != "tiny" else (50,))]
    rows = [limited(what, jobs, processor_seconds(call, rounds), LIMITS[what]) for what, jobs, call in calls]
    for jobs, spin_ms in _WATCHED[size]:
        rows += watched_rows(jobs, *_watched(layers(jobs, spin_ms), _WATCHED_ROUNDS[size]))
    return rows


def _recolour(jobs: int) -> Callable[[], object]:
    """Reads all states of a run and writes its picture, in which each tenth box has changed."""
    record = flows.execute(layers(jobs))._record
    live = LivePicture(record)
    live.svg()
    drawing, before = live._drawing, list(live._said)
    assert drawing is not None
    before[::10] = [Status("active", "")] * len(before[::10])

    def recolour() -> str:
        for box in drawing._boxes[::10]:
            box._status = None
        states = record.states()
        return drawing.svg(statuses(drawing.picture, record, before, states), words(record, states))

    return recolour


def _watched(flow: flows.Flow[Any], rounds: int) -> tuple[Watched, Watched]:
    """The same run in turns with and without somebody who watches it."""
    watched, alone = Watched("watched"), Watched("alone")
    plan = flows.plan(flow)
    for number in range(rounds + 1):
        for its in (watched, alone) if number % 2 else (alone, watched):
            gc.collect()
            began = time.process_time()
            run = flows.submit(plan)
            with _eyes(run) if its is watched else nullcontext():
                run.wait()
                took = time.process_time() - began
            ended_at = run._record.ended_at
            assert ended_at is not None
            if number:  # the first is to warm up
                its.samples.append(took)
                its.wall.append((ended_at - run._record.submitted_at).total_seconds())
    return watched, alone


def _eyes(run: flows.Run[Any]) -> AbstractContextManager[None]:
    return _Painter(run._record, lambda: LivePicture(run._record), lambda _: None).at_work()


def watched_rows(jobs: int, watched: Watched, alone: Watched) -> list[Row]:
    """The two as rows; the targets are those of the run that is watched."""
    targets = []
    for clock, ours, theirs in (
        ("processor", watched.samples, alone.samples),
        ("wall", watched.wall, alone.wall),
    ):
        ratio = median(one / other for one, other in zip(ours, theirs, strict=True))
        targets.append(Target(f"<= {WATCHED:g}x alone, {clock}", ratio, ratio <= WATCHED))
    return [
        Row(
            f"watch {jobs}",
            its.peer,
            jobs,
            len(its.samples),
            Spread.of(its.samples),
            {},
            "",
            tuple(targets) if its is watched else (),
        )
        for its in (watched, alone)
    ]
