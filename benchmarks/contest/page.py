"""The page: plain Markdown, made from the figures and from nothing else, so that it can be made again."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from benchmarks.contest.contenders import PLACES, Where
from benchmarks.contest.figures import Standing, against_best, standings
from benchmarks.contest.rounds import Outcome

Figures = dict[str, Any]
HEAD = """# Benchmarks

`flows` beside its peers, each used as its documentation says. {made}

Handlers do nothing and pass small numbers, so what is measured is the work of the library around them. With handlers
that take 10 ms and more, most of these differences vanish: choose by what a library can do, and by these figures only
if your jobs are small or many.

Measured with {environment}.

## How it is measured

- In each round every contender starts, in an environment of its own and with nothing else running, does each workload
  once, and ends. Figures are medians over {rounds}, with the least and the most. Trust ratios above 1.5, and no
  second digit.
- The value of each flow is checked. A wrong one, an error, or a turn that takes longer than {limit:g} s is reported as
  what went wrong.
- Sizes marked * were cut, since that contender would take minutes: figures a job are then compared.
- Over Redis there is one worker process and one client process, on one machine, with one private server that keeps
  nothing on disk. Those that poll are told to do so every 10 ms; queues are told 50 jobs at once where they have such
  a setting, the number of threads and processes is left as it comes. Results are kept as they are by default.
- On a compute cluster two worker processes and the scheduler are on this machine.
- In a file each result is on the disk before what depends on it starts. Ours commits jobs together that do not depend
  on each other.
- Our contenders have the environment of the tests, with the OpenTelemetry SDK, which redis-py loads where it finds it:
  that is a part of our `start`.
"""
LOOK = "**This page was made by a run that is too small for figures** (`--{set}`): it shows that everything runs."
MADE = (
    "`make bench` makes this page, in some ten minutes on a quiet machine of two cores; `make bench-all` makes it with "
    "larger sizes and more rounds."
)


def page(figures: Figures, pictures: str = "benchmarks") -> str:
    """The text of the page.

    Args:
        pictures: The folder of the drawings, relative to the page.
    """
    environment = ", ".join(f"{what} {which}" for what, which in figures["environment"].items())
    made = MADE if figures["set"] in {"short", "all"} else LOOK.format(set=figures["set"])
    parts = [
        HEAD.format(made=made, rounds=_counted(figures["rounds"]), limit=figures["limit"], environment=environment)
    ]
    places: list[Where] = [where for where in PLACES if _in(figures, where)]
    head = ("where", "workload", "flows", "best library", "its figure", "times")
    said = (
        "The last column says how many times better flows is than the best library beside it; below 1 it is worse. The "
        "workloads are described further down.\n"
    )
    parts += ["## In short\n", said, *_table(head, _short(figures))]
    parts += ["\n## Where we lose\n", *_losses(figures, places)]
    for where in places:
        parts.append(f"\n## {PLACES[where][0].upper()}{PLACES[where][1:]}\n")
        parts.append(f"![each contender on each workload]({pictures}/{where}.svg)\n")
        parts.append("Further left is better; scales are logarithmic. A line goes from the least to the most.\n")
        for workload in figures["workloads"]:
            parts += _workload(figures, workload, where)
    parts += ["\n## What a contender cannot express\n", *_table(("contender", "workload", "why"), _cannot(figures))]
    left_out = [*_grouped((one.contender, one.workload, one.left_out) for one in _outcomes(figures) if one.left_out)]
    left_out += _fewer(figures)
    if left_out:
        parts += ["\n## What was left out in this set\n", *_table(("contender", "workload", "why"), left_out)]
    parts += ["\n## What went wrong\n", *(_table(("contender", "workload", "what"), _wrong(figures)) or ["Nothing."])]
    parts += ["\n## Who takes part\n", *_table(("contender", "packages", "how it is used"), _who(figures))]
    return "\n".join(parts).rstrip() + "\n"


def shown(value: float, kind: str) -> str:
    """A figure with its unit, in three digits."""
    if kind == "memory":
        return f"{value:,.0f} B" if value < 10_000 else f"{value / 1000:,.0f} kB"
    if kind == "idle":
        return f"{value:.1%} of a core"
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3g} {unit}" if value < 1000 * size else f"{value / size:,.0f} {unit}"
    return f"{value * 1e6:.3g} µs"


def _times(value: float) -> str:
    """A ratio in two digits; nothing where one of the two figures is nothing."""
    if not 0 < value < float("inf"):
        return "-"
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _counted(rounds: int) -> str:
    return "one round" if rounds == 1 else f"{rounds} rounds"


def _in(figures: Figures, where: Where) -> bool:
    return any(one["where"] == where for one in figures["outcomes"])


def _short(figures: Figures) -> Iterator[Sequence[str]]:
    for where in PLACES:
        for workload in figures["workloads"]:
            compared = against_best(standings(figures, workload["name"], where))
            if compared is not None:
                ours, best, times = compared
                kind = workload["kind"]
                yield (
                    PLACES[where],
                    workload["name"],
                    _compared(ours, kind),
                    best.contender,
                    _compared(best, kind),
                    f"**{_times(times)}**" if 0 < times < 1 else _times(times),
                )


def _compared(one: Standing, kind: str) -> str:
    return shown(one.compared, kind) + (" a job" if kind in {"throughput", "orders"} else "")


def _losses(figures: Figures, places: Sequence[Where]) -> list[str]:
    lines = []
    for where in places:
        for workload in figures["workloads"]:
            found = standings(figures, workload["name"], where)
            ours = next((one for one in found if one.ours), None)
            ahead = found[: found.index(ours)] if ours else found
            if ahead:
                mine = _compared(ours, workload["kind"]) if ours else "no figure"
                theirs = ", ".join(f"{one.contender} {_compared(one, workload['kind'])}" for one in ahead)
                lines.append(f"- {PLACES[where]}, `{workload['name']}`: {mine}; better are {theirs}.")
    return lines or ["On none of these workloads, in this run."]


def _workload(figures: Figures, workload: dict[str, str], where: Where) -> list[str]:
    found = standings(figures, workload["name"], where)
    if not found:
        return []
    ours = next((one for one in found if one.ours), None)
    kind = workload["kind"]
    per_job = kind in {"throughput", "orders"}
    rows = []
    for one in found:
        its = one.outcome
        times = _times(one.compared / ours.compared) if ours and ours.compared else ""
        name = f"**{one.contender}**" if one.ours else one.contender
        rows.append(
            (
                name + (" *" if its.cut else ""),
                f"{its.jobs:,}" if per_job else "",
                shown(one.call.median, kind),
                f"{shown(one.call.low, kind)} - {shown(one.call.high, kind)}",
                shown(one.compared, kind) if per_job else its.note,
                times,
            )
        )
    head = ("", "jobs", "median", "least - most", "a job" if per_job else "", "times flows'")
    return [
        f"### {workload['name']}\n\n{workload['about'][0].upper()}{workload['about'][1:]}.\n",
        *_table(head, rows),
        "",
    ]


def _outcomes(figures: Figures) -> Iterator[Outcome]:
    for told in figures["outcomes"]:
        yield Outcome(**told)


def _cannot(figures: Figures) -> Iterator[Sequence[str]]:
    yield from _grouped((its.contender, its.workload, its.cannot) for its in _outcomes(figures) if its.cannot)
    for one in figures["contenders"]:
        if not one["passes"]:
            yield one["name"], "all with children", "a parent is told no results of its children, so it sums nothing"


def _fewer(figures: Figures) -> Iterator[Sequence[str]]:
    """Who has taken fewer rounds than the others."""
    once = {one["name"] for one in figures["workloads"] if one["kind"] == "idle"}  # in one round, several times
    for one in figures["contenders"]:
        of_it = [its for its in _outcomes(figures) if its.contender == one["name"] and its.workload not in once]
        taken = max((len(its.samples) for its in of_it), default=0)
        if 0 < taken < figures["rounds"]:
            yield one["name"], "all", f"{taken} of {figures['rounds']} rounds: the time was up"


def _wrong(figures: Figures) -> Iterator[Sequence[str]]:
    said = ((its.contender, its.workload, its.problem.replace("|", "/")) for its in _outcomes(figures) if its.problem)
    yield from _grouped(said)


def _grouped(rows: Iterable[tuple[str, str, str]]) -> Iterator[Sequence[str]]:
    """One row for all workloads of which the same is said."""
    workloads: dict[tuple[str, str], list[str]] = {}
    for contender, workload, said in rows:
        workloads.setdefault((contender, said), []).append(workload)
    for (contender, said), names in workloads.items():
        yield contender, ", ".join(names), said


def _who(figures: Figures) -> Iterator[Sequence[str]]:
    for one in figures["contenders"]:
        yield (
            one["name"],
            ", ".join(one["packages"]) or ("this library" if one["name"].startswith("flows") else "none"),
            one["settings"],
        )


def _table(head: Sequence[str], rows: "Iterator[Sequence[str]] | Sequence[Sequence[str]]") -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *lines] if lines else []
