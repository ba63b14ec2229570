"""ExecutorConformance: the parts of the suite put together."""

from __future__ import annotations

from flows.testing._conformance_failure import Failures
from flows.testing._conformance_keys import SharedResults
from flows.testing._conformance_limits import Limits
from flows.testing._conformance_lists import Lists
from flows.testing._conformance_operating import Operating
from flows.testing._conformance_order import Orders
from flows.testing._conformance_policies import Policies
from flows.testing._conformance_process import Processes
from flows.testing._conformance_readings import Readings
from flows.testing._conformance_reopening import Reopening
from flows.testing._conformance_results import Results
from flows.testing._conformance_retries import Retries
from flows.testing._conformance_runs import Runs
from flows.testing._conformance_traces import Traces
from flows.testing._conformance_unsupported import Unsupported


class Basics(Results, Orders, Policies, Failures, Retries, Runs):
    """What running a flow means."""


class ExecutorConformance(
    Basics, Lists, Reopening, SharedResults, Limits, Processes, Traces, Readings, Operating, Unsupported
):
    """What every executor promises, as pytest tests. Subclass it with a fixture `executor`.

    The handlers of the suite talk to its tests through this process's memory, so they must run in it: an executor
    whose workers live elsewhere starts them here, in threads, for the length of a test. Those for processes talk
    through files.

    Attributes:
        capabilities: What the executor can do beyond the ground that all share; all of it unless the subclass takes
            some out: ``cancel`` (`Run.cancel`), ``delays``, ``embedded`` (see below), ``events``, ``keys``, ``lifo``,
            ``limits``, ``operating`` (the verbs of `flows.operating`), ``priorities``, ``process``
            (``run_in="process"``), ``sharing`` (results under the ``idempotency_key`` of a job), ``timeouts``. What is
            lacking must be refused with `flows.UnsupportedError` where it is asked for, before
            anything runs. ``embedded`` is none of them: an executor whose handlers run elsewhere takes flows with
            tasks that this process does not know.
        concurrency: How many handlers the executor of the fixture runs at once. With 1 the suite checks the order in
            which jobs are taken up, with more that they overlap: two subclasses are best.
        wide: How many jobs the largest flows of the suite have; fewer where a job costs the executor milliseconds.
        pause: Seconds in which the executor begins and ends a job that is ready, even on a busy machine: timeouts that
            must not pass meanwhile are that long.

    Example::

        class TestAcmeOneAtATime(ExecutorConformance):
            concurrency = 1

            @pytest.fixture
            def executor(self):
                return "acme://localhost?concurrency=1"
    """
