"""The testing kit: what one needs to prove that something built on the library keeps its promises.

`simulate` runs a flow under a virtual clock in milliseconds, by the code that runs it in production, with whatever
going wrong that one asks for; the functions beside it assert on what it came to::

    from flows.testing import EffectLedger, Fault, effects_exactly_once, simulate

    def test_a_customer_is_charged_once():
        ledger = EffectLedger(idempotent=True)
        handlers = {"charge": ledger.effect("charge")}
        trace = simulate(order_flow("123"), handlers=handlers, faults=[Fault.crash("charge")])
        effects_exactly_once(trace, ledger)

`ExecutorConformance` is the suite that every executor passes, ours or a stranger's; it needs pytest. It is used by
subclassing, in a test module of one's own::

    import pytest
    from flows.testing import ExecutorConformance
    from acme_flows import AcmeExecutor

    class TestAcme(ExecutorConformance):
        capabilities = ExecutorConformance.capabilities - {"process", "priorities"}
        concurrency = 8

        @pytest.fixture
        def executor(self, tmp_path):
            return AcmeExecutor(f"acme:///{tmp_path}/runs")       # or its URL, as text

What the executor lacks, it must refuse: for each capability left out, the suite has a test that asks for it all the
same and expects `flows.UnsupportedError` before anything runs.
"""

import importlib
from typing import TYPE_CHECKING

from flows.testing._attempts import SimulatedAttempt
from flows.testing._checks import (
    always_ends,
    attempts_within_limits,
    backoff_respected,
    deadline_respected,
    effects_exactly_once,
    idempotency_keys_stable,
    starts_bounded,
)
from flows.testing._checks_of_handlers import fails_only_by_faults, results_unaffected
from flows.testing._checks_of_runs import (
    cancelled_jobs_never_start,
    check_all,
    children_before_parents,
    committed_once,
    failure_policy_respected,
    newest_lease_wins,
    no_orphans,
    released_once,
    replays_equal,
)
from flows.testing._checks_of_traces import (
    effects_at_least_once,
    order_of,
    parent_sees_all_children,
    spans_complete,
)
from flows.testing._crashes import crash_points, survives_every_crash
from flows.testing._faults import Fault, FaultInjected, Faults
from flows.testing._ledger import Effect, EffectLedger
from flows.testing._real_time import RealTimeUsedError
from flows.testing._simulate import simulate
from flows.testing._trace import Trace

if TYPE_CHECKING:
    from flows.testing._conformance import ExecutorConformance
    from flows.testing.strategies import failures, fault_plans, flow_graphs, payloads, retry_policies, schedules

__all__ = [
    "Effect",
    "EffectLedger",
    "ExecutorConformance",
    "Fault",
    "FaultInjected",
    "Faults",
    "RealTimeUsedError",
    "SimulatedAttempt",
    "Trace",
    "always_ends",
    "attempts_within_limits",
    "backoff_respected",
    "cancelled_jobs_never_start",
    "check_all",
    "children_before_parents",
    "committed_once",
    "crash_points",
    "deadline_respected",
    "effects_at_least_once",
    "effects_exactly_once",
    "failure_policy_respected",
    "fails_only_by_faults",
    "failures",
    "fault_plans",
    "flow_graphs",
    "idempotency_keys_stable",
    "newest_lease_wins",
    "no_orphans",
    "order_of",
    "parent_sees_all_children",
    "payloads",
    "released_once",
    "replays_equal",
    "results_unaffected",
    "retry_policies",
    "schedules",
    "simulate",
    "spans_complete",
    "starts_bounded",
    "survives_every_crash",
]

_STRATEGIES = ("failures", "fault_plans", "flow_graphs", "payloads", "retry_policies", "schedules")
_TOPICS = (
    *("failure", "keys", "limits", "lists", "operating", "order", "policies", "process", "readings", "reopening"),
    *("results", "retries", "runs", "traces", "unsupported"),
)

if not TYPE_CHECKING:  # a type checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        if name in _STRATEGIES:
            return getattr(importlib.import_module("flows.testing.strategies"), name)  # hypothesis
        if name != "ExecutorConformance":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import pytest

        # The suite's own modules are no test modules: without this, a failing assert in them would not show its values.
        pytest.register_assert_rewrite(*(f"flows.testing._conformance_{topic}" for topic in _TOPICS))
        from flows.testing._conformance import ExecutorConformance

        globals()[name] = ExecutorConformance
        return ExecutorConformance
