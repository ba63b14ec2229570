"""RunTrace: the spans of one run. Loaded only where an SDK is there to record them.

One trace a run: a span ``flow {name}`` under the submitter's span, open until the run has ended, and under it one
CONSUMER span an attempt. Siblings, because a job has several dependencies while a span has one parent, and
dependencies end before their dependents begin; *links* carry the graph, to the spans whose results an attempt took
and to the attempt before.

Span processors are the program's own code: nothing that they raise touches the run, and none is called under a lock of
ours but for the end of the run's span, where whoever has seen the run end waits for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry import propagate
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    Tracer,
    TracerProvider,
    set_span_in_context,
)

from flows import _semconv as names
from flows._machine import inputs_of
from flows._telemetry import checked_carrier
from flows._verbs import End, FailedSettle, Grant, RunBrief, Settle

if TYPE_CHECKING:
    from flows.errors import Failed
    from flows.executor import RunOptions

Perform = Callable[[Grant, Callable[[], float]], Settle]
PerformAsync = Callable[[Grant, Callable[[], float]], Coroutine[Any, Any, Settle]]

DEPENDENCY = {names.RELATION: "dependency"}
_PREVIOUS = {names.RELATION: "previous_attempt"}
_OUTCOMES = {
    End.FAILED: "failed",
    End.RETRY: "retrying",
    End.SKIPPED: "skipped",
    End.CANCELLED: "cancelled",
    End.RELEASED: "released",
    End.LOST: "lost",
}
_COMPLETED = End.COMPLETED
_CONSUMER = SpanKind.CONSUMER
_MESSAGE_ID, _ATTEMPT = names.MESSAGE_ID, names.ATTEMPT

log = logging.getLogger("flows")

_latest: tuple[TracerProvider, Tracer] | None = None
"""Making a tracer costs as much as a span; programs have one provider."""


def _tracer_of(provider: TracerProvider) -> Tracer:
    global _latest
    latest = _latest
    if latest is None or latest[0] is not provider:
        from flows import __version__

        _latest = latest = (provider, provider.get_tracer("flows", __version__))
    return latest[1]


class RunTrace:
    """The trace of one run, from its submit to its end. Thread-safe.

    Attributes:
        trace_id: 32 hex digits.
        recording: Whether spans are recorded; where a sampler has decided against it, handlers only get the context, so
            that what they call decides alike.
        context: What attempts run in: the submitter's context, with the run's span as the current one.
    """

    _told: Mapping[Grant, Any] = {}
    """What a store has told of other workers' spans, by the grants that link to them."""

    __slots__ = (
        *("trace_id", "recording", "context"),
        *(
            "_clock",
            "_common",
            "_tracer",
            "_name",
            "_run_id",
            "_root",
            "_open",
            "_done",
            "_failed",
            "_items",
            "_listed",
            "_ending",
            "_ended",
        ),
    )

    def __init__(self, provider: TracerProvider, name: str, jobs: int, options: RunOptions) -> None:
        self._tracer = _tracer_of(provider)
        self._name = name
        self._run_id = options.run_id
        self._common: dict[tuple[str, str, str], tuple[str, dict[str, str | int]]] = {}
        self._open: dict[Grant, Span] = {}
        self._done: dict[int, SpanContext] = {}
        self._failed: dict[int, SpanContext] = {}
        self._items: dict[int, set[int]] = {}
        self._listed: dict[int, list[Link]] = {}
        self._ending = threading.RLock()
        self._ended = False
        self._clock: Callable[[], float] | None = None
        self._begin(get_current(), jobs, None)

    @property
    def carrier(self) -> dict[str, str]:
        """The context that attempts run in, to be stored with the run for workers in other processes."""
        carrier: dict[str, str] = {}
        propagate.inject(carrier, self.context)
        return checked_carrier(carrier)

    def reopen(self, jobs: int) -> None:
        """The run has ended and goes on: another span for it, under the first and so in the same trace.

        Args:
            jobs: How many jobs the run has.
        """
        with self._ending:
            if self._ended:
                self._begin(self.context, jobs, self._root.get_span_context())

    def around(self, perform: Perform, worker: str) -> Perform:
        """*perform*, a way to make an attempt in the calling thread, with a span for each.

        Args:
            perform: What makes the attempt; it runs with the span as the current one.
            worker: The name of who makes it.
        """

        def attempt(grant: Grant, clock: Callable[[], float]) -> Settle:
            self._clock = clock
            token = attach(self._entered(grant, worker))
            try:
                settle = perform(grant, clock)
            except BaseException as error:
                self._break_off(grant, error)
                raise
            finally:
                detach(token)
            self.ended(settle)
            return settle

        return attempt

    def around_async(self, perform: PerformAsync, worker: str) -> PerformAsync:
        """As `around` for attempts as asyncio tasks; whoever takes up the settle calls `ended` with it."""

        async def attempt(grant: Grant, clock: Callable[[], float]) -> Settle:
            self._clock = clock
            attach(self._entered(grant, worker))  # for good: the context is the task's own
            return await perform(grant, clock)

        return attempt

    def ended(self, settle: Settle) -> None:
        """An attempt has ended, by itself or by whoever gave it up; what it does later changes nothing."""
        span = self._open.pop(settle.grant, None)
        if span is None:
            return
        try:
            context = span.get_span_context()
            grant = settle.grant
            if settle.end is _COMPLETED:
                self._done[grant.job] = context
                if self._failed:
                    self._failed.pop(grant.job, None)
            else:
                self._done.pop(grant.job, None)
                self._failed[grant.job] = context
            if grant.run.state.item_of:
                self._note_item(grant)
            if settle.end is _COMPLETED:
                span.end()
            else:
                self._mark(span, settle)
                span.end(self._instant(settle.ended_at))
        except Exception:
            log.debug("the span of %r could not be ended", settle.grant, exc_info=True)

    def finish(self, state: str, failed: Failed | None) -> None:
        """The run has ended: end its span, and those of attempts that were given up. Safe to repeat.

        Args:
            state: ``completed``, ``failed`` or ``cancelled``.
            failed: Why it did not complete.
        """
        with self._ending:
            if self._ended:
                return
            self._ended = True
            try:
                for grant in tuple(self._open):
                    span = self._open.pop(grant, None)
                    if span is not None:
                        self._abandon(span)
                root = self._root
                root.set_attribute(names.OUTCOME, state)
                if state == "failed" and failed is not None:
                    root.set_attribute(names.ERROR_TYPE, failed.type)
                    root.set_status(StatusCode.ERROR, str(failed))
                root.end()
            except Exception:
                log.debug("the span of run %s could not be ended", self._run_id, exc_info=True)

    def _begin(self, context: Context, jobs: int, former: SpanContext | None) -> None:
        attributes: dict[str, str | int] = {
            names.SYSTEM: "flows",
            names.FLOW: self._name,
            names.CONVERSATION_ID: self._run_id,
            names.MESSAGE_COUNT: jobs,
        }
        links = None if former is None else [Link(former, _PREVIOUS)]
        self._root = self._tracer.start_span(f"flow {self._name}", context, SpanKind.INTERNAL, attributes, links)
        self._ended = False
        self.recording = self._root.is_recording()
        self.context = set_span_in_context(self._root, context)
        self.trace_id = f"{self._root.get_span_context().trace_id:032x}"

    def _entered(self, grant: Grant, worker: str) -> Context:
        """Begin the span of an attempt; returns the context that the handler should see."""
        if not self.recording:
            return self.context
        try:
            job, plan = grant.job, grant.run.plan
            place = (plan.queues_of[job], plan.names[job], worker)
            name, common = self._common.get(place) or self._described(place)
            attributes = common.copy()
            attributes[_MESSAGE_ID] = plan.ids[job]
            attributes[_ATTEMPT] = grant.attempt
            taken = plan.inputs[job] or job in self._failed or job in self._done or grant.run.state.item_of
            links = self._links(grant, attributes) if taken or grant in self._told else None
            span = self._tracer.start_span(name, self.context, _CONSUMER, attributes, links)
            self._open[grant] = span
            return set_span_in_context(span, self.context)
        except Exception:
            log.debug("the span of %r could not be begun", grant, exc_info=True)
            return self.context

    def _described(self, place: tuple[str, str, str]) -> tuple[str, dict[str, str | int]]:
        """The name of an attempt's span, and the attributes that those of one queue, task and worker share."""
        queue, task, worker = place
        attributes: dict[str, str | int] = {
            names.SYSTEM: "flows",
            names.OPERATION_NAME: "process",
            names.OPERATION_TYPE: "process",
            names.DESTINATION: queue,
            names.CONVERSATION_ID: self._run_id,
            names.CLIENT_ID: worker,
            names.TASK: task,
        }
        described = self._common[place] = (f"process {queue}", attributes)
        return described

    def _links(self, grant: Grant, attributes: dict[str, str | int]) -> list[Link]:
        job = grant.job
        links, taken = self._dependencies(grant)
        previous = self._failed.get(job) or self._done.get(job)
        if previous is not None:
            links.insert(0, Link(previous, _PREVIOUS))
        if max(len(links), taken) > names.LINK_LIMIT:
            attributes[names.DEPENDENCY_COUNT] = taken
            del links[names.LINK_LIMIT :]
        return links

    def _dependencies(self, grant: Grant) -> tuple[list[Link], int]:
        """Links to the spans whose results the attempt takes; and how many these are."""
        run, job, done = grant.run, grant.job, self._done
        children: Iterable[int] = run.plan.inputs[job]
        if job in run.state.cut:
            children = inputs_of(run.state, job, run.plan.inputs[job])
        if run.plan.lists:
            return self._links_to_items(run, job, children)
        links = [Link(done[child], DEPENDENCY) for child in children if child in done]
        return links, len(links)

    def _links_to_items(self, run: RunBrief, job: int, children: Iterable[int]) -> tuple[list[Link], int]:
        """As `_dependencies`, in a run with lists: these have no spans, but their items do."""
        around = run.state.item_of.get(job)
        if around is not None:  # it takes an item of the list, and so a part of what the list was made of
            children = (*run.plan.inputs[around], *children)
        links: list[Link] = []
        taken = 0
        for child in children:
            if child in self._done:
                links.append(Link(self._done[child], DEPENDENCY))
                taken += 1
            elif child in self._items:
                ended = self._listed.get(child)
                if ended is None:  # once a list: each job of a large one may take another large one
                    items = [item for item in sorted(self._items[child]) if item not in run.plan.gone]
                    ended = [Link(self._done[item], DEPENDENCY) for item in items if item in self._done]
                    self._listed[child] = ended
                links += ended[: names.LINK_LIMIT]
                taken += len(ended)
        return links, taken

    def _note_item(self, grant: Grant) -> None:
        """A job may have ended whose result is an item of a list, or of a list that is an item itself, and so on."""
        around = grant.run.state.item_of.get(grant.job)
        while around is not None:
            self._items.setdefault(around, set()).add(grant.job)
            self._listed.pop(around, None)
            around = grant.run.state.item_of.get(around)

    def _instant(self, ended_at: float) -> int:
        """When the handler ended, in ns since 1970. Since then its error has been judged, which may take longer."""
        ago = 0.0 if self._clock is None else max(0.0, self._clock() - ended_at)
        return time.time_ns() - int(ago * 1e9)

    @staticmethod
    def _mark(span: Span, settle: Settle) -> None:
        """Say on the span why an attempt did not complete. From `Failed`, which holds bounded text only."""
        span.set_attribute(names.OUTCOME, _OUTCOMES[settle.end])
        wrong = settle.end in (End.FAILED, End.RETRY, End.LOST)
        if wrong and isinstance(settle, FailedSettle) and settle.failed is not None:
            kind, failed = type(settle.error), settle.failed
            name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
            span.set_attribute(names.ERROR_TYPE, name)
            span.set_status(StatusCode.ERROR, f"{failed.type}: {failed.message}")
            span.add_event(
                names.EXCEPTION,
                {
                    names.EXCEPTION_TYPE: name,
                    names.EXCEPTION_MESSAGE: failed.message,
                    names.EXCEPTION_STACKTRACE: failed.traceback,
                },
            )

    def _break_off(self, grant: Grant, error: BaseException) -> None:
        """The attempt was left by what is meant for the process: KeyboardInterrupt, SystemExit."""
        span = self._open.pop(grant, None)
        if span is not None:
            try:
                self._failed[grant.job] = span.get_span_context()
                span.set_attribute(names.ERROR_TYPE, type(error).__qualname__)
                span.set_status(StatusCode.ERROR, type(error).__qualname__)
                span.end()
            except Exception:
                log.debug("the span of %r could not be ended", grant, exc_info=True)

    @staticmethod
    def _abandon(span: Span) -> None:
        span.set_attribute(names.OUTCOME, "abandoned")
        span.end()
