"""CarriedTrace: the part of a run's trace that a worker makes; see `flows._tracing`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    TracerProvider,
    get_current_span,
    set_span_in_context,
)

from flows._telemetry import checked_carrier
from flows._tracing import DEPENDENCY, RunTrace
from flows._verbs import Grant

if TYPE_CHECKING:
    from flows.executor import RunOptions


class CarriedTrace(RunTrace):
    """The trace of a run whose own span is open in another process: here it has attempts only.

    Attributes:
        source: Reads from the store, for a grant, the id of the span of the attempt before, those of the spans whose
            results it takes, and how many these are: attempts may have been made by any worker.
    """

    __slots__ = ("_told", "source")

    source: Callable[[Grant], tuple[bytes | None, Sequence[bytes], int]]

    def _begin(self, context: Context, jobs: int, former: SpanContext | None) -> None:
        """There is no span of ours: attempts are under the one that was carried here."""

    def __init__(self, provider: TracerProvider, name: str, options: RunOptions) -> None:
        super().__init__(provider, name, 0, options)
        context = propagate.extract(checked_carrier(options.carrier), Context())
        parent = get_current_span(context).get_span_context()
        if not parent.is_valid:  # who submitted it was not traced; what is done for it still belongs together
            span_id = int(options.trace_id[:16], 16) or 1
            sampled = TraceFlags(TraceFlags.SAMPLED)
            parent = SpanContext(int(options.trace_id, 16), span_id, is_remote=True, trace_flags=sampled)
            context = set_span_in_context(NonRecordingSpan(parent), context)
        self._told: dict[Grant, tuple[Sequence[bytes], int]] = {}
        self._ended = True  # nothing is left for `finish` to do
        self.context = context
        self.recording = bool(parent.trace_flags & TraceFlags.SAMPLED)
        self.trace_id = f"{parent.trace_id:032x}"

    def fetch(self, grant: Grant) -> None:
        """Read which spans the attempt is to be linked to; may block."""
        if not self.recording:
            return
        before, taken, count = self.source(grant)
        if before is not None:
            self._failed[grant.job] = self._context_of(before)
        self._told[grant] = taken, count

    def span_of(self, grant: Grant) -> bytes | None:
        """The id of the span of an attempt that has ended, to be kept with its settle; None where there is none."""
        self._told.pop(grant, None)
        context = self._failed.get(grant.job) or self._done.get(grant.job)
        return None if context is None else context.span_id.to_bytes(8, "big")

    def _dependencies(self, grant: Grant) -> tuple[list[Link], int]:
        told = self._told.pop(grant, None)
        if told is None:
            return super()._dependencies(grant)
        taken, count = told
        return [Link(self._context_of(span), DEPENDENCY) for span in taken], count

    def _context_of(self, span: bytes) -> SpanContext:
        sampled = TraceFlags(TraceFlags.SAMPLED)
        return SpanContext(int(self.trace_id, 16), int.from_bytes(span, "big"), is_remote=True, trace_flags=sampled)
