"""Ctrl-C leaves a run in a file open: what was under way goes back, and whoever asks for the run goes on."""

from pathlib import Path

import pytest

import flows
from executors.sqlite import SqliteExecutor

done: list[str] = []
strikes = [True]


@flows.task
def interrupted_first() -> str:
    done.append("first")
    return "a"


@flows.task
def interrupted_second(value: str) -> str:
    if strikes[0]:
        raise KeyboardInterrupt
    done.append("second")
    return value + "b"


@flows.flow
def interrupted_flow() -> flows.Job[str]:
    return interrupted_second(interrupted_first().out)


@pytest.mark.parametrize("anew", [False, True], ids=["here", "by another"])
def test_an_interrupted_run_is_resumed(tmp_path: Path, anew: bool) -> None:
    done.clear()
    strikes[0] = True
    executor = SqliteExecutor(f"sqlite:///{tmp_path}/runs.db?synchronous=normal")
    with pytest.raises(KeyboardInterrupt):
        flows.execute(interrupted_flow(), executor=executor, key="k")
    run = flows.get(key="k", executor=executor)
    assert (run.state, {job.state for job in run.jobs.values()}) == ("running", {"completed", "waiting"})
    strikes[0] = False
    other = SqliteExecutor(f"sqlite:///{tmp_path}/runs.db?synchronous=normal") if anew else executor
    resumed = flows.resume("k", executor=other)
    assert (resumed.value, done) == ("ab", ["first", "second"])
    assert [one.outcome for one in resumed.jobs["interrupted_second"].attempts][-1] == "completed"
    assert run.state == "completed"
    for one in {executor, other}:
        one.close()
