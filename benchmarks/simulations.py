"""What simulations cost: a flow, many drawn ones, a year of retries, every crash of a flow.

Times are those of the processor, warm: all of it is computing, and what others do on the machine is left out.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flows
from benchmarks.measure import processor_seconds
from benchmarks.report import Row, limited
from benchmarks.workloads import Size
from flows import Backoff

NAME = "simulations"
LIMITS = {"simulate 10 jobs": 0.005, "simulate 200 drawn": 2.0, "simulate a year": 0.05, "simulate every crash": 1.0}
"""Seconds of the processor."""

DAYS = 365
_ROUNDS = {"full": 7, "quick": 3, "tiny": 1}


@flows.task(name="simulated-leaf", queue="simulations", attempts=3)
def leaf(number: int) -> int:
    return number


@flows.task(name="simulated-join", queue="simulations", attempts=3)
def join(*parts: int) -> int:
    return sum(parts)


@flows.task(name="simulated-daily", queue="simulations", attempts=DAYS + 1, backoff=Backoff.fixed("24h"))
def daily() -> int:
    raise TimeoutError("not today")


def ten() -> flows.Flow[int]:
    """Ten jobs in five levels, most of them with two dependencies."""
    first = [leaf(number) for number in range(3)]
    second = [join(first[place].out, first[(place + 1) % 3].out) for place in range(3)]
    third = [join(second[0].out, second[1].out), join(second[1].out, second[2].out)]
    fourth = join(third[0].out, third[1].out)
    return flows.flow(lambda: join(fourth.out, third[0].out), name="simulations")()


def about(size: Size = "full") -> str:
    """What the figures are of."""
    return (
        f"a flow of 10 jobs; {_examples(size)} of it drawn by hypothesis and checked; {DAYS + 1} attempts, a day apart"
    )


def simulation_rows(size: Size = "full") -> list[Row]:
    """A row for each figure, judged."""
    from flows.testing import simulate, survives_every_crash

    flow, year = ten(), daily()
    calls: list[tuple[str, int, Callable[[], object]]] = [
        ("simulate 10 jobs", 10, partial(simulate, flow)),
        ("simulate 200 drawn", 10 * _examples(size), partial(_drawn, flow, _examples(size))),
        ("simulate a year", DAYS + 1, partial(simulate, year)),
        ("simulate every crash", 10, partial(survives_every_crash, flow)),
    ]
    return [limited(what, jobs, processor_seconds(call, _ROUNDS[size]), LIMITS[what]) for what, jobs, call in calls]


def _examples(size: Size) -> int:
    return 10 if size == "tiny" else 200


def _drawn(flow: flows.Flow[int], examples: int) -> None:
    from hypothesis import HealthCheck, given, settings

    from flows.testing import check_all, fault_plans, schedules, simulate

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(fault_plans(flow), schedules())
    def holds(faults: Any, schedule: Any) -> None:
        check_all(simulate(flow, faults=faults, schedule=schedule, workers=2))

    holds()
