"""The testing kit: what one needs to prove that something built on the library keeps its promises. Needs pytest.

`ExecutorConformance` is the suite that every executor passes, ours or a stranger's. It is used by subclassing, in a
test module of one's own::

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

import pytest

# The suite's own modules are no test modules: without this, a failing assert in them would not show its values.
pytest.register_assert_rewrite(
    *(
        f"flows.testing._conformance_{topic}"
        for topic in (
            *(
                "failure",
                "keys",
                "limits",
                "lists",
                "operating",
                "order",
                "policies",
                "process",
                "readings",
                "reopening",
            ),
            *("results", "retries", "runs", "traces", "unsupported"),
        )
    )
)

from flows.testing._conformance import ExecutorConformance  # noqa: E402 - after the line that must come first

__all__ = ["ExecutorConformance"]
