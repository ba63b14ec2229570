"""What befalls servers while a worker works: flows of all shapes end well, and nothing is done twice without cause."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from redis.crc import key_slot
from redis.exceptions import ConnectionError

import flows
from executors.redis import RedisExecutor
from tests.executors.redis import killed
from tests.executors.redis.groups import Cluster, cluster, sentinels, until
from tests.executors.redis.servers import USUAL, VALKEY, Server, installed, server, shared
from tests.executors.redis.test_killed import check

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

WIDTH = 10
SOON = 60.0
LEASE = 3.0
SLOT = key_slot(b"{flows:0}")


class Load:
    """A worker of this process, and runs that are submitted to it."""

    def __init__(self, url: str, ledger: Path) -> None:
        self.executor = RedisExecutor(url)
        self.executor.lease_seconds = LEASE
        self.runs: list[flows.Run[Any]] = []
        self._ledger = ledger

    def submit(self, count: int = 1) -> None:
        for _ in range(count):
            name = str(len(self.runs))
            self.runs.append(flows.submit(killed.shapes(WIDTH, name), executor=self.executor, key=name))

    def done(self) -> Counter[str]:
        return Counter(self._ledger.read_text().split()) if self._ledger.exists() else Counter()

    def works(self) -> None:
        """Wait until something more has been done."""
        before = sum(self.done().values())
        until(lambda: sum(self.done().values()) > before, "it works", SOON)

    def end_well(self, *, lost: bool = False) -> None:
        """All runs end, and nothing was done that need not be. *lost*: leases may have been."""
        for run in self.runs:
            run.wait(SOON)
        done = self.done()
        for run in self.runs:
            check(run, WIDTH, done)
            outcomes = {attempt.outcome for job in run.jobs.values() for attempt in job.attempts}
            assert lost or not {"lost", "released"} & outcomes


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(killed, "LEDGER", str(tmp_path / "ledger"))
    return tmp_path / "ledger"


@contextmanager
def load(url: str, ledger: Path) -> Iterator[Load]:
    one = Load(url, ledger)
    try:
        with flows.Worker(one.executor, queues=[killed.QUEUE], concurrency=4, grace=1) as worker:
            yield one
            assert worker.running
    finally:
        one.executor.close()


def moments(count: int, seconds: float = 0.03) -> Iterator[int]:
    """Some time between what happens."""
    pause = threading.Event()
    for number in range(count):
        yield number
        pause.wait(seconds)


@pytest.mark.parametrize("kind", installed())
def test_connections_are_killed_and_scripts_forgotten(kind: str, ledger: Path) -> None:
    one = shared(kind)
    one.ask("FLUSHALL")
    with load(one.url, ledger) as loaded:
        loaded.submit(4)
        loaded.works()
        for number in moments(30):
            one.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            one.ask("SCRIPT", "FLUSH")
            if number % 5 == 0:
                loaded.submit()
        loaded.end_well()
    one.ask("FLUSHALL")


def test_a_server_that_is_restored_from_a_moment_ago(ledger: Path) -> None:
    """What was acknowledged meanwhile is forgotten: those runs are gone, and what the others did then is done again."""
    with server() as one, load(one.url, ledger) as loaded:
        loaded.submit(6)
        loaded.works()
        one.ask("SAVE")
        kept = list(loaded.runs)
        loaded.submit(2)
        loaded.works()
        one.kill()
        one.start()
        loaded.submit(2)  # under the keys of runs that are forgotten, and so anew
        for run in [*kept, *loaded.runs[8:]]:
            run.wait(SOON)
            assert run.value == killed.value_of(WIDTH)
        done = loaded.done()
        assert {job.idempotency_key for run in kept for job in run.jobs.values() if job.attempts} <= set(done)
        for run in loaded.runs[6:8]:
            with pytest.raises(flows.UnknownRunError):
                flows.get(run.id, executor=loaded.executor)
        assert loaded.executor.link.call("ZCARD", "{flows:0}:q:killed:leases") == 0


def test_a_cluster_fails_over(ledger: Path) -> None:
    with cluster() as group, load(group.url, ledger) as loaded:
        loaded.submit(6)
        loaded.works()
        holder = group.holder_of(SLOT)
        _copied(holder)
        holder.kill()
        until(lambda: group.holder_of(SLOT) is not holder, "another has the slot", SOON)
        until(lambda: _takes(loaded), "it takes runs", SOON)
        loaded.submit(3)
        for run in loaded.runs:
            run.wait(SOON)
            assert run.value == killed.value_of(WIDTH)


def _copied(server: Server) -> None:
    """Return when a replica has all that was written until now."""

    def is_copied() -> bool:
        with server.client() as client, suppress(ConnectionError):  # Sentinel may end it
            client.set("{flows:0}:copied", 1, px=60_000)  # one waits for what the same connection has written
            return int(client.wait(1, 0)) == 1
        return False

    until(is_copied, "the replica has all of it")


def _takes(loaded: Load) -> bool:
    try:
        loaded.executor.link.call("PING")
    except flows.UnavailableError:
        return False
    return True


def test_the_primary_of_sentinels_fails_over(ledger: Path) -> None:
    with sentinels() as group, load(group.url, ledger) as loaded:
        loaded.submit(6)
        loaded.works()
        _copied(group.servers[0])
        group.servers[0].kill()
        until(lambda: group.servers[1].info()["role"] == "master", "it is promoted", SOON)
        until(lambda: _takes(loaded), "it takes runs", SOON)
        loaded.submit(3)
        for run in loaded.runs:
            run.wait(SOON)
            assert run.value == killed.value_of(WIDTH)


def test_a_slot_is_moved_key_by_key_and_at_once(ledger: Path) -> None:
    with cluster(replicas=False) as group, load(group.url, ledger) as loaded:
        for move in (_key_by_key, _at_once) if USUAL == VALKEY else (_key_by_key,):
            loaded.submit(4)
            loaded.works()
            source = group.holder_of(SLOT)
            target = next(node for node in group.nodes if node is not source)
            move(group, source, target)
            assert group.holder_of(SLOT) is target
            loaded.submit(2)
            loaded.end_well()
            assert not source.stored_keys()


def _key_by_key(group: Cluster, source: Server, target: Server) -> None:
    """As tools do it that know all servers."""
    target.ask("CLUSTER", "SETSLOT", SLOT, "IMPORTING", source.ask("CLUSTER", "MYID"))
    source.ask("CLUSTER", "SETSLOT", SLOT, "MIGRATING", target.ask("CLUSTER", "MYID"))
    for _ in moments(10_000, 0.001):
        keys = source.ask("CLUSTER", "GETKEYSINSLOT", SLOT, 10)
        if not keys:
            break
        source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
    for node in (target, source, *group.nodes):
        node.ask("CLUSTER", "SETSLOT", SLOT, "NODE", target.ask("CLUSTER", "MYID"))


def _at_once(group: Cluster, source: Server, target: Server) -> None:
    """As Valkey does it by itself."""
    source.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", SLOT, SLOT, "NODE", target.ask("CLUSTER", "MYID"))
    until(lambda: all(group.holder_for(node, SLOT) is target for node in group.nodes), "all know of it", SOON)


@pytest.mark.parametrize("kind", installed())
def test_a_full_server_refuses_what_is_new_and_drains(kind: str, ledger: Path) -> None:
    with server(kind, maxmemory_policy="noeviction") as one, load(one.url, ledger) as loaded:
        loaded.executor.pause_queue(killed.QUEUE)
        loaded.submit(3)
        long = flows.submit(killed.effect(1, pause=1.3 * LEASE), executor=loaded.executor)
        one.ask("CONFIG", "SET", "maxmemory", 1)
        for flow in (killed.shapes(WIDTH, "new"), killed.shapes(600, "staged")):
            with pytest.raises(flows.UnavailableError, match=r"full \(maxmemory\)"):
                flows.submit(flow, executor=loaded.executor)
        loaded.executor.resume_queue(killed.QUEUE)
        loaded.end_well()
        assert [attempt.outcome for attempt in long.wait(SOON).jobs["effect"].attempts] == ["completed"]
        assert [queue.workers for queue in loaded.executor.queues()] == [1]
        one.ask("CONFIG", "SET", "maxmemory", 0)
        loaded.submit()
        loaded.end_well()
        assert sum("nowhere" in key for key in one.stored_keys()) == 0
