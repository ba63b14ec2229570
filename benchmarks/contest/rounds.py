"""Take the figures: in each round every contender starts, does all the workloads once, and ends.

So a busy spell of the machine hits all of them, nobody's idle worker is in another one's way, and starting is measured
on the way. What goes wrong is kept as an outcome: a contender that cannot do a workload is not left out.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

from benchmarks.contest.contenders import Contender
from benchmarks.contest.contests import SETS, Set, Sizes, fitted, jobs_of
from benchmarks.contest.driver import AtWork, FellOutError, Turn, environment_of
from benchmarks.environments import NotThereError
from benchmarks.server import asked, private_server, told
from benchmarks.workloads import Workload

FIRST_VALUE_SECONDS = 120.0
SETTLED_SECONDS = 0.5
IDLE_TIMES = 3


@dataclass(slots=True)
class Outcome:
    """One contender on one workload.

    Attributes:
        jobs: In one call, after `fitted`.
        samples: A figure for each round: seconds of a call; bytes a job for `memory`; share of a core for `idle`.
        cannot: Why it has no words for this workload.
        left_out: Why it is not asked to do it in this set.
        problem: What went wrong; there are no samples after that.
        note: What else is to be said.
    """

    workload: str
    contender: str
    where: str
    jobs: int
    cut: bool = False
    samples: list[float] = field(default_factory=list)
    cannot: str = ""
    left_out: str = ""
    problem: str = ""
    note: str = ""


def measure(
    workloads: Sequence[Workload],
    contenders: Sequence[Contender],
    which: Set,
    say: Callable[[str], None],
    *,
    seconds: float = float("inf"),
) -> list[Outcome]:
    """All rounds of a set, or what there is of them when a user interrupts or the time is up.

    Args:
        say: Is told what is being done, in a line.
        seconds: Who has taken part in a round does not begin another if by the last one it would take longer than that.
    """
    size = SETS[which]
    boards = {one.name: _board(one, workloads, size) for one in contenders}
    until, took = time.monotonic() + seconds, dict.fromkeys(boards, 0.0)
    try:
        with _places(contenders) as place:
            for number in range(size.rounds):
                for contender in contenders:
                    name, began = contender.name, time.monotonic()
                    if number and began + took[name] > until:
                        say(f"round {number + 1}: {name} is left out, as the time is up")
                        continue
                    _round(contender, place, boards[name], size)
                    took[name] = time.monotonic() - began
                    say(f"round {number + 1}: {name}, {took[name]:.1f} s")
    except KeyboardInterrupt:
        say("interrupted: what there is by now is what counts")
    outcomes = [outcome for board in boards.values() for _, outcome in board]
    for its in outcomes:
        if not (its.samples or its.cannot or its.left_out or its.problem):
            its.left_out = "not come to before the run was interrupted"
    return outcomes


Board = list[tuple[Workload, Outcome]]


def _board(contender: Contender, workloads: Sequence[Workload], size: Sizes) -> Board:
    board: Board = []
    for asked_for in workloads:
        workload = fitted(asked_for, contender, size.slack)
        its = Outcome(workload.name, contender.name, contender.where, jobs_of(workload), workload is not asked_for)
        its.cannot = contender.cannot.get(workload.graph.shape, "")
        if its.cut and any(one.kind == workload.kind and one.graph == workload.graph for one, _ in board):
            its.left_out = f"cut to {its.jobs:,} jobs, it would be the one before again"
        board.append((workload, its))
    return board


@contextmanager
def _places(contenders: Sequence[Contender]) -> Iterator[int]:
    """The port of a private server, where one of them needs it; else 0."""
    if any(one.where == "redis" for one in contenders):
        with private_server() as port:
            yield port
    else:
        yield 0


def _round(contender: Contender, port: int, board: Board, size: Sizes) -> None:
    """Start it, have it do what it has not failed at, end it; after a failure it starts again."""
    left = [(workload, its) for workload, its in board if not (its.cannot or its.left_out or its.problem)]
    first, chances = True, 2
    while left:
        with tempfile.TemporaryDirectory(prefix="flows-contest-", ignore_cleanup_errors=True) as folder:
            if contender.where == "redis":
                asked(port, "FLUSHALL")
                folder = f"redis://127.0.0.1:{port}/0"
            try:
                left = _session(contender, folder, port, left, size, first=first)
            except (NotThereError, FellOutError) as error:
                chances -= 1
                if chances and isinstance(error, FellOutError):
                    continue
                for _, its in left:
                    its.problem, its.samples = str(error), []
                return
        first = False


def _session(contender: Contender, place: str, port: int, left: Board, size: Sizes, *, first: bool) -> Board:
    """Do what is left, until something goes wrong; returns what is left then, without what went wrong.

    Raises:
        NotThereError: It cannot be had here.
        FellOutError: It did not start.
    """
    environment_of(contender).ready()  # made where there is none; that is no part of the start
    began = time.perf_counter()
    at_work = AtWork(contender, place)
    try:
        at_work.turn("fan_in", 3, limit=FIRST_VALUE_SECONDS)
        took = time.perf_counter() - began
        for index, (workload, its) in enumerate(left):
            try:
                if workload.kind == "start":
                    its.samples += [took] if first else []
                elif workload.kind == "idle":
                    its.samples = its.samples or _idle(at_work, its, port, size.idle)
                else:
                    its.samples.append(_figure(at_work, workload, its, port, size))
            except FellOutError as error:
                its.problem, its.samples = str(error), []
                return left[index + 1 :]
    finally:
        at_work.close()
    return []


def _figure(at_work: AtWork, workload: Workload, its: Outcome, port: int, size: Sizes) -> float:
    over_redis = at_work.contender.where == "redis"
    if workload.kind != "memory":
        return median(_turn(at_work, workload, size).seconds)
    before = told(port, "memory", "used_memory_dataset") if over_redis else 0
    done = _turn(at_work, workload, size)
    after = told(port, "memory", "used_memory_dataset") if over_redis else 0
    least, most = done.memory
    its.note = "in Redis, when all is done" if over_redis else "of the client's process, at its peak"
    return max(0, after - before if over_redis else most - least) / its.jobs


def _turn(at_work: AtWork, workload: Workload, size: Sizes) -> Turn:
    graph, kind = workload.graph, workload.kind
    copies = workload.calls if kind == "orders" else 1
    calls = workload.calls if kind == "latency" else 1
    done = at_work.turn(graph.shape, graph.size, calls=calls, copies=copies, limit=size.limit)
    if at_work.contender.passes:
        wanted = [copies * value for value in graph.value()]
        if list(done.value) != wanted:
            raise FellOutError(f"came to {str(done.value)[:60]} instead of {str(wanted)[:60]}")
    return done


def _idle(at_work: AtWork, its: Outcome, port: int, seconds: float) -> list[float]:
    """Shares of a core over some stretches; in one round only, as the waiting would take longer than all the rest."""
    over_redis = at_work.contender.where == "redis"
    time.sleep(SETTLED_SECONDS)
    commands = told(port, "stats", "total_commands_processed") if over_redis else 0
    samples = []
    for _ in range(IDLE_TIMES):
        before = at_work.processor_seconds()
        time.sleep(seconds)
        after = at_work.processor_seconds()
        if before is None or after is None:
            raise FellOutError("this system does not tell what processes take")
        samples.append(round(max(0.0, after - before) / seconds, 3))  # a thread that ends takes its time along
    if over_redis:
        asked_of = told(port, "stats", "total_commands_processed") - commands - 1
        its.note = f"{asked_of / seconds / IDLE_TIMES:.0f} commands a second"
    return samples
