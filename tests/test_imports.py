"""`import flows` is cheap: it stands in command lines, web workers and notebooks. So is a first small run."""

import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from types import ModuleType

import pytest

import flows

HEAVY = ("networkx", "redis", "opentelemetry", "dask", "pygraphviz", "executors")
UNUSED_BY_IMPORT = ("asyncio", "pydantic", "logging", "traceback")
UNUSED_BY_A_RUN = (
    *("asyncio", "pydantic", "tenacity", "subprocess", "multiprocessing", "socket", "concurrent"),
    *("difflib", "hashlib", "json", "urllib.parse", "importlib.metadata"),
    *("flows._dead_letters", "flows._explain", "flows._table", "flows._timeline", "flows._typeset", "flows._document"),
    *("flows._meters", "flows._retry", "flows._tracing", "flows.telemetry", "executors._leasing._loop"),
    *("flows.operating", "flows._cli", "typer", "rich"),
)
TIMES_PYDANTIC = 1.6
ROUNDS = 9

LOADED = "import sys, flows; print(*sys.modules)"
RUN = """
import sys
import flows

@flows.task
def step(number: int) -> int:
    return number + 1

@flows.flow
def small() -> flows.Job[int]:
    return step(step(1).out)

assert flows.execute(small()).value == 3
print(*sys.modules)
"""
TIMED = "import time; began = time.perf_counter(); import {module}; print(time.perf_counter() - began)"


def fresh_interpreter(code: str, **environment: str) -> str:
    command = [sys.executable, "-c", code]
    variables = os.environ | environment
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=variables)
    return done.stdout


def test_importing_flows_loads_nothing_heavy() -> None:
    loaded = set(fresh_interpreter(LOADED).split())
    assert "flows" in loaded
    assert not loaded & {*HEAVY, *UNUSED_BY_IMPORT, *UNUSED_BY_A_RUN}


def test_running_a_small_flow_loads_only_what_it_uses() -> None:
    loaded = set(fresh_interpreter(RUN, FLOWS_EXECUTOR="").split())
    assert "executors.memory" in loaded
    assert not loaded & {*HEAVY, *UNUSED_BY_A_RUN} - {"executors"}


def test_what_is_loaded_when_it_is_named_is_there_by_attribute_and_by_import() -> None:
    names = ["DeadLetter", "Table", "Timeline", "telemetry"]
    by_attribute = [
        f"assert '{name}' in dir(flows); {name} = flows.{name}; assert {name} is flows.{name}" for name in names
    ]
    fresh_interpreter("\n".join(["import flows", *by_attribute]))
    by_import = [f"from flows import {name}; assert {name} is sys.modules['flows'].{name}" for name in names]
    fresh_interpreter("\n".join(["import sys", *by_import]))


@pytest.mark.slow
@pytest.mark.alone
def test_importing_flows_takes_little_longer_than_importing_pydantic(tmp_path: Path) -> None:
    times: dict[str, list[float]] = {"flows": [], "pydantic": []}
    # Installed packages come compiled; where this one is tested, bytecode may be forbidden.
    compiled = {"PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}
    fresh_interpreter("import flows, pydantic", **compiled)
    assert [*tmp_path.rglob("_planner*.pyc")]
    for _ in range(ROUNDS):  # by turns: what else the machine does falls on both
        for module, taken in times.items():
            taken.append(float(fresh_interpreter(TIMED.format(module=module), **compiled)))
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
