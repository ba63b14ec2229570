"""The real world inside a simulated handler: noticed at the call, named, and refused unless it is allowed."""

import asyncio
import datetime
import os
import queue
import random
import secrets
import select
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from datetime import datetime as renamed
from time import monotonic as prebound
from typing import Any

import pytest

import flows
from flows.testing import EffectLedger, RealTimeUsedError, simulate
from tests.testing import shop


def receive() -> bytes:
    mine, theirs = socket.socketpair()  # connected already, as a pool's are
    with mine, theirs:
        return mine.recv(1)


def use(call: Callable[[], object], **options: object) -> object:
    task = flows.task(lambda: str(call()), name="real-time", attempts=3)
    return simulate(task(), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "name", "kind"),
    [
        (time.time, "time.time", "time"),
        (prebound, "time.monotonic", "time"),
        (lambda: renamed.now(datetime.UTC), "datetime.now", "time"),
        (lambda: datetime.date.today(), "date.today", "time"),
        (random.random, "random.random", "random"),
        (lambda: random.randint(1, 6), "random.randint", "random"),
        (lambda: random.Random().random(), "random.Random", "random"),
        (uuid.uuid4, "uuid.uuid4", "random"),
        (secrets.token_hex, "secrets.token_hex", "random"),
        (lambda: os.urandom(2), "os.urandom", "random"),
        (lambda: socket.create_connection(("127.0.0.1", 9)), "socket.create_connection", "sockets"),
        (lambda: threading.Thread(target=print).start(), "threading.Thread.start", "threads"),
        (time.process_time_ns, "time.process_time_ns", "time"),
        (lambda: time.gmtime(), "time.gmtime", "time"),
        (lambda: threading.Event().wait(60), "threading.Event.wait", "threads"),
        (lambda: queue.Queue[int]().get(timeout=60), "queue.Queue.get", "threads"),
        (lambda: select.select([], [], [], 60), "select.select", "sockets"),
        (receive, "socket.recv", "sockets"),
        (lambda: subprocess.run(["true"], check=False, timeout=60), "subprocess.run", "processes"),
        (lambda: asyncio.run(asyncio.sleep(0)), "asyncio.runners.run", "threads"),
        (lambda: flows.execute(shop.load("a")), "flows.execute", "threads"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_call_is_named_with_its_place_and_the_way_to_allow_it(
    call: Callable[[], object], name: str, kind: str
) -> None:
    with pytest.raises(RealTimeUsedError) as caught:
        use(call)
    assert (caught.value.call, caught.value.job, caught.value.kind) == (name, "real-time", kind)
    assert "test_real_time.py:" in str(caught.value)
    assert f"allow=('{kind}',)" in str(caught.value)
    assert sys.getprofile() is None


@pytest.mark.parametrize("how", ["time", "random", "sleep"])
def test_what_is_allowed_passes_and_nothing_else(how: str) -> None:
    with pytest.raises(RealTimeUsedError) as caught:
        simulate(shop.rest(how), allow=[kind for kind in ("time", "random", "sleep") if kind != how])
    assert (caught.value.kind, caught.value.job) == (how, "shop-rest")
    trace = simulate(shop.rest(how), allow=(how,))
    assert trace.run.state == "completed"
    assert trace.replay == {"allow": (how,)}


def test_no_except_clause_of_a_handler_hides_it() -> None:
    def careless() -> object:
        try:
            return time.time()
        except BaseException:
            return 0.0

    with pytest.raises(RealTimeUsedError, match=r"test_real_time\.py"):
        use(careless)


def test_an_async_handler_and_its_tasks_are_watched_too() -> None:
    async def own() -> float:
        return time.time()

    async def handler() -> float:
        await shop.nap.fn(1.0)
        return await asyncio.create_task(own())

    with pytest.raises(RealTimeUsedError) as caught:
        simulate(flows.task(handler, name="real-time-async")())
    assert caught.value.job == "real-time-async"


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda loop: loop.getaddrinfo("localhost", 80), "sockets"),
        (lambda loop: asyncio.open_connection("localhost", 80), "sockets"),
        (lambda loop: asyncio.create_subprocess_exec("true"), "processes"),
        (lambda loop: loop.add_signal_handler(2, print), "processes"),
    ],
    ids=["addresses", "connection", "process", "signal"],
)
def test_what_the_loop_of_a_simulation_has_not_is_refused_by_name(
    call: Callable[[asyncio.AbstractEventLoop], Any], kind: str
) -> None:
    async def handler() -> None:
        await call(asyncio.get_running_loop())

    task = flows.task(handler, name="real-time-loop")
    with pytest.raises(RealTimeUsedError, match=r"test_real_time\.py") as caught:
        simulate(task())
    assert caught.value.kind == kind
    assert simulate(task(), allow=(kind,)).run.jobs["real-time-loop"].error.type == "UnsupportedError"  # type: ignore[union-attr]


def test_what_is_no_chance_and_no_clock_passes() -> None:
    def handler() -> float:
        with threading.Lock():
            time.gmtime(0)
        import logging

        logging.getLogger("real-time").warning("a line of log has an instant of its own")
        EffectLedger().record("it")
        flows.current().log("a line")
        flows.current().progress(1)
        return random.Random(7).random() + datetime.datetime(2026, 1, 1).year

    assert simulate(flows.task(handler, name="real-time-fine")()).run.state == "completed"


def test_other_threads_and_the_rest_of_the_test_notice_nothing() -> None:
    seen: list[object] = []
    inside, done = threading.Event(), threading.Event()

    def other() -> None:
        inside.wait(20)
        seen.extend([time.time(), random.random(), sys.getprofile()])
        done.set()

    thread = threading.Thread(target=other)
    thread.start()

    def handler() -> bool:
        inside.set()
        return done.wait(20)

    assert simulate(flows.task(handler, name="real-time-threads")(), allow=("threads", "time")).run.value is True
    thread.join()
    assert seen[2] is None
    assert time.time() > 0


def test_a_profiler_at_work_goes_first() -> None:
    calls: list[str] = []
    sys.setprofile(lambda frame, event, arg: calls.append(event))
    try:
        use(time.time)
        assert sys.getprofile() is not None
    finally:
        sys.setprofile(None)
    assert calls
