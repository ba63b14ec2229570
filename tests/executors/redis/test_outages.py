"""Servers that are away or speak TLS themselves, as submitters and workers meet them."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import flows
from executors.redis import RedisExecutor
from tests.executors.redis.certificates import certificate
from tests.executors.redis.groups import until
from tests.executors.redis.servers import DEBIAN, Server, free_port, installed, server

pytestmark = pytest.mark.slow

QUEUE = "outage"
SOON = 20.0


@flows.task(name="outage-double", queue=QUEUE)
def double(number: int) -> int:
    return 2 * number


@flows.task(name="outage-hold", queue=QUEUE)
def hold() -> str:
    begun.set()
    assert go_on.wait(SOON)
    return "held"


begun, go_on = threading.Event(), threading.Event()


def test_workers_wait_for_a_server_that_is_away_and_say_so_once(caplog: pytest.LogCaptureFixture) -> None:
    begun.clear()
    go_on.clear()
    with server(appendonly="yes", appendfsync="always") as one, caplog.at_level(logging.INFO, "flows"):
        executor = RedisExecutor(one.url)
        with flows.Worker(executor, queues=[QUEUE], grace=5) as worker:
            held = flows.submit(hold(), executor=executor)
            waits = flows.submit(double.using(delay="1s")(1), executor=executor)
            assert begun.wait(SOON)
            one.kill()
            go_on.set()
            until(lambda: "the store does not answer" in caplog.text, "it is said")
            threading.Event().wait(2.5)  # long enough for the pauses between attempts to have become their longest
            one.start()
            returned = time.monotonic()
            until(lambda: "the store answers again" in caplog.text, "and that it is over")
            took = time.monotonic() - returned
            assert (held.wait(SOON).value, waits.wait(SOON).value) == ("held", 2)
            assert worker.running
            assert [len(job.attempts) for run in (held, waits) for job in run.jobs.values()] == [1, 1]
        executor.close()
    assert took < 1.0 + 1.5  # of a machine that is busy
    assert caplog.text.count("the store answers again") == 1
    (said,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "the store does not answer" in said


def test_a_worker_may_be_started_before_its_server(caplog: pytest.LogCaptureFixture) -> None:
    with server() as one:
        one.kill()
        executor = RedisExecutor(one.url)
        worker = flows.Worker(executor, queues=[QUEUE], name="early", grace=1)
        with pytest.raises(flows.UnavailableError):
            worker.start()  # where somebody is there to see it
        thread = threading.Thread(target=worker.run)
        thread.start()
        until(lambda: "worker early waits for its store: " in caplog.text, "it says so")
        one.start()
        assert flows.execute(double(4), executor=executor).value == 8
        worker.stop(SOON)
        thread.join(SOON)
        assert caplog.text.count("waits for its store") == 1
        executor.close()


def test_who_submits_or_asks_hears_within_two_seconds_that_the_server_is_away() -> None:
    with server() as one:
        executor = RedisExecutor(one.url)
        run = flows.submit(double(1), executor=executor, key="k")
        one.kill()
        asked: list[Callable[[], Any]] = [
            lambda: flows.submit(double(2), executor=executor),
            lambda: flows.submit(double(2), executor=RedisExecutor(one.url)),
            lambda: flows.get(run.id, executor=executor),
            lambda: run.state,
            lambda: run.cancel("enough"),
            lambda: executor.queues(),
        ]
        for ask in asked:
            began = time.monotonic()
            with pytest.raises(flows.UnavailableError):
                ask()
            assert time.monotonic() - began < 2.0
        executor.close()


def test_who_waits_for_a_run_hears_that_the_server_has_lost_its_data_and_workers_go_on() -> None:
    begun.clear()
    go_on.clear()
    with server() as one:
        executor = RedisExecutor(one.url)
        with flows.Worker(executor, queues=[QUEUE], grace=5):
            lost = flows.submit(hold(), executor=executor)
            assert begun.wait(SOON)
            one.ask("FLUSHALL")
            with pytest.raises(flows.UnknownRunError, match="lost with the server's data"):
                lost.wait(3 * SOON)
            go_on.set()  # what ends now is of no run
            assert flows.execute(double(4), executor=executor, timeout=SOON).value == 8
        executor.close()


def with_tls(**options: object) -> Server:
    """A server that speaks TLS at its port; Debian's can, those of the wheels cannot."""
    cert, key = certificate("localhost")
    files = {"tls_cert_file": cert, "tls_key_file": key, "tls_ca_cert_file": cert}
    for attempt in range(10):
        try:
            return Server(DEBIAN, tls_port=free_port(), **files, **options)  # type: ignore[arg-type]
        except RuntimeError:
            if attempt == 9:
                raise
    raise AssertionError


def test_a_server_that_speaks_tls_itself() -> None:
    if DEBIAN not in installed():  # as it must be in CI, which another test sees to
        return
    cert, key = certificate("localhost")
    for wanted, ours in (("no", ""), ("yes", f"&ssl_certfile={cert}&ssl_keyfile={key}")):
        one = with_tls(tls_auth_clients=wanted)
        try:
            port = one.tls_port
            executor = RedisExecutor(f"rediss://localhost:{port}?ssl_ca_certs={cert}{ours}")
            with flows.Worker(executor, queues=[QUEUE], grace=1):
                assert flows.execute(double(3), executor=executor).value == 6
            executor.close()
            for url, told in (
                (f"redis://localhost:{port}", "rediss://"),
                (f"rediss://localhost:{port}", "is not trusted"),
                *([(f"rediss://localhost:{port}?ssl_ca_certs={cert}", "certificate")] if ours else []),
            ):
                with pytest.raises(flows.ExecutorError, match=told):
                    flows.submit(double(3), executor=RedisExecutor(url))
        finally:
            one.stop()
