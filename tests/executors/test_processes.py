"""Handlers in children: kept, limited, killed; nothing is left over, whatever ends."""

import contextlib
import functools
import logging
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

import flows
from executors._leasing import _process_attempts, _processes
from executors._leasing._processes import processes
from executors._leasing._wire import packed, unpacked
from executors.memory import MemoryExecutor
from flows._run_options import run_options
from flows._verbs import End, Settle, Want
from flows.errors import DefinitionError, Failed
from tests.executors import process_tasks
from tests.executors.latch import PATIENCE, gather
from tests.executors.process_scripts import ended, ends, first_number, is_alive, started
from tests.executors.process_tasks import (
    Shelf,
    alone,
    generate,
    give_lock,
    halve,
    leave,
    meet,
    short,
    strange,
    stubborn,
    twice,
    where,
)

pytestmark = pytest.mark.slow


class _Noted(subprocess.Popen[Any]):
    """A process that is remembered, as others' run beside it: a server's, a notebook's."""

    begun: ClassVar[list[int]] = []

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.begun.append(self.pid)


@pytest.fixture(autouse=True, scope="module")
def _nothing_is_left() -> Iterator[None]:
    _Noted.begun.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", _Noted)
        yield
    _end_all()
    for pid in _Noted.begun:
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)  # no child any more, not even one to be collected


@pytest.fixture
def _fresh() -> None:
    _end_all()


def _end_all() -> None:
    with processes._lock:
        children = tuple(processes._children)
        processes._idle.clear()
    for child in children:
        processes.drop(child)


def one_at_a_time() -> Any:
    return MemoryExecutor("memory://?private=1&processes=1")


def execute(flow: Any, **options: Any) -> flows.Run[Any]:
    return flows.execute(flow, executor=options.pop("executor", None) or one_at_a_time(), **options)


def error_of(run: flows.Run[Any], job: str) -> Failed:
    error = run.jobs[job].error
    assert error is not None
    return error


def test_a_child_is_kept_for_the_next_job_and_run() -> None:
    first = execute(gather(where().out, where().out))
    second = execute(where())
    assert {*first.value, second.value} == {first.value[0]}
    assert first.jobs["where"].worker == f"{first.jobs['latch-gather'].worker}/{first.value[0]}"


@pytest.mark.usefixtures("_fresh")
def test_a_child_that_is_idle_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_processes, "KEPT_SECONDS", 0.02)
    pid = execute(where()).value
    assert ends(pid)
    assert execute(where()).value != pid


def test_a_child_that_died_idle_is_replaced_and_costs_nothing() -> None:
    pid = execute(where()).value
    os.kill(pid, signal.SIGKILL)
    run = execute(where())
    assert run.value != pid
    assert [attempt.outcome for attempt in run.jobs["where"].attempts] == ["completed"]


def test_no_more_children_than_seats(tmp_path: Path) -> None:
    place = str(tmp_path / "place")
    run = execute(gather(*(alone(place).out for _ in range(12)), where().out))
    assert all(run.value)


def test_seats_are_shared_by_the_runs_of_an_executor(tmp_path: Path) -> None:
    place, executor = str(tmp_path / "place"), one_at_a_time()
    runs = [flows.submit(gather(*(alone(place).out for _ in range(4))), executor=executor) for _ in range(3)]
    assert all(all(run.wait(PATIENCE).check().value) for run in runs)


def test_as_many_children_as_seats(tmp_path: Path) -> None:
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    executor = MemoryExecutor("memory://?private=1&processes=2")
    assert execute(gather(meet(a, b).out, meet(b, a).out), executor=executor).value == [True, True]


@pytest.mark.parametrize("processes", ["0", "x", "-1", ""])
def test_the_number_of_processes_is_checked(processes: str) -> None:
    with pytest.raises(flows.UnknownExecutorError, match="processes="):
        MemoryExecutor(f"memory://?processes={processes}")


def test_one_that_does_not_end_when_told_to_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_processes, "TERM_SECONDS", 0.05)
    pid = tmp_path / "pid"
    with caplog.at_level(logging.INFO, "flows"):
        run = execute(stubborn.using(timeout=0.3)(str(pid)), check=False)
    assert error_of(run, "stubborn").type == "JobTimeoutError"
    assert not is_alive(int(pid.read_text()))
    assert not [one for one in caplog.records if one.name == "flows"]  # no thread was left, no late result dropped


def test_a_retry_after_a_timeout_does_not_run_beside_the_first(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    run = execute(stubborn.using(timeout=0.2, attempts=2)(str(pid)), check=False)
    first, second = run.jobs["stubborn"].attempts
    assert (first.outcome, second.outcome) == ("failed", "failed")
    assert first.end is not None
    assert second.start >= first.end


def test_cancelling_kills_what_does_not_stop_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_processes, "TERM_SECONDS", 0.05)
    monkeypatch.setattr(_process_attempts, "GRACE_SECONDS", 0.05)
    pid = tmp_path / "pid"
    waiting = [where.using(id=f"w{number}")() for number in range(5)]
    run = flows.submit(gather(stubborn(str(pid)).out, *(job.out for job in waiting)), executor=one_at_a_time())
    next(event for event in run.events() if event.kind == "progress")
    run.cancel("enough")
    assert run.wait(PATIENCE).state == "cancelled"
    assert run.jobs["stubborn"].state == "cancelled"
    assert not is_alive(int(pid.read_text()))


@pytest.mark.parametrize(("how", "text"), [("exit", "SystemExit: enough"), ("interrupt", "KeyboardInterrupt")])
def test_what_is_meant_for_a_process_fails_the_job_only(how: str, text: str) -> None:
    run = execute(gather(flows.optional(leave(how).out), where().out))
    assert (run.value[0].type, text in run.value[0].message) == ("RuntimeError", True)


def test_a_child_that_closes_its_socket_is_lost() -> None:
    run = execute(leave("hang up"), check=False)
    assert error_of(run, "leave").type == "LeaseLostError"


@pytest.mark.usefixtures("_fresh")
def test_where_no_process_can_be_started_the_job_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_processes, "_command", lambda: [str(tmp_path / "python")])
    run = execute(where(), check=False)
    assert "no process could be started" in error_of(run, "where").message
    assert [attempt.outcome for attempt in run.jobs["where"].attempts] == ["lost"] * 3


def test_a_child_that_dies_unheard_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_processes, "LOOK_SECONDS", 0.1)
    note = tmp_path / "note"
    try:
        run = execute(leave("fork", str(note)), check=False)
    finally:
        for forked in note.read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(forked), signal.SIGKILL)
    assert "exit code 3" in error_of(run, "leave").message


@pytest.mark.parametrize("job", [strange(), generate()], ids=["unreadable", "generator"])
def test_a_result_that_is_none_fails_the_job(job: flows.Job[Any]) -> None:
    run = execute(job, check=False)
    assert error_of(run, next(iter(run.jobs))).type == "BadResultError"


def test_children_travel_when_they_are_asked_for() -> None:
    assert execute(flows.Job("ponder", children=[where()])).value.startswith("[('where', ")
    said = execute(flows.Job("look_below", children=[give_lock()])).value
    assert "cannot be sent to a process" in said
    run = execute(flows.Job("ponder", children=[give_lock()]), check=False)
    assert (error_of(run, "ponder").type, len(run.jobs["ponder"].attempts)) == ("DataError", 1)


@pytest.mark.parametrize("task", [twice, short, Shelf.shelved], ids=lambda task: task.name)
def test_functions_are_found_by_the_name_that_their_module_has_for_them(task: flows.Task[[], int]) -> None:
    assert execute(task()).value != os.getpid()


def test_a_builtin_is_found() -> None:
    assert execute(halve(2)).value == (4, 1)


def test_functions_that_cannot_be_imported_are_refused_together() -> None:
    ran: list[int] = []
    local = flows.task(lambda: ran.append(1), name="local", run_in="process")
    other = flows.task(functools.partial(ran.append, 3), name="other", run_in="process")
    flow = gather(local().out, local().out, other().out, flows.task(lambda: ran.append(2), name="thread")().out)
    with pytest.raises(DefinitionError) as caught:
        execute(flow)
    assert len(caught.value.problems) == 2
    assert all("top level of a module" in problem for problem in caught.value.problems)
    assert ran == []


def test_a_function_that_another_took_the_place_of_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    job = process_tasks.spare()
    monkeypatch.setattr(process_tasks, "spare", alone)
    with pytest.raises(DefinitionError, match="another by its name"):
        execute(job)


class Awkward(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


class Selfish(LookupError):
    def __reduce__(self) -> Any:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        Awkward(1, 2),
        Silent(),
        Selfish("y"),
        OSError(2, "no file"),
        ExceptionGroup("g", [Awkward(1, 2)]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_any_exception_comes_back_as_one_of_its_kind(error: Exception) -> None:
    raised = packed(error, "job", final=False)
    back = unpacked(raised)
    kind = ValueError if type(error) is ValueError else type(error)
    assert isinstance(back, kind) or isinstance(error, ExceptionGroup)
    assert type(back).__name__ == type(error).__name__
    assert Failed.of(back, "job").message in (raised.failed.message, Failed.of(error, "job").message)
    assert raised.failed.traceback in str(back.__cause__)


def test_an_exception_of_a_class_that_cannot_be_imported_is_of_the_nearest_that_can() -> None:
    class Local(KeyError):
        pass

    back = unpacked(packed(Local("k"), "job", final=False))
    assert (type(back).__name__, isinstance(back, KeyError), str(back)) == ("Local", True, "'k'")


def test_the_suspects_of_a_run_that_ended_are_let_go() -> None:
    executor = one_at_a_time()
    store = executor.store
    record = executor.submit(flows.plan(gather(where.using(id="a")().out)), run_options(None, {}, {}), background=False)
    (grant,) = store.exchange("loop", 1, [], Want(1)).grants
    lost = Settle(grant, End.LOST, None, 0.0, 0.0)
    assert store.exchange("loop", 2, [lost], Want(0)).grants == []
    assert store._claims.queues.has_suspects
    executor.cancel(record, "enough")
    assert record.ended
    assert not store._claims.queues.has_suspects


GUARD = "\nif __name__ == '__main__':\n"


def test_a_script_that_lacks_the_guard_is_told_so(tmp_path: Path) -> None:
    body = "run = flows.execute(where(), check=False)\nprint(run.jobs['where'].error)"
    code, output = ended(tmp_path, body)
    assert (code, output.count("DefinitionError")) == (0, 1)
    assert 'put what it runs under if __name__ == "__main__":' in output


def test_classes_of_a_script_are_the_same_in_both_processes(tmp_path: Path) -> None:
    body = """
class Mine(Exception): ...

@flows.task(run_in="process", attempts=2, retry_on=Mine)
def echo(value):
    if flows.current().attempt == 1:
        raise Mine("again")
    assert isinstance(value, Mine)
    return value

if __name__ == "__main__":
    print(type(flows.execute(echo(Mine())).value) is Mine)
"""
    assert ended(tmp_path, body) == (0, "True\n")


def test_what_is_typed_at_a_prompt_is_refused(tmp_path: Path) -> None:
    body = (
        "exec(compile('@flows.task(run_in=\"process\")\\ndef typed(): ...', '<stdin>', 'exec'))\n"
        "try:\n    flows.execute(typed())\nexcept flows.DefinitionError as error:\n    print(error)"
    )
    code, output = ended(tmp_path, body)
    assert (code, "at a prompt" in output, "'typed'" in output) == (0, True, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_children_end_with_their_parent(tmp_path: Path, number: signal.Signals) -> None:
    with started(tmp_path, GUARD + "    flows.execute(hang())") as process:
        pid = first_number(process)
        if number is signal.SIGINT:
            os.killpg(process.pid, number)  # as Ctrl-C does: to all of them
        else:
            process.send_signal(number)
        output, _ = process.communicate(timeout=PATIENCE)
        assert ends(pid)
    assert process.returncode != 0
    assert (output.count("Traceback"), output.count("KeyboardInterrupt")) == (
        (1, 1) if number == signal.SIGINT else (0, 0)
    )


@pytest.mark.parametrize("timeout", ["", ".using(timeout='1h')"], ids=["lent", "waiting"])
def test_an_interrupted_run_is_ended_and_the_next_one_runs(tmp_path: Path, timeout: str) -> None:
    body = f"""
    try:
        flows.execute(hang{timeout}())
    except KeyboardInterrupt:
        print("next", flows.execute(where()).value)
"""
    with started(tmp_path, GUARD + body) as process:
        pid = first_number(process)
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=PATIENCE)
        assert ends(pid)
    assert (process.returncode, output[:5]) == (0, "next ")


def test_an_interpreter_ends_though_children_are_busy_or_idle(tmp_path: Path) -> None:
    body = """
    flows.execute(where())
    run = flows.submit(hang())
    next(event for event in run.events() if event.kind == "started")
    print("bye", flush=True)
"""
    code, output = ended(tmp_path, GUARD + body)
    assert code == 0
    assert "bye" in output
    assert "Traceback" not in output


def test_a_fork_has_children_of_its_own(tmp_path: Path) -> None:
    body = """
    first = flows.execute(where(), executor="memory://?processes=1").value
    warnings.simplefilter("ignore")
    if forked := os.fork():
        _, status = os.waitpid(forked, 0)
        again = flows.execute(where(), executor="memory://?processes=1").value
        print("parent", os.waitstatus_to_exitcode(status), again == first)
    else:
        print("fork", flows.execute(where(), executor="memory://?processes=1").value != first, flush=True)
"""
    code, output = ended(tmp_path, GUARD + body)
    assert (code, sorted(output.splitlines())) == (0, ["fork True", "parent 0 True"])
