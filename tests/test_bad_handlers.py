"""Handlers that misbehave, graphs without end in depth, and processes that fork or end: the run ends, and says why."""

import asyncio
import copy
import gc
import logging
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import flows
from flows import Backoff, Job

PRIVATE = "memory://?private=1"


@flows.task(name="handlers-same")
def same(value: Any = None) -> Any:
    return value


@flows.task(name="handlers-async-same")
async def async_same(value: Any = None) -> Any:
    return value


def ended(handler: Callable[..., Any]) -> flows.JobView:
    """The only job of a run of *handler*, which has ended; the library still runs flows afterwards."""
    task: Any = flows.task(handler, name="handlers-bad")
    run = flows.submit(task(), executor=PRIVATE).wait(20)
    assert flows.execute(same(async_same(5).out), executor=PRIVATE).value == 5
    return run.jobs["handlers-bad"]


def chain(length: int) -> Job[Any]:
    job: Job[Any] = Job("handlers-same", data={"value": 0})
    for _ in range(length - 1):
        job = same(job.out)
    return job


@pytest.mark.slow
def test_a_chain_of_10_000_jobs_needs_no_stack() -> None:
    root = chain(10_000)
    flow = flows.Flow.of(root)
    seen: list[Any] = []

    def use() -> None:
        run = flows.execute(root, executor=PRIVATE)
        for value in (root, flow, flow.plan(), run, run.jobs, run.jobs["handlers-same"]):
            repr(value)
        document = flow.to_dict()
        seen.append((run.value, copy.copy(root).args, flows.Flow.parse(document) == flow, flow.plan().explain()))

    # In a thread of its own: there the limit is not used up by whoever called this test.
    former = sys.getrecursionlimit()
    thread = threading.Thread(target=use)
    sys.setrecursionlimit(200)
    try:
        thread.start()
        thread.join()
    finally:
        sys.setrecursionlimit(former)
    ((value, args, equal, _),) = seen
    assert (value, args, equal) == (0, root.args, True)


@pytest.mark.slow
def test_a_deep_chain_is_let_go_without_recursion() -> None:
    job = Job("handlers-same")
    gone = weakref.ref(job)
    for _ in range(100_000):
        job = Job("handlers-same", children=[job])
    del job
    gc.collect()
    assert gone() is None


class Raising(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("name")


class Nameless(Exception, metaclass=Raising):
    pass


class Proxy:
    """As lazy proxies are: looking at its class would do work, or fail."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise KeyboardInterrupt


class Untouchable:
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    def __bool__(self) -> bool:
        raise RuntimeError("bool")

    def __repr__(self) -> str:
        raise RuntimeError("repr")


def raising(error: BaseException) -> Callable[[], Any]:
    def handler() -> None:
        raise error

    return handler


def test_an_exception_whose_class_cannot_be_named_fails_the_job() -> None:
    error = ended(raising(Nameless())).error
    assert error is not None
    assert error.type == "Nameless"


@pytest.mark.parametrize("make", [Proxy, Untouchable])
def test_a_result_is_passed_on_untouched(make: type[Any]) -> None:
    result = make()
    run = flows.execute(same(async_same(flows.task(lambda: result, name="handlers-make")().out).out), executor=PRIVATE)
    assert run.value is result


def test_closing_and_stopping_the_event_loop_hurts_nobody() -> None:
    async def close() -> None:
        asyncio.get_running_loop().close()

    async def stop() -> int:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0)
        return 1

    error = ended(close).error
    assert error is not None
    assert error.type == "RuntimeError"
    assert ended(stop).value == 1


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_recursion_in_a_handler_fails_the_job(is_async: bool) -> None:
    def forever() -> Any:
        return forever()

    async def async_forever() -> Any:
        return forever()

    error = ended(async_forever if is_async else forever).error
    assert error is not None
    assert error.type == "RecursionError"


class Deaf(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError("deaf")


def test_a_log_that_raises_stops_no_run() -> None:
    """A thread that timed out is logged; so is its late result."""
    late, deaf = threading.Event(), Deaf()
    logger = logging.getLogger("flows")

    @flows.task(name="handlers-slow", timeout="10ms", attempts=2)
    def slow() -> None:
        late.wait(20)

    logger.addHandler(deaf)
    try:
        run = flows.submit(same(flows.optional(slow().out)), executor=PRIVATE).wait(20)
        assert run.value.type == "JobTimeoutError"
    finally:
        late.set()
        logger.removeHandler(deaf)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_backoff_that_means_the_process_to_end_ends_the_run_of_a_job_that_timed_out(is_async: bool) -> None:
    late = threading.Event()

    def slow() -> None:
        late.wait(20)

    async def async_slow() -> None:
        await asyncio.Event().wait()

    def leave(attempt: int, error: BaseException) -> float:
        raise SystemExit(3)

    handler: Any = async_slow if is_async else slow
    task: Any = flows.task(handler, name="handlers-slow", timeout="10ms", attempts=2, backoff=Backoff.custom(leave))
    run = flows.submit(task(), executor=PRIVATE)
    try:
        with pytest.raises(SystemExit):
            run.wait(20)
        assert run.state == "cancelled"
    finally:
        late.set()


def script(code: str, *, ends: int = 0) -> str:
    """What a process says that runs *code*: nothing on stderr, and the exit status expected."""
    start = f"""
import asyncio, atexit, os, sys, threading, multiprocessing
import flows
@flows.task
def same(value=0): return value
@flows.task
async def async_same(value=0): return value
@flows.task
def total(*values): return sum(values)
@flows.task
def blocks(): threading.Event().wait(60)
@flows.task
async def async_blocks(): await asyncio.sleep(60)
{code}
"""
    # Newer Pythons warn of any fork beside threads.
    command = [sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", "-c", start]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stderr, done.returncode) == ("", ends)
    return done.stdout


def test_a_process_ends_at_once_and_quietly_whatever_still_runs() -> None:
    code = """
runs = [flows.submit(job) for job in (blocks(), async_blocks(), blocks.using(timeout=50)(), same.using(delay=50)(1))]
for run in runs[:2]:
    next(iter(run.events()))
threading.Thread(target=runs[0].wait, daemon=True).start()
threading.Thread(target=lambda: [flows.execute(same(n)) for n in range(10**7)], daemon=True).start()
sys.exit(5)
"""
    assert script(code, ends=5) == ""


@pytest.mark.parametrize("warm", ["", "flows.execute(total(same(1).out, async_same(2).out))"], ids=["cold", "warm"])
def test_flows_run_at_exit(warm: str) -> None:
    code = f"""
{warm}
@atexit.register
def late():
    print(flows.execute(total(*(same(n).out for n in range(50)))).value)
"""
    assert script(code) == "1225\n"


def test_flows_run_in_threads_that_outlive_the_main_one() -> None:
    code = """
main = threading.main_thread()
def late():
    main.join()
    print(flows.execute(same(3)).value)
threading.Thread(target=late).start()
"""
    assert script(code) == "3\n"


def test_forked_processes_run_flows_of_their_own() -> None:
    code = """
from flows import _run_options
flows.execute(total(same(1).out, async_same(2).out))
flows.submit(blocks(), key="k")
@flows.task
def forks():
    unused = set(_run_options._fresh)
    child = os.fork()
    if not child:
        run = flows.execute(total(same(1).out, async_same(2).out))
        good = run.value == 3 and unused and run.id not in unused  # as the parent may give them, too
        try:
            flows.get(key="k")
        except flows.UnknownRunError:
            os._exit(0 if good else 7)
        os._exit(8)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(flows.execute(forks()).value, flows.execute(async_same(4)).value)
"""
    assert script(code) == "0 4\n"
