"""`python -m benchmarks.contest [--quick | --all] [--only WORKLOAD ...] [--peer NAME ...] [--minutes N]`."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contest.contenders import CONTENDERS
from benchmarks.contest.contests import Set, contests
from benchmarks.contest.figures import document, load
from benchmarks.contest.page import page
from benchmarks.contest.plots import picture
from benchmarks.contest.rounds import measure

PAGE = Path("docs/benchmarks.md")


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.contest", description="flows beside its peers.")
    option = parser.add_argument
    size = parser.add_mutually_exclusive_group()
    for name, text in (
        ("tiny", "next to nothing: does it run?"),
        ("quick", "small, one round: a look, no figures"),
        ("all", "larger, five rounds: half an hour and more"),
    ):
        size.add_argument(f"--{name}", dest="which", action="store_const", const=name, default="short", help=text)
    option("--only", nargs="+", metavar="WORKLOAD", help="these workloads only")
    option("--peer", nargs="+", metavar="NAME", choices=[*CONTENDERS], help=f"only these of: {', '.join(CONTENDERS)}")
    option("--page", type=Path, metavar="FILE", help=f"write the page there, and figures and pictures beside ({PAGE})")
    option("--minutes", type=float, default=float("inf"), help="take fewer rounds where they would take longer in all")
    option("--again", action="store_true", help="measure nothing: write the page again, from the figures beside it")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, say what is being done, write the page."""
    options = _arguments(argv)
    target: Path = options.page or PAGE
    beside = target.parent / target.stem
    if options.again:
        figures = json.loads((beside / "figures.json").read_text())
    else:
        which: Set = options.which
        wanted = [one for one in contests(which) if one.name in (options.only or [one.name])]
        contenders = [one for name, one in CONTENDERS.items() if name in (options.peer or CONTENDERS)]
        seconds, before = 60 * options.minutes, load()
        outcomes = measure(wanted, contenders, which, lambda line: print(f"  {line}", flush=True), seconds=seconds)
        figures = document(which, wanted, contenders, outcomes, before)
    beside.mkdir(parents=True, exist_ok=True)
    (beside / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    for where in dict.fromkeys(one["where"] for one in figures["outcomes"]):
        (beside / f"{where}.svg").write_text(picture(figures, where))
    target.write_text(page(figures, beside.name))
    print(f"written: {target}, {beside}")


if __name__ == "__main__":
    main()
