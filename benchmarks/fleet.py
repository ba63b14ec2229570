"""The fleet: flows over Redis beside BullMQ on Node and on Python, on one private server.

Each peer has one worker process that runs 50 jobs at once, and one client process; handlers do nothing, and parents
sum what their children came to. Peers take turns, each from the first submit until the client has the last value.
"""

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from statistics import median

from benchmarks.contest.contenders import CONTENDERS
from benchmarks.contest.driver import AtWork, FellOutError
from benchmarks.environments import NotThereError
from benchmarks.measure import Series, Spread, WrongValueError, speedup
from benchmarks.report import HEADLINE, Row, Target
from benchmarks.server import private_server

WORKERS_TARGET = 1.3
FLAT_TARGET = 0.2
CORES_FOR_TWO = 4
"""The server, the client and two workers."""

ABOUT = {
    "redis_fan_in": "a wide fan-in over Redis: one worker process, 50 jobs at once",
    "redis_orders": "flows of a parent and 3 children over Redis, submitted all at once and then waited for",
    "redis_chain": "jobs in a row over Redis",
    "redis_small_flow": "a parent and 3 children over Redis: submit to result, p50",
    "redis_workers": "the fan-in with one worker process and with two",
    "redis_flat": "fan-ins by number of jobs: jobs/s",
}


PEERS = {HEADLINE: "flows-redis", "bullmq-node": "bullmq-node", "bullmq-python": "bullmq-python"}
"""Names in the report, and those of the contenders."""
TURN_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Shape:
    """What clients are told to do, and what is wanted of it.

    Attributes:
        copies: Flows in one call.
        jobs: In one call.
        value: What a call comes to.
        targets: By peer, how many times as fast we are to be.
    """

    shape: str
    size: int
    calls: int
    copies: int
    rounds: int
    jobs: int
    value: int
    targets: dict[str, float]


def shapes(size: str) -> dict[str, Shape]:
    """What is compared, at `tiny`, `quick` or `full` size."""
    leaves, orders, links, calls, rounds = {
        "tiny": (20, 3, 5, 3, 1),
        "quick": (2_000, 200, 50, 25, 3),
        "full": (10_000, 1_000, 200, 50, 5),
    }[size]
    wide = {"bullmq-node": 4.0, "bullmq-python": 15.0}
    return {
        "redis_fan_in": Shape("fan_in", leaves, 1, 1, rounds, leaves + 1, leaves, wide),
        "redis_orders": Shape("fan_in", 3, 1, orders, rounds, 4 * orders, 3 * orders, {"bullmq-node": 3.5}),
        "redis_chain": Shape("chain", links, 1, 1, rounds, links, links, {"bullmq-node": 2.0}),
        "redis_small_flow": Shape("fan_in", 3, calls, 1, rounds, 4, 3, {"bullmq-node": 1 / 0.7}),
    }


class Fleet:
    """One of `PEERS` at work, in a database of its own, warm.

    Raises:
        NotThereError: It cannot be had here.
        FellOutError: It did not start.
    """

    def __init__(self, peer: str, port: int, workers: int = 1) -> None:
        place = f"redis://127.0.0.1:{port}/{list(PEERS).index(peer)}"
        self._at_work = AtWork(CONTENDERS[PEERS[peer]], place, workers)
        try:
            self._at_work.turn("fan_in", 3, calls=5, limit=TURN_SECONDS)  # what is loaded late is loaded now
        except BaseException:
            self.close()
            raise

    def turn(self, shape: Shape) -> tuple[list[float], int]:
        """The seconds of each call, and the value of the last one."""
        done = self._at_work.turn(shape.shape, shape.size, calls=shape.calls, copies=shape.copies, limit=TURN_SECONDS)
        return done.seconds, sum(done.value)

    def close(self) -> None:
        """End its processes."""
        self._at_work.close()


def fleet_rows(
    names: Iterable[str], size: str, wanted: Collection[str] = tuple(PEERS)
) -> tuple[list[Row], dict[str, str]]:
    """Measure some of `ABOUT`; the rows, and for each peer that could not be measured why not.

    Raises:
        WrongValueError: A peer came to another value than there are children.
        FellOutError: A peer ended in the midst of it.
    """
    names = list(names)
    compared = {name: shape for name, shape in shapes(size).items() if name in names}
    lines: list[Row] = []
    missing: dict[str, str] = {}
    try:
        with private_server() as port:
            if compared:
                lines += _compared(compared, port, wanted, missing)
            if "redis_workers" in names and HEADLINE in wanted:
                lines += workers_rows(shapes(size)["redis_fan_in"], port)
            if "redis_flat" in names and HEADLINE in wanted:
                lines += flat_rows(_flat({"tiny": (10, 20), "quick": (1_000, 10_000)}.get(size, _FLAT), port))
    except NotThereError as error:
        missing["redis"] = str(error)
    return lines, missing


_FLAT = (1_000, 10_000, 100_000, 200_000)


def _compared(compared: dict[str, Shape], port: int, wanted: Collection[str], missing: dict[str, str]) -> list[Row]:
    lines: list[Row] = []
    with ExitStack() as ends:
        fleets: dict[str, Fleet] = {}
        for peer in (peer for peer in PEERS if peer in wanted):
            try:
                fleets[peer] = Fleet(peer, port)
            except (NotThereError, FellOutError) as error:
                missing[f"{peer} over redis"] = str(error)
            else:
                ends.callback(fleets[peer].close)
        for name, shape in compared.items():
            lines += rows(name, shape, measure(shape, {peer: fleet.turn for peer, fleet in fleets.items()}))
    return lines


def measure(shape: Shape, turns: dict[str, Callable[[Shape], tuple[list[float], int]]]) -> list[Series]:
    """Seconds of a call (their p50, where a turn has several), peers in turn."""
    series = {peer: Series(peer) for peer in turns}
    for _ in range(shape.rounds):
        for peer, turn in turns.items():
            seconds, value = turn(shape)
            if value != shape.value:
                raise WrongValueError(f"{peer}: {value} instead of {shape.value}")
            series[peer].samples.append(median(seconds))
    return list(series.values())


def rows(name: str, shape: Shape, series: Sequence[Series]) -> list[Row]:
    """One row a peer; ours has the targets, those against peers that were measured."""
    ours = next((its for its in series if its.peer == HEADLINE), None)
    targets = []
    for its in series:
        least = shape.targets.get(its.peer)
        if ours is not None and least is not None:
            ratio = speedup(ours, its).median
            targets.append(Target(f">= {least:.3g}x {its.peer}", ratio, ratio >= least))
    judged = {HEADLINE: tuple(targets)}
    return [_row(name, its, shape.jobs, judged.get(its.peer, ())) for its in series]


def workers_rows(shape: Shape, port: int) -> list[Row]:
    """One worker process and two, in turn; judged where there are cores for two."""
    series = {1: Series("1 worker"), 2: Series("2 workers")}
    for _ in range(shape.rounds):
        for workers, its in series.items():
            with closing(Fleet(HEADLINE, port, workers)) as fleet:
                its.samples += fleet.turn(shape)[0]
    gain = speedup(series[2], series[1]).median
    cores = os.cpu_count() or 1
    target = Target(f">= {WORKERS_TARGET:g}x one worker", gain, gain >= WORKERS_TARGET)
    judged = cores >= CORES_FOR_TWO
    note = "" if judged else f"{gain:.2f}x one worker; not judged on {cores} cores"
    one, two = (_row("redis_workers", its, shape.jobs) for its in series.values())
    return [one, replace(two, note=note, targets=(target,) if judged else ())]


def _flat(sizes: Sequence[int], port: int) -> list[tuple[int, Series]]:
    measured = [(size + 1, Series(HEADLINE)) for size in sizes]
    with closing(Fleet(HEADLINE, port)) as fleet:
        for _ in range(3):
            for jobs, its in measured:
                seconds, value = fleet.turn(Shape("fan_in", jobs - 1, 1, 1, 1, jobs, jobs - 1, {}))
                if value != jobs - 1:
                    raise WrongValueError(f"{HEADLINE}: {value} instead of {jobs - 1}")
                its.samples += seconds
    return measured


def flat_rows(measured: Sequence[tuple[int, Series]]) -> list[Row]:
    """Fan-ins of several sizes; the last row judged, over all of them."""
    paces = [jobs / Spread.of(its.samples).median for jobs, its in measured]
    mean = sum(paces) / len(paces)
    worst = max(abs(pace / mean - 1) for pace in paces)
    target = Target(f"jobs/s within {FLAT_TARGET:.0%} of their mean", worst, worst <= FLAT_TARGET)
    found = [_row("redis_flat", its, jobs) for jobs, its in measured]
    return [*found[:-1], found[-1].judged(target)]


def _row(name: str, its: Series, jobs: int, targets: tuple[Target, ...] = ()) -> Row:
    return Row(name, its.peer, jobs, len(its.samples), Spread.of(its.samples), {}, "", targets)
