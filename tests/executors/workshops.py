"""Workshops around a store in memory: real threads, real time, and runs that no crew works on."""

import asyncio
import contextlib
import itertools
import os
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

import flows
from executors._leasing._workshop import Workshop
from executors.memory import MemoryRun, MemoryStore
from executors.memory._executor import _bindings, _handlers, _moulds
from flows._state import STATE_NAMES
from flows.executor import RunOptions
from tests.executors.latch import PATIENCE

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows._registry._tasks", {})


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(lease_seconds=30.0)


@flows.task(name="shop-die")
def die() -> None:
    os._exit(7)


@flows.task(name="shop-double")
def double(number: int) -> int:
    return 2 * number


@flows.task(name="shop-adouble")
async def adouble(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


@flows.task(name="shop-for-ever")
async def wait_for_ever() -> None:
    await asyncio.Event().wait()


def until_in_process(run: MemoryRun, job: int) -> None:
    """Wait until the handler of *job* has begun in a child."""
    pause = threading.Event()
    while "/" not in (run.workers[job] or ""):
        pause.wait(0.005)


def states(run: MemoryRun) -> Counter[str]:
    return Counter(STATE_NAMES[code] for code in run.state.state)


def submit(store: MemoryStore, flow: Any, **options: Any) -> MemoryRun:
    """A new run in *store*, which nobody but workers will work off."""
    plan, name = flows.plan(flow), f"run-{next(_numbers)}"
    handlers = _handlers(plan)
    run = MemoryRun(
        RunOptions(name, None, name, **options),
        plan,
        handlers,
        _bindings(plan, handlers),
        store.clock,
        store.epoch,
        _moulds(plan),
    )
    store.put_run(run)
    return run


def ended(run: MemoryRun) -> flows.Run[Any]:
    """The run, once it has ended."""
    over = threading.Event()

    def look() -> None:
        if run.ended:
            over.set()

    stop = run.watch(look)
    look()
    assert over.wait(PATIENCE), run.state
    stop()
    return view(run)


def view(run: MemoryRun) -> flows.Run[Any]:
    """The run as users see it; its executor is not asked for anything."""
    return flows.Run(None, run)  # type: ignore[arg-type]


def workshop(store: Any, **options: Any) -> Workshop:
    """A worker that is not started."""
    given: dict[str, Any] = {
        "name": f"worker-{next(_numbers)}",
        "queues": frozenset({"default"}),
        "slots": 8,
        "grace": 0.0,
        "processes": 2,
        "ahead": True,
        "logs_jobs": False,
    }
    return Workshop(store, **(given | options))


@contextlib.contextmanager
def working(store: Any, **options: Any) -> Iterator[Workshop]:
    """A worker at work; at the end it has drained, and nothing has gone wrong."""
    shop = workshop(store, **options)
    shop.start()
    try:
        yield shop
    finally:
        shop.drain()
        assert shop.wait(PATIENCE), "it does not end"
    assert shop.error is None
