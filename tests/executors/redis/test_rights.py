"""A user with the rights of the recipe in docs/running-on-redis.md, and no others, can do all that there is to do."""

import re
from pathlib import Path
from typing import Any

import pytest

import flows
from executors.redis import RedisExecutor
from executors.redis._errors import ACL_COMMANDS
from tests.executors.redis import killed
from tests.executors.redis.servers import VALKEY, Server, installed, server

PAGE = Path(__file__).resolve().parents[3] / "docs" / "running-on-redis.md"
QUEUE = "rights"
SOON = 20.0
FORBIDDEN = [
    ("FLUSHALL",),
    ("KEYS", "*"),
    ("CONFIG", "GET", "*"),
    ("SET", "foreign", "1"),
    ("GET", "foreign"),
    ("EVAL", "", 0),
]


@flows.task(name="rights-double", queue=QUEUE)
def double(number: int) -> int:
    return 2 * number


@flows.task(name="rights-total", queue=QUEUE)
def total(*numbers: int) -> int:
    flows.current().progress({"added": len(numbers)})
    flows.current().log(f"{len(numbers)} numbers")
    return sum(numbers)


@flows.task(name="rights-wrong", queue=QUEUE)
def wrong() -> int:
    raise ValueError("never")


@flows.flow
def doubled(count: int) -> Any:
    return total.using(id="sum")(*[double(number).out for number in range(count)])


def recipe() -> list[str]:
    """The command of the page."""
    lines: list[str] = re.findall(r"^ACL SETUSER flows .*$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert len(lines) == 1
    return lines[0].split()


def test_the_recipe_of_the_page_is_what_errors_tell() -> None:
    assert recipe() == [
        *("ACL", "SETUSER", "flows", "on", ">password", "resetkeys", "~{flows:*", "resetchannels", "-@all"),
        *ACL_COMMANDS.split(),
    ]


def executor_on(one: Server) -> RedisExecutor:
    one.ask(*recipe())
    return RedisExecutor(one.url.replace("unix://", "unix://flows:password@"))


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind == VALKEY else [pytest.mark.slow]) for kind in installed()]
)
def test_a_flow_is_submitted_run_and_looked_after(kind: str) -> None:
    with server(kind) as one:
        executor = executor_on(one)
        with flows.Worker(executor, queues=[QUEUE], grace=1):
            run = flows.execute(doubled(3), executor=executor, key="k", timeout=60)
            assert flows.execute(doubled(3), executor=executor, key="k").id == run.id
            assert flows.execute(doubled(700), executor=executor).value == 700 * 699
            assert run.jobs["sum"].logs == ("3 numbers",)
            assert [event.kind for event in run.events()][-1] == "ended"
            executor.pause_queue(QUEUE)
            late = flows.submit(doubled(1), executor=executor)
            assert late.jobs["sum"].state == "waiting_children"
            late.explain("sum")
            late.cancel("enough")
            executor.resume_queue(QUEUE)
            assert len(executor.runs().runs) == 3
            assert [queue.name for queue in executor.queues()] == [QUEUE]
            assert executor.dead_letters().letters == []
            assert len(executor.prune().runs) == 3
            assert all(check.status != "fail" for check in executor.doctor())
        executor.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", installed())
def test_flows_of_all_shapes_fail_are_retried_and_forgotten(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(killed, "LEDGER", str(tmp_path / "ledger"))
    limited = flows.Queue(killed.QUEUE, concurrency=3, rate="500/s")
    with server(kind) as one:
        executor = executor_on(one)
        executor.lease_seconds = 1.0  # renewed and rescued while this goes on
        with flows.Worker(executor, queues=[limited, QUEUE], concurrency=16, grace=1):
            runs = [flows.submit(killed.shapes(width, str(width)), executor=executor) for width in (5, 200)]
            assert [run.wait(SOON).value for run in runs] == [killed.value_of(5), killed.value_of(200)]
            late = flows.submit(
                killed.effect.using(delay="50ms", priority=2, lifo=True)(1, pause=1.2), executor=executor
            )
            failed = flows.execute(double(wrong.using(id="wrong")().out), executor=executor, check=False)
            assert late.wait(SOON).value == 1
            assert failed.retry().wait(SOON).state == "failed"
            assert "wrong" in [one.letter.job for one in executor.dead_letters().letters]
            assert executor.drop_dead_letters(failed.id) == 1
            assert runs[0].rerun("killed-numbers").wait(SOON).value == killed.value_of(5)
            with pytest.raises(flows.FlowFailedError, match="timeout"):
                flows.execute(killed.effect.using(timeout="50ms")(1, pause=0.3), executor=executor)
            short = flows.submit(killed.effect(1), executor=executor, keep="1ms", keep_failed="1ms", keep_count=1)
            assert short.wait(SOON).state == "completed"
            flows.execute(killed.effect(2), executor=executor, fail_fast=True, key="other", key_ttl="1m")
            executor.store.rescue()
        for command in FORBIDDEN:
            with pytest.raises(flows.ExecutorError):
                executor.link.call(*command)
        executor.close()
