"""The pytest plugin: its fixtures, what it adds to a failure, and that it costs nothing where it is not used."""

import asyncio
import re
import socket
import subprocess
import sys
from typing import Any

import pytest

from executors._pytest_plugin import effect_ledger as effect_ledger
from executors._pytest_plugin import redis_flows as redis_flows
from executors._pytest_plugin import virtual_clock as virtual_clock
from flows.testing import EffectLedger, Fault
from flows.testing._report import as_json, read
from flows.testing._virtual_clock import VirtualClock

pytest_plugins = ["pytester"]

SHOP = """
import flows
from flows.testing import EffectLedger, Fault, check_all, simulate, effects_exactly_once, fault_plans

@flows.task(name="plugin-charge", attempts=2)
def charge(ledger_key: str = "") -> None:
    world.record("charge", key=flows.current().idempotency_key)

world = EffectLedger()
"""


async def nap() -> str:
    await asyncio.sleep(3600)
    return "slept"


def run(pytester: pytest.Pytester, test: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(test_shop=SHOP + test)
    # By its module, and not by what happens to be installed under its name.
    ours = ("-p", "executors._pytest_plugin", "-p", "no:flows")
    return pytester.runpytest_inprocess(*ours, "-p", "no:randomly", "-p", "no:valkey", "-q", *options)


def test_a_failure_shows_its_faults_how_to_see_it_again_and_a_timeline(pytester: pytest.Pytester) -> None:
    test = """
def test_it(flow_sim):
    trace = flow_sim(charge(), faults=[Fault.fail("plugin-charge", attempt=1), Fault.cancel(at=900)], workers=2)
    assert trace.run.state == "failed"
"""
    result = run(pytester, test)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*- simulated flow -*",
            'faults=[[]Fault.fail("plugin-charge", attempt=1), Fault.cancel(at=900)]',
            "simulate(flow, faults=*, workers=2)",
            'pytest "test_shop.py::test_it" --flows-replay *',
            "worker-1",
            "*plugin-charge retrying: FaultInjected*",
        ]
    )
    file = re.search(r"--flows-replay (.*json)", result.stdout.str())
    assert file is not None
    assert read(file[1])["faults"] == [Fault.fail("plugin-charge", attempt=1), Fault.cancel(at=900)]
    assert read(file[1])["workers"] == 2


@pytest.mark.slow
def test_under_hypothesis_it_is_the_smallest_example_that_is_shown_and_can_be_replayed(
    pytester: pytest.Pytester,
) -> None:
    test = """
from hypothesis import given, settings

@settings(max_examples=200, database=None, deadline=None)
@given(fault_plans(charge()))
def test_it(faults):
    world.clear()
    effects_exactly_once(simulate(charge(), faults=faults), world)

def test_without():
    world.clear()
    effects_exactly_once(simulate(charge()), world)
"""
    result = run(pytester, test)
    result.assert_outcomes(failed=1, passed=1)
    text = result.stdout.str()
    faults = re.search(r"^faults=\[(Fault\.\w+\([^)]*\))\]$", text, re.MULTILINE)
    file = re.search(r"--flows-replay (.*json)", text)
    assert faults is not None
    assert file is not None
    assert text.count("plugin-charge: after effect") <= 2, "the timeline is not shown twice"
    again = run(pytester, test, "--flows-replay", file[1], "-k", "without")
    again.assert_outcomes(failed=1, deselected=1)
    again.stdout.fnmatch_lines([f"*{faults[1]}*".replace("[", "[[]")])


def test_the_seed_is_for_the_fixture_and_gives_way_to_what_a_test_says(pytester: pytest.Pytester) -> None:
    test = """
def test_it(flow_sim):
    jobs = [charge.using(id=str(n))() for n in range(9)]
    flow = flows.Flow("many", tuple(jobs), several=True)
    logs = [flow_sim(flow, workers=3).log, simulate(flow, workers=3, seed=5).log, simulate(flow, workers=3).log]
    assert logs[0] == logs[1] != logs[2]
    assert flow_sim(flow, workers=3, seed=None).log == flow_sim(flow, workers=3, schedule={}).log == logs[2]
"""
    run(pytester, test, "--flows-seed", "5").assert_outcomes(passed=1)


def test_what_no_simulation_has_to_do_with_is_reported_as_ever(pytester: pytest.Pytester) -> None:
    test = """
def test_one():
    simulate(charge())

def test_two():
    assert False
"""
    result = run(pytester, test)
    result.assert_outcomes(passed=1, failed=1)
    assert "simulated flow" not in result.stdout.str()


def test_a_file_that_is_none_is_refused(pytester: pytest.Pytester) -> None:
    result = run(pytester, "def test_it(): simulate(charge())", "--flows-replay", "nowhere.json")
    result.stdout.fnmatch_lines(["*--flows-replay 'nowhere.json' cannot be replayed: FileNotFoundError*"])


def test_faults_are_written_down_with_their_exceptions(tmp_path: Any) -> None:
    import json

    faults = [Fault.fail("a", exc=KeyError("x")), Fault.fail("a", exc=TimeoutError, times=2), Fault.slow("b", 40)]
    (tmp_path / "it.json").write_text(json.dumps(as_json({"faults": faults, "schedule": {3: 1}, "key": "k"})))
    replay = read(str(tmp_path / "it.json"))
    assert repr(replay["faults"]) == repr(faults)
    assert (replay["schedule"], replay["key"]) == ({3: 1}, "k")
    with pytest.raises(TypeError):
        as_json({"faults": [Fault.deploy({"a": print}, at=1)]})

    class Local(Exception):
        pass

    with pytest.raises(TypeError):
        as_json({"faults": [Fault.fail("a", exc=Local)]})


def test_a_virtual_clock_runs_coroutines_in_no_time(virtual_clock: VirtualClock) -> None:
    assert virtual_clock.run(nap()) == "slept"
    assert virtual_clock.elapsed == 3600

    async def late() -> None:
        async with asyncio.timeout(10):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        virtual_clock.run(late())
    virtual_clock.advance(5)
    assert virtual_clock.elapsed == 3615
    with pytest.raises(RuntimeError, match="never comes"):
        virtual_clock.run(asyncio.Event().wait())


def test_an_effect_ledger_is_empty_for_each_test(effect_ledger: EffectLedger) -> None:
    assert effect_ledger.effects == []
    assert effect_ledger.idempotent is False


@pytest.mark.parametrize("turn", [1, 2])
def test_a_private_server_is_empty_for_each_test(redis_flows: str, turn: int) -> None:
    def ask(command: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(redis_flows.removeprefix("unix://"))
            link.sendall(command)
            return link.recv(100)

    assert ask(b"DBSIZE\r\n") == b":0\r\n"
    assert ask(b"SET a 1\r\n") == b"+OK\r\n"


def test_loading_the_plugin_loads_nothing_else() -> None:
    plugin = "executors._pytest_plugin"
    script = f"import sys, pytest; known = set(sys.modules); import {plugin}; print(*(set(sys.modules) - known))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert set(loaded) == {"executors", plugin}
