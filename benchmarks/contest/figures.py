"""What came out, as data: one JSON document, from which the page and the pictures are made."""

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from shutil import which as program
from statistics import median
from typing import Any, NamedTuple

from benchmarks.contest.contenders import CONTENDERS, Contender, Where
from benchmarks.contest.contests import SETS, Set
from benchmarks.contest.rounds import Outcome
from benchmarks.environments import NotThereError
from benchmarks.measure import Spread
from benchmarks.server import binary
from benchmarks.workloads import Kind, Workload


class Standing(NamedTuple):
    """One contender's figures on one workload: a call, and what is compared: seconds a job, or the figure itself."""

    contender: str
    ours: bool
    call: Spread
    compared: float
    outcome: Outcome


def document(
    which: Set,
    workloads: Sequence[Workload],
    contenders: Sequence[Contender],
    outcomes: Sequence[Outcome],
    load: float | None = None,
) -> dict[str, Any]:
    """Everything that was measured, and on what.

    Args:
        load: Of the machine, by others, before it began.
    """
    return {
        "set": which,
        "rounds": SETS[which].rounds,
        "limit": SETS[which].limit,
        "environment": environment() | ({} if load is None else {"load before it began": f"{load:.1f}"}),
        "workloads": [{"name": one.name, "kind": one.kind, "about": one.about} for one in workloads],
        "contenders": [
            {name: getattr(one, name) for name in ("name", "where", "settings", "packages", "passes")}
            for one in contenders
        ],
        "outcomes": [asdict(one) for one in outcomes],
    }


def environment() -> dict[str, str]:
    """Versions and the machine."""
    return {
        "flows": importlib.metadata.version("flowproducer"),
        "redis-py": importlib.metadata.version("redis"),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "Node": _version("node"),
        "server": _server(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def load() -> float | None:
    """How busy the machine is, where it tells."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def standings(figures: dict[str, Any], workload: str, where: Where) -> list[Standing]:
    """Who has figures on a workload in a place, best first."""
    kind: Kind = next(one["kind"] for one in figures["workloads"] if one["name"] == workload)
    found = []
    for told in figures["outcomes"]:
        its = Outcome(**told)
        if its.workload == workload and its.where == where and its.samples:
            call = Spread.of(its.samples)
            compared = median(its.samples) / (its.jobs if kind in {"throughput", "orders"} else 1)
            found.append(Standing(its.contender, its.contender.startswith("flows"), call, compared, its))
    return sorted(found, key=lambda one: (one.compared, not one.ours))


def against_best(found: Sequence[Standing]) -> tuple[Standing, Standing, float] | None:
    """Ours, the best library beside it, and how many times better ours is; None where one of the two is not there."""
    ours = next((one for one in found if one.ours), None)
    best = next((one for one in found if not one.ours and CONTENDERS[one.contender].library), None)
    if ours is None or best is None:
        return None
    if not ours.compared or not best.compared:
        return ours, best, 1.0 if ours.compared == best.compared else float("inf" if best.compared else 0.0)
    return ours, best, best.compared / ours.compared


def _version(name: str) -> str:
    found = program(name)
    if found is None:
        return "not there"
    done = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _server() -> str:
    try:
        done = subprocess.run([binary(), "--version"], capture_output=True, text=True, check=False)
    except NotThereError as error:
        return str(error)
    words = done.stdout.split()
    return " ".join([words[0], *(word for word in words if word.startswith("v="))])
