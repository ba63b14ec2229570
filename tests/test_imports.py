"""`import flows` is cheap: it stands in command lines, web workers and notebooks."""

import subprocess
import sys
from statistics import median
from types import ModuleType

import pytest

import flows

HEAVY = ("networkx", "redis", "opentelemetry", "dask", "pygraphviz", "executors")
TIMES_PYDANTIC = 2.5
ROUNDS = 9

LOADED = "import sys, flows; print(*sys.modules)"
TIMED = "import time; began = time.perf_counter(); import {module}; print(time.perf_counter() - began)"


def fresh_interpreter(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_importing_flows_loads_nothing_heavy() -> None:
    loaded = set(fresh_interpreter(LOADED).split())
    assert "flows" in loaded
    assert not loaded & set(HEAVY)


@pytest.mark.slow
def test_importing_flows_takes_little_longer_than_importing_pydantic() -> None:
    times: dict[str, list[float]] = {"flows": [], "pydantic": []}
    fresh_interpreter("import flows, pydantic")  # compiled files and a warm file cache
    for _ in range(ROUNDS):  # by turns: what else the machine does falls on both
        for module, taken in times.items():
            taken.append(float(fresh_interpreter(TIMED.format(module=module))))
    ratio = median(times["flows"]) / median(times["pydantic"])
    print(f"import flows: {median(times['flows']) * 1e3:.1f} ms, {ratio:.2f} times import pydantic")
    assert ratio <= TIMES_PYDANTIC


@pytest.mark.parametrize(
    "module",
    ["asyncio", "executors._leasing._loop", "opentelemetry.trace", "opentelemetry.context", "opentelemetry.metrics"],
)
def test_a_module_that_another_thread_is_loading_just_now_is_left_alone(
    module: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, module, ModuleType(module))
    assert flows.execute(flows.task(lambda: 1, name="imports-one")()).value == 1
    assert [record for record in caplog.records if record.levelname != "INFO"] == []
