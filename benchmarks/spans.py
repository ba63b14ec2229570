"""What recording spans costs a run, beside making the same spans alone. `python -m benchmarks.spans` prints JSON.

In an interpreter of its own: a tracer provider is set for good, and would slow all that is measured after it. The spans
go to a processor that only counts them, the cheapest there can be, so that the SDK's own work is all that is compared.
"""

import gc
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from benchmarks.measure import Series, Spread, speedup
from benchmarks.report import Row, Target
from benchmarks.workloads import Graph, Size, layered

NAME = "spans"
TARGET = 1.6
"""How many times the cost of its spans a run may take at most."""

_SIDES = {"full": 100, "quick": 40, "tiny": 5}
_ROUNDS = {"full": 7, "quick": 5, "tiny": 2}


def about(size: Size = "full") -> str:
    """What the figures are of."""
    side = _SIDES[size]
    return f"{side} x {side} no-ops as in layered, a span recorded for each; beside the same spans made alone"


def measure_spans(size: Size = "full") -> list[Row]:
    """Our row, judged, and that of the spans alone, taken in turns in a fresh interpreter."""
    command = [sys.executable, "-m", "benchmarks.spans", size]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    jobs = _SIDES[size] ** 2
    run, alone = Series("flows", told["run"]), Series("spans alone", told["alone"])
    return rows(jobs, run, alone)


def rows(jobs: int, run: Series, alone: Series) -> list[Row]:
    """The two as rows; the target is the run's."""
    ratio = 1 / speedup(run, alone).median
    targets = (Target(f"<= {TARGET:g}x its spans alone", ratio, ratio <= TARGET),)
    return [
        Row(NAME, its.peer, jobs, len(its.samples), Spread.of(its.samples), {}, "", targets if its is run else ())
        for its in (run, alone)
    ]


class Alike(NamedTuple):
    """What it takes to make a span again."""

    name: str
    kind: Any
    attributes: dict[str, Any]
    links: list[tuple[Any, dict[str, Any]]]


def _take(size: Size) -> dict[str, list[float]]:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

    from benchmarks.peers.flows_ import ExecutePlan

    class Taking(SpanProcessor):
        """Counts the spans that end; keeps them only where asked to, as that costs the collector of garbage much."""

        def __init__(self) -> None:
            self.count = 0
            self.kept: list[ReadableSpan] | None = []

        def on_end(self, span: ReadableSpan) -> None:
            self.count += 1
            if self.kept is not None:
                self.kept.append(span)

    taking, provider = Taking(), TracerProvider()
    provider.add_span_processor(taking)
    trace.set_tracer_provider(provider)
    graph, peer = Graph(layered(_SIDES[size], _SIDES[size])), ExecutePlan()
    peer.prepare(graph)()
    alike = [
        Alike(
            span.name,
            span.kind,
            dict(span.attributes or {}),
            [(one.context, dict(one.attributes or {})) for one in span.links],
        )
        for span in taking.kept or ()
        if span.parent is not None
    ]
    assert len(alike) == len(graph.nodes)
    taking.kept = None
    times: dict[str, list[float]] = {"run": [], "alone": []}
    for _ in range(_ROUNDS[size]):
        for which, call in (("run", peer.prepare(graph)), ("alone", partial(_make, alike))):
            taking.count = 0
            gc.collect()
            began = time.perf_counter()
            call()
            times[which].append(time.perf_counter() - began)
            assert taking.count == len(graph.nodes) + 1
    return times


def _make(alike: Sequence[Alike]) -> None:
    """Make such spans: with their names, attributes and links, and each the current one for a moment."""
    from opentelemetry import context, trace

    tracer = trace.get_tracer("spans alone")
    root = tracer.start_span("flow")
    inside = trace.set_span_in_context(root)
    for name, kind, attributes, linked in alike:
        links = [trace.Link(to, relation) for to, relation in linked]
        span = tracer.start_span(name, inside, kind, attributes, links)
        token = context.attach(trace.set_span_in_context(span, inside))
        context.detach(token)
        span.end()
    root.end()


if __name__ == "__main__":
    size: Size = next((one for one in ("full", "quick", "tiny") if one in sys.argv[1:]), "full")
    print(json.dumps(_take(size)))
