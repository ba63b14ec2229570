"""Scripts on a cluster: each of them touches no slot but that of the one key which it is called with."""

import hashlib
import struct
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

import flows
from executors._leasing._sharing import Sharing
from executors._stored import pack, writing
from executors.redis import _shard
from executors.redis._alike import AlikeRun, arguments
from executors.redis._functions import Functions
from executors.redis._keys import Keys
from executors.redis._scripts import Script, names, script
from executors.redis._shard import Shard
from executors.redis._sockets import plain_options
from executors.redis._store import RedisStore, new_run, stated
from flows._control import control
from flows._handlers import perform
from flows._verbs import Grant, Settle
from flows.executor import RunOptions
from tests.executors.redis.groups import until
from tests.executors.redis.servers import Server, server
from tests.executors.redis.test_stateful import Following
from tests.executors.redis.test_store import Worker, put
from tests.executors.shelf import inside


class Direct:
    """Commands to one node, whatever it says of slots."""

    def __init__(self, there: Server) -> None:
        kind: Any = redis.UnixDomainSocketConnection
        self._connection = kind(there.path, **plain_options())

    def call(self, *command: Any) -> Any:
        (reply,) = self.calls([command])
        if isinstance(reply, Exception):
            raise reply
        return reply

    def calls(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        self._connection.send_packed_command(self._connection.pack_commands(commands))
        return [self._read() for _ in commands]

    def _read(self) -> Any:
        try:
            return self._connection.read_response()
        except redis.ResponseError as error:
            return error

    def channel(self, purpose: str) -> "Direct":
        return self

    @property
    def functions(self) -> Functions:
        none = Functions()
        none.usable = False
        return none

    def send(self, *command: Any) -> None:
        self._connection.send_command(*command)

    def receive(self) -> Any:
        reply = self._read()
        if isinstance(reply, Exception):
            raise reply
        return reply

    def is_answered(self) -> bool:
        return True

    def close(self) -> None: ...


@pytest.fixture(scope="module")
def node() -> Iterator[Server]:
    """A cluster of one node."""
    with server(cluster_enabled="yes") as there:
        there.ask("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        until(lambda: "cluster_state:ok" in str(there.ask("CLUSTER", "INFO")), "the cluster is up")
        yield there


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The scripts that have been called; each has a first line that has undeclared slots refused."""
    found: set[str] = set()

    def strict(name: str) -> Script:
        found.add(name)
        text = b"#!lua\n" + script(name).text
        return script(name)._replace(text=text, sha=hashlib.sha1(text).hexdigest())

    monkeypatch.setattr(_shard, "script", strict)
    return found


@flows.task(name="slots-many")
def many() -> list[int]:
    flows.current().log("many")
    return [*range(300)]


@flows.task(name="slots-one", idempotency_key="one")
def one(item: int) -> int:
    return item


@flows.task(name="slots-wide")
def wide(parts: list[int]) -> int:
    return len(parts)


class Hands(Worker):
    """A worker that shares results, and tells of starts."""

    def settled(self, grant: Grant) -> Settle:
        if grant.control:
            return writing(control)(grant, self.store.clock)
        self.store.began(grant)
        sharing = Sharing(cast("Any", self.store))
        early = sharing.before(grant, self.store.clock) if grant.run.plan.names[grant.job] == "slots-one" else None
        if early is not None:
            return early
        settle = inside(writing(perform))(grant, self.store.clock)
        return sharing.after(settle) if grant.run.plan.names[grant.job] == "slots-one" else settle


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_scripts_touch_no_slot_but_that_of_their_key(node: Server, called: set[str]) -> None:
    way = Direct(node)
    machine = type("Following", (Following,), {"way": staticmethod(lambda: way)})
    checks = list(HealthCheck)
    given = settings(
        max_examples=20, stateful_step_count=30, deadline=None, report_multiple_bugs=False, suppress_health_check=checks
    )
    run_state_machine_as_test(machine, settings=given)
    store = RedisStore(cast("Any", way), "slots", shard=Shard(way, Keys("slots")))
    store.shard.run("state", stated({"default": (None, (10**6, 1.0))}))
    put(store, cast("Any", flows.each(one, many().out)))
    put(store, cast("Any", wide([one.using(id=f"part-{part}")(part).out for part in range(600)])))
    chain = put(store, cast("Any", wide([one(1).out])))
    worker = Hands(store)
    worker.run_dry()
    # What chance may have left out.
    assert store.reopen(SimpleNamespace(id=chain), 0, anew=True)
    store.pause("default", paused=False)
    store.extend([])
    store.rescue()
    store.cancel(chain, "over")
    store.shard.sweep(chain)
    store.shard.run("spans", chain, struct.pack("<Id8s", 0, 1.0, bytes(8)))
    store.shard.run("report", "nobody", 0, 1, "log", b"said", 10)
    store.shard.run("exhume", "nobody", bytes(6), 0)
    store.shard.run("beat", "w", "[]", 1)
    store.shard.run("vow", chain, "0 nobody key")
    store.shard.run("hold", 0, "nobody", 0, "job", 1, "key", "digest", "", "")
    store.shard.run("stands", chain, 0)
    store.shard.run("deposit", "nobody", "job", 1, "key", b"1", 1000)
    store.shard.run("unhold", "nobody", "key")
    forms = [new_run(pack(flows.plan(one(2)), RunOptions(f"alike-{turn}", None, "0" * 32))) for turn in range(3)]
    store.shard.run("put_alike", *arguments([form for form in forms if isinstance(form, AlikeRun)]))
    assert called == set(names())
