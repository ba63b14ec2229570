"""Scripts as functions: where the server has them, and what happens where it has not."""

import pytest

import flows
from executors.redis import RedisExecutor
from executors.redis._errors import ACL_COMMANDS
from executors.redis._functions import library
from executors.redis._scripts import OFTEN, script
from tests.executors.redis.servers import Server

QUEUE = "functions"


def called(one: Server, *names: str) -> dict[str, int]:
    """How often the server was asked for each of these."""
    stats = one.ask("INFO", "commandstats").decode().splitlines()
    found = dict(line.removeprefix("cmdstat_").split(":", 1) for line in stats if line.startswith("cmdstat_"))
    return {name: int(found[name].split("calls=")[1].split(",")[0]) if name in found else 0 for name in names}


def run(executor: RedisExecutor) -> None:
    """A few runs, the first of which are of no shape that is known yet."""

    @flows.task(name="functions-double", queue=QUEUE)
    def double(number: int) -> int:
        return 2 * number

    with flows.Worker(executor, queues=[QUEUE], grace=1):
        runs = [flows.submit(double(double(1).out), executor=executor) for _ in range(4)]
        assert [one.wait().value for one in runs] == [4] * 4


def test_what_is_called_often_is_a_function(valkey: Server) -> None:
    valkey.ask("FUNCTION", "FLUSH")
    executor = RedisExecutor(valkey.url)
    valkey.ask("CONFIG", "RESETSTAT")
    run(executor)
    before = called(valkey, "fcall", "function|load")
    assert before["fcall"] >= 6
    assert before["function|load"] == len(OFTEN)
    valkey.ask("FUNCTION", "FLUSH")
    run(executor)
    assert called(valkey, "function|load")["function|load"] == 2 * len(OFTEN), "it is told again"
    executor.close()


@pytest.mark.parametrize("more", ["", "+fcall", "+function|load"])
def test_who_may_not_call_or_load_functions_calls_scripts(valkey: Server, more: str) -> None:
    valkey.ask("FUNCTION", "FLUSH")
    user = ["ACL", "SETUSER", "few", "reset", "on", ">password", "~{flows:*", "resetchannels", "-@all"]
    valkey.ask(*user, *ACL_COMMANDS.split(), *more.split())
    executor = RedisExecutor(valkey.url.replace("unix://", "unix://few:password@"))
    try:
        run(executor)
        assert not executor.link.functions.usable
    finally:
        executor.close()
        valkey.ask("ACL", "DELUSER", "few")


def test_a_function_begins_each_call_anew() -> None:
    made = library(
        "one", ["key = KEYS[1]", "local a, b = {}, 1\nlocal c\nfunction F.f()\n  a = 2\nend", "F.f()"], ("key",)
    )
    lines = made.text.decode().splitlines()
    assert lines[0] == f"#!lua name={made.name}"
    assert "local a, b, c" in lines
    assert lines.count("a, b = {}, 1") == lines.count("c = nil") == 1
    known = {name: script(name).library for name in OFTEN}
    assert all(one is not None and b"flags = { " in one.text for one in known.values())
    assert known["exchange"] is not None
    assert b"'allow-oom'" in known["exchange"].text, "a full server drains"
    assert known["put_plain"] is not None
    assert b"'allow-oom'" not in known["put_plain"].text, "and takes nothing new"
