"""What pictures cost: to draw a flow, to recolour a run, to watch one while it goes on.

Times are those of the processor: all of it is computing, and what others do on the machine is left out.
"""

import gc
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import flows
from benchmarks.measure import Series, Spread, processor_seconds, speedup
from benchmarks.report import Row, Target, limited
from benchmarks.workloads import Size
from flows._draw._live import LivePicture
from flows._draw._status import Status, statuses
from flows._watch import _Painter, _picture

NAME = "pictures"
LIMITS = {"draw 50": 0.05, "draw 500": 1.0, "draw 10000": 1.0, "recolour 50": 0.002, "recolour 200": 0.002}
"""Seconds of the processor, warm; a box for each job but of the 10,000, where those that are alike share one."""
WATCHED = 1.05
"""How many times as long as without it a run may take that is watched."""

_ROUNDS = {"full": 7, "quick": 3, "tiny": 1}
_WATCHED_JOBS = {"full": 4_000, "quick": 500, "tiny": 20}


@flows.task(name="picture-work", queue="pictures")
def work(*before: int) -> int:
    return sum(range(20_000))


def about(size: Size = "full") -> str:
    """What the figures are of."""
    return f"layers of 10 jobs drawn and recoloured; {_WATCHED_JOBS[size]:,} jobs of 0.2 ms with and without"


def layers(jobs: int) -> flows.Flow[Any]:
    """Layers of ten jobs, each after two of the layer before."""
    front = [work() for _ in range(10)]
    for _ in range(jobs // 10 - 1):
        front = [work(front[place].out, front[(place + 3) % 10].out) for place in range(10)]
    return flows.flow(lambda: tuple(front), name="pictures")()


def picture_rows(size: Size = "full") -> list[Row]:
    """A row for each figure, judged."""
    rounds = _ROUNDS[size]
    calls: list[tuple[str, int, Callable[[], object]]] = [
        (f"draw {jobs}", jobs, partial(layers(jobs).to_svg, unfold=jobs <= 500))
        for jobs in ((50, 500, 10_000) if size != "tiny" else (50,))
    ]
    calls += [(f"recolour {jobs}", jobs, _recolour(jobs)) for jobs in (50, 200)]
    rows = [limited(what, jobs, processor_seconds(call, rounds), LIMITS[what]) for what, jobs, call in calls]
    return [*rows, *watched_rows(_WATCHED_JOBS[size], *_watched(_WATCHED_JOBS[size], rounds))]


def _recolour(jobs: int) -> Callable[[], object]:
    """Reads all states of a run and writes its picture, in which each tenth box has changed."""
    record = flows.execute(layers(jobs))._record
    live = LivePicture(record)
    drawing, before = live._drawing, list(live._said)
    assert drawing is not None
    before[::10] = [Status("active", "")] * len(before[::10])

    def recolour() -> str:
        for place in range(0, jobs, 10):
            drawing._written[place] = (None, "")
        return drawing.svg(statuses(drawing.picture, record, before), live.words())

    return recolour


def _watched(jobs: int, rounds: int) -> tuple[Series, Series]:
    """The same run in turns with and without somebody who watches it."""
    watched, alone = Series("watched"), Series("alone")
    flow = flows.plan(layers(jobs))
    for _ in range(rounds):
        for its in (watched, alone):
            gc.collect()
            began = time.process_time()
            run = flows.submit(flow)
            if its is watched:
                with _Painter(run._record, partial(_picture, run._record), lambda _: None, 0.0).at_work():
                    run.wait()
            else:
                run.wait()
            its.samples.append(time.process_time() - began)
    return watched, alone


def watched_rows(jobs: int, watched: Series, alone: Series) -> list[Row]:
    """The two as rows; the target is that of the run that is watched."""
    ratio = 1 / speedup(watched, alone).median
    target = Target(f"<= {WATCHED:g}x alone", ratio, ratio <= WATCHED)
    return [
        Row(
            "watch",
            its.peer,
            jobs,
            len(its.samples),
            Spread.of(its.samples),
            {},
            "",
            (target,) if its is watched else (),
        )
        for its in (watched, alone)
    ]
