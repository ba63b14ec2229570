"""Say what came out: a plain table with the targets beside our rows, and the same as JSON."""

import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from benchmarks.measure import Series, Spread, speedup
from benchmarks.workloads import Workload

HEADLINE = "flows"
RIVALS = ("dask", "dask-chunked", "asyncio")
RATIO_TARGETS = {
    "throughput": {"dask": 8.0, "asyncio": 1.0},
    "orders": {"dask": 8.0},
    "latency": {"dask": 1.0},
}
OVERLAP_TARGET = 2.0
GROWTH_TARGET = 2.0
STRAGGLER_FACTOR, STRAGGLER_GRACE = 1.5, 0.020
IMPORT_TARGET = 2.5
METHOD = (
    "Peers take turns in one process, each run on a graph made ready afresh. The garbage collector is on, "
    "with a full collection before each turn. Figures are medians over the rounds (least - most); 'x peer' "
    "is the median of the rounds' ratios: above 1, the row's peer is faster. Two decimals are not two "
    "digits of truth: trust ratios above 1.5 on a shared machine."
)


@dataclass(frozen=True, slots=True)
class Target:
    """One promise: what it says, what was measured, whether it holds."""

    text: str
    measured: float
    met: bool

    def __str__(self) -> str:
        return f"{self.text}: {'pass' if self.met else 'MISS'} ({self.measured:.2f})"


@dataclass(frozen=True, slots=True)
class Row:
    """One peer on one workload. Times in seconds, None where time is not the figure; `jobs` is 0 for imports."""

    workload: str
    peer: str
    jobs: int
    rounds: int
    seconds: Spread | None
    faster: Mapping[str, Spread]
    note: str
    targets: tuple[Target, ...]

    def judged(self, target: Target) -> "Row":
        """The same row with *target* beside it."""
        return replace(self, targets=(*self.targets, target))


def rows(workload: Workload, series: Sequence[Series]) -> list[Row]:
    """The rows of one workload; ratios and targets only where both sides were measured."""
    out = []
    for its in series:
        others = {other.peer: speedup(its, other) for other in series if _is_rival(its, other)}
        note, targets = _judge(workload, its, others)
        if its.peer != HEADLINE:
            targets = ()
        flows_run = workload.calls if workload.kind == "orders" else 1
        jobs, seconds = flows_run * len(workload.graph.nodes), Spread.of(its.samples)
        out.append(Row(workload.name, its.peer, jobs, len(its.samples), seconds, others, note, targets))
    return out


def _is_rival(its: Series, other: Series) -> bool:
    return its.peer.startswith(HEADLINE) and not other.peer.startswith(HEADLINE)


def _judge(workload: Workload, its: Series, faster: Mapping[str, Spread]) -> tuple[str, tuple[Target, ...]]:
    time = Spread.of(its.samples).median
    match workload.kind:
        case "throughput" | "latency" | "orders":
            wanted = RATIO_TARGETS[workload.kind]
            return "", tuple(
                Target(f">= {least:g}x {peer}", faster[peer].median, faster[peer].median >= least)
                for peer, least in wanted.items()
                if peer in faster
            )
        case "overlap":
            ratio = time / workload.ideal
            text = f"<= {OVERLAP_TARGET:g}x ideal"
            return f"{ratio:.2f}x ideal", (Target(text, ratio, ratio <= OVERLAP_TARGET),)
        case "growth":
            ratio = time / Spread.of(its.calm).median
            return f"{ratio:.2f}x fan-in", (Target(f"<= {GROWTH_TARGET:g}x fan-in", ratio, ratio <= GROWTH_TARGET),)
        case "straggler":
            calm = Spread.of(its.calm).median
            limit = STRAGGLER_FACTOR * calm + STRAGGLER_GRACE
            text = f"<= {STRAGGLER_FACTOR:g}x without + {STRAGGLER_GRACE * 1e3:.0f} ms"
            return f"without: {_ms(calm)} ms", (Target(text, time / calm, time <= limit),)
        case "memory" | "idle" | "start":
            return "", ()


def limited(what: str, jobs: int, samples: Sequence[float], limit: float) -> Row:
    """A row of ours that is judged by what it may take, in seconds."""
    spread = Spread.of(samples)
    target = Target(f"<= {limit * 1e3:g} ms", spread.median * 1e3, spread.median <= limit)
    return Row(what, HEADLINE, jobs, len(samples), spread, {}, "", (target,))


def import_rows(series: Sequence[Series]) -> list[Row]:
    """The rows of the import times."""
    by_name = {its.peer: its for its in series}
    ours, theirs = by_name.get("flows"), by_name.get("pydantic")
    out = []
    for its in series:
        targets: tuple[Target, ...] = ()
        if its is ours and theirs is not None:
            ratio = 1 / speedup(its, theirs).median
            targets = (Target(f"<= {IMPORT_TARGET:g}x pydantic", ratio, ratio <= IMPORT_TARGET),)
        out.append(Row("import", its.peer, 0, len(its.samples), Spread.of(its.samples), {}, "", targets))
    return out


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g}" if seconds < 1 else f"{seconds * 1e3:.0f}"


def table(lines: Sequence[Row]) -> str:
    """The rows as aligned plain text."""
    rivals = [f"x {peer}" for peer in RIVALS]
    head = ("workload", "peer", "ms", "least - most", "us/job", "jobs/s", *rivals, "note, targets")
    cells = [head, *(_cells(row) for row in lines)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    left = {0, 1, len(head) - 1}
    text = []
    previous = None
    for line in cells:
        if previous not in (None, line[0]):
            text.append("")
        previous = line[0]
        padded = [
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        text.append("  ".join(padded).rstrip())
    return "\n".join(text)


def _cells(row: Row) -> tuple[str, ...]:
    time = row.seconds
    rated = time is not None and row.jobs and not row.note
    return (
        row.workload,
        row.peer,
        _ms(time.median) if time else "",
        f"{_ms(time.low)} - {_ms(time.high)}" if time else "",
        f"{time.median / row.jobs * 1e6:.1f}" if time and rated else "",
        f"{row.jobs / time.median:,.0f}" if time and rated else "",
        *(f"{row.faster[peer].median:.2f}" if peer in row.faster else "" for peer in RIVALS),
        "; ".join([*([row.note] if row.note else []), *map(str, row.targets)]),
    )


def environment() -> dict[str, str]:
    """What the figures hang on: interpreter, machine, load when it began, versions."""
    load = f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown"
    found = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "load": load,
    }
    for package in ("dask", "pydantic"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def as_json(lines: Sequence[Row], timed: Mapping[str, str], missing: Mapping[str, str]) -> dict[str, object]:
    """Everything the table says, for machines; times in seconds."""
    return {
        "method": METHOD,
        "environment": environment(),
        "timed": dict(timed),
        "missing": dict(missing),
        "rows": [
            asdict(row)
            | {
                "seconds": row.seconds._asdict() if row.seconds else None,
                "faster": {peer: ratio._asdict() for peer, ratio in row.faster.items()},
                "targets": [asdict(target) for target in row.targets],
            }
            for row in lines
        ],
    }
