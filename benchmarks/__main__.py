"""`python -m benchmarks [--quick | --full] [--only NAME ...] [--peer NAME ...] [--json FILE]`."""

import argparse
import gc
import json
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from textwrap import fill

from benchmarks import durable, fleet
from benchmarks.fleet import PEERS as OVER_REDIS
from benchmarks.measure import measure, measure_imports, warm_up
from benchmarks.peers import PEERS, load
from benchmarks.pictures import NAME as PICTURES
from benchmarks.pictures import about as pictures_about
from benchmarks.pictures import picture_rows
from benchmarks.report import HEADLINE, METHOD, Row, as_json, environment, import_rows, rows, table
from benchmarks.scale import ABOUT, scale_rows
from benchmarks.simulations import NAME as SIMULATIONS
from benchmarks.simulations import about as simulations_about
from benchmarks.simulations import simulation_rows
from benchmarks.spans import NAME as SPANS
from benchmarks.spans import about as spans_about
from benchmarks.spans import measure_spans
from benchmarks.workloads import Size, workloads

WIDTH = 110
FLEET_PEERS = [name for name in OVER_REDIS if name not in PEERS]
NAMES = [
    *(one.name for one in workloads("tiny")),
    *(*ABOUT, *durable.ABOUT, *fleet.ABOUT, SPANS, PICTURES, SIMULATIONS, "import"),
]


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="flows beside its peers.")
    option = parser.add_argument
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="smaller graphs, fewer rounds: a look, no figures")
    size.add_argument("--full", action="store_true", help="plan and flat with 1,000,000 jobs, too: minutes, some GB")
    option("--only", nargs="+", metavar="NAME", choices=NAMES, help="these workloads only")
    option("--peer", nargs="+", metavar="NAME", choices=[*PEERS, *FLEET_PEERS], help="these peers only")
    option("--json", type=Path, metavar="FILE", help="write the figures there too")
    parsed: argparse.Namespace = parser.parse_args(argv)
    return parsed


def _over_redis(names: Sequence[str], options: argparse.Namespace) -> tuple[list[Row], dict[str, str]]:
    for name in names:
        print(f"  {name}: {fleet.ABOUT[name]}")
    wanted = options.peer or [HEADLINE, *FLEET_PEERS]
    return fleet.fleet_rows(names, "quick" if options.quick else "full", wanted) if names else ([], {})


def _apart(wanted: Collection[str], options: argparse.Namespace) -> list[Row]:
    """What has a module of its own and no peers among `PEERS`."""
    size: Size = "quick" if options.quick else "full"
    lines: list[Row] = []
    for name, about, measured in (
        (SPANS, spans_about, measure_spans),
        (PICTURES, pictures_about, picture_rows),
        (SIMULATIONS, simulations_about, simulation_rows),
    ):
        if name in wanted:
            print(f"  {name}: {about(size)}")
            lines += measured(size)
    gc.unfreeze()
    for name in (name for name in ABOUT if name in wanted and (not options.peer or HEADLINE in options.peer)):
        print(f"  {name}: {ABOUT[name]}")
        lines += scale_rows(name, "largest" if options.full else size)
    for name in (name for name in durable.ABOUT if name in wanted):
        print(f"  {name}: {durable.ABOUT[name]}")
        lines += durable.durable_rows(name, size)
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print; the exit code says only that it ran, targets are judged by whoever reads them."""
    options = _arguments(argv)
    wanted = options.only or NAMES
    chosen = [one for one in workloads("quick" if options.quick else "full") if one.name in wanted]
    peers, missing = load(name for name in options.peer or PEERS if name in PEERS)
    print("; ".join(f"{what} {which}" for what, which in environment().items()))
    print(fill(METHOD, WIDTH))
    for workload in chosen:
        print(f"  {workload.name}: {workload.about}")
    for peer in peers:
        print(fill(f"{peer.name}: {peer.timed}", WIDTH, initial_indent="  ", subsequent_indent="    "))
    lines: list[Row] = []
    with ExitStack() as ends:
        for peer in peers:
            ends.callback(peer.close)
        warm_up(peers)
        gc.collect()
        gc.freeze()
        for workload in chosen:
            lines += rows(workload, measure(workload, peers))
    lines += _apart(wanted, options)
    found, absent = _over_redis([name for name in fleet.ABOUT if name in wanted], options)
    lines, missing = lines + found, missing | absent
    if "import" in wanted:
        series, not_there = measure_imports(("flows", "pydantic"))
        lines += import_rows(series)
        missing |= {f"import {module}": reason for module, reason in not_there.items()}
    for name, reason in missing.items():
        print(f"  not measured: {name} ({reason})")
    print()
    print(table(lines))
    if options.json:
        timed = {peer.name: peer.timed for peer in peers}
        options.json.write_text(json.dumps(as_json(lines, timed, missing), indent=1) + "\n")


if __name__ == "__main__":
    main()
