"""Runs as their callers hold them: state, value, errors with their cause, waiting, cancelling."""

import asyncio
import copy
import gc
import pickle
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

import flows
from flows.errors import (
    DefinitionError,
    FlowFailedError,
    JobFailedError,
    NoValueError,
    RunCancelledError,
    UnknownRunError,
    WaitTimeoutError,
)

PRIVATE = "memory://?private=1"

give = flows.task(lambda value=None: value, name="run-give")


class Declined(Exception):
    pass


@flows.task(name="run-fail")
def fail() -> None:
    raise Declined("no money")


@pytest.fixture
def held() -> Iterator[flows.Run[Any]]:
    release = threading.Event()
    hold = flows.task(lambda: release.wait(10), name="run-hold")
    run = flows.submit(give.using(id="root")(hold().out), executor=PRIVATE)
    run.release = release  # type: ignore[attr-defined]
    yield run
    release.set()
    run.wait(10)


def test_a_completed_run() -> None:
    run = flows.execute(flows.flow(lambda: give(5), name="named"), executor=PRIVATE)
    assert (run.state, run.value, run.name, run.key, run.check(), run.wait()) == (
        "completed",
        5,
        "named",
        None,
        run,
        run,
    )
    assert len(run.id) == 32
    assert repr(run) == f"<run {run.id} of 'named': completed>"
    keyed = flows.execute(give(5), executor=PRIVATE, key="k")
    assert repr(keyed) == f"<run {keyed.id} of 'run-give' key 'k': completed>"


def test_a_failed_run_raises_with_itself_and_the_live_cause() -> None:
    with pytest.raises(FlowFailedError) as caught:
        flows.execute(give(give.using(id="between")(fail().out).out))
    error = caught.value
    assert isinstance(error.__cause__, Declined)
    assert (error.run.state, error.run.jobs["run-fail"].state) == ("failed", "failed")
    assert str(error).startswith("flow 'run-give' failed: ")
    for part in ("run-fail", "Declined", "no money"):
        assert part in str(error)


def test_a_failed_run_raises_the_same_each_time_it_is_asked() -> None:
    run = flows.execute(fail(), check=False)
    texts = set()
    for ask in (lambda: run.value, run.check, lambda: run.wait().check()):
        with pytest.raises(FlowFailedError) as caught:
            ask()
        texts.add(str(caught.value))
        assert caught.value.run is run
    assert len(texts) == 1


def test_the_error_of_a_run_can_be_pickled_and_copied() -> None:
    with pytest.raises(FlowFailedError) as caught:
        flows.execute(fail())
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again), again.run) == (FlowFailedError, str(caught.value), None)
    assert str(copy.copy(caught.value)) == str(caught.value)


def test_a_cause_that_is_not_known_here_is_told_in_words() -> None:
    run = flows.execute(fail(), check=False)
    run._record.exceptions.clear()  # type: ignore[attr-defined]
    with pytest.raises(FlowFailedError) as caught:
        run.check()
    assert isinstance(caught.value.__cause__, JobFailedError)
    assert "Declined: run-fail: no money" in str(caught.value.__cause__)


def test_of_several_roots_a_failed_one_counts_most_then_a_cancelled_one() -> None:
    def roots(*jobs: flows.Job[Any]) -> flows.Flow[Any]:
        return flows.Flow("several", jobs, several=True)

    skipping = flows.task(_skip, name="run-skip")
    assert flows.execute(roots(give(1), skipping()), executor=PRIVATE).state == "completed"
    assert flows.execute(roots(give(1), fail()), executor=PRIVATE, check=False).state == "failed"
    run = flows.submit(roots(give.using(delay="1h")(1), fail()), executor=PRIVATE)
    for event in run.events():
        if event.kind == "failed":
            run.cancel("enough")
    assert {view.state for view in run.jobs.values()} == {"cancelled", "failed"}
    assert run.state == "failed"


def _skip() -> None:
    raise flows.Skip("nothing to do")


def test_a_skipped_root_completes_without_a_value() -> None:
    run = flows.execute(flows.task(_skip, name="run-skip")())
    assert (run.state, run.check()) == ("completed", run)
    with pytest.raises(NoValueError, match="nothing to do"):
        _ = run.value


def test_a_run_that_goes_on_has_no_value_yet(held: flows.Run[Any]) -> None:
    assert (held.state, held.check()) == ("running", held)
    with pytest.raises(NoValueError, match=r"job 'root' is waiting_children; run\.wait\(\) returns when it has ended"):
        _ = held.value


def test_the_value_is_there_as_soon_as_the_root_has_ended() -> None:
    release = threading.Event()
    slow = flows.task(lambda: release.wait(10), name="run-slow").using(on_failure="continue")
    quick = flows.task(lambda: _raise(), name="run-quick").using(on_failure="continue")
    run = flows.submit(flows.Job("run-give", children=[quick(), slow()]), executor=PRIVATE)
    for event in run.events():
        if (event.kind, event.job) == ("completed", "run-give"):
            assert (run.state, run.value) == ("running", None)
            release.set()
    assert run.state == "completed"


def _raise() -> None:
    raise Declined


@pytest.mark.parametrize("limit", [0, 0.01, "10ms"])
def test_waiting_ends_with_an_error_that_is_a_timeout_and_names_the_run(held: flows.Run[Any], limit: Any) -> None:
    with pytest.raises(WaitTimeoutError, match=held.id) as caught:
        held.wait(limit)
    assert isinstance(caught.value, TimeoutError)
    assert held.state == "running"


@pytest.mark.parametrize("limit", ["soon", -1, float("nan"), True, []], ids=range(5))
def test_a_limit_that_is_no_duration_is_refused(held: flows.Run[Any], limit: Any) -> None:
    with pytest.raises(DefinitionError, match="timeout"):
        held.wait(limit)


def test_many_may_wait_for_one_run(held: flows.Run[Any]) -> None:
    seen: list[str] = []
    threads = [threading.Thread(target=lambda: seen.append(held.wait(10).state)) for _ in range(5)]
    for thread in threads:
        thread.start()
    held.release.set()  # type: ignore[attr-defined]
    for thread in threads:
        thread.join(10)
    assert seen == ["completed"] * 5


def test_a_cancelled_run_raises_with_the_reason_and_itself(held: flows.Run[Any]) -> None:
    held.cancel("no longer needed")
    held.release.set()  # type: ignore[attr-defined]
    held.wait(10)
    assert held.state == "cancelled"
    with pytest.raises(RunCancelledError, match="no longer needed") as caught:
        held.check()
    assert caught.value.run is held


def test_execute_raises_when_its_run_is_cancelled_from_elsewhere() -> None:
    executor = flows_executor()

    @flows.task(name="run-own-end")
    def end() -> None:
        flows.get(flows.current().run_id, executor=executor).cancel("by a handler")
        flows.current().check()

    with pytest.raises(RunCancelledError, match="by a handler"):
        flows.execute(end(), executor=executor)
    assert flows.execute(end(), executor=executor, check=False).state == "cancelled"


def flows_executor() -> Any:
    from flows._executors import executor_of

    return executor_of(PRIVATE)


def test_a_run_without_a_key_leaves_with_its_object_and_one_with_a_key_stays() -> None:
    executor = flows_executor()
    run, keyed = flows.execute(give(1), executor=executor), flows.execute(give(2), executor=executor, key="k")
    ids = (run.id, keyed.id)
    gone = weakref.ref(run._record)
    del run, keyed
    gc.collect()
    assert gone() is None
    assert flows.get(ids[1], executor=executor).value == 2
    with pytest.raises(UnknownRunError, match=ids[0]):
        flows.get(ids[0], executor=executor)


def test_awaiting_a_run_gives_the_run() -> None:
    async def main() -> bool:
        run = flows.submit(give(1), executor=PRIVATE)
        return (await run) is run and (await run) is run and run.value == 1

    assert asyncio.run(main())


def test_runs_of_two_loops_do_not_trip_over_each_other() -> None:
    for _ in range(3):
        assert asyncio.run(flows.aexecute(give(1), executor="memory://")).value == 1
