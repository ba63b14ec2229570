"""A cluster, and a primary under sentinels: where the server is found, and found again."""

from collections.abc import Iterator

import pytest
from redis.crc import key_slot

from executors.redis._connection import Link
from executors.redis._doctor import examine
from executors.redis._server import check_namespace
from executors.redis._url import parse
from flows.errors import ExecutorError, UnavailableError, UnsupportedError
from tests.executors.redis.groups import Cluster, cluster, sentinels, until

pytestmark = pytest.mark.slow

FAILOVER_SECONDS = 30.0
SHARDS = 3


@pytest.fixture(scope="module")
def three() -> Iterator[Cluster]:
    with cluster(replicas=False) as one:
        yield one


def link_to(group: Cluster, shard: int = 0) -> Link:
    return Link(parse(f"{group.url}?namespace=mine&shards={SHARDS}"), shard)


def test_each_shard_lives_on_the_node_of_its_slot(three: Cluster) -> None:
    three.flush()
    for shard in range(SHARDS):
        link, key = link_to(three, shard), f"{{mine:{shard}}}:x"
        assert link.call("SET", key, shard) == b"OK"
        assert link.calls([("GET", key), ("INCR", key)]) == [str(shard).encode(), shard + 1]
        assert key in three.holder_of(key_slot(key.encode())).stored_keys()
        link.close()
    check_namespace(link_to(three), SHARDS)
    with pytest.raises(UnsupportedError, match="has '3' shards, not 2"):
        check_namespace(link_to(three), 2)


def test_a_slot_that_moves_is_followed(three: Cluster) -> None:
    three.flush()
    link, channel, key = link_to(three), link_to(three).channel("exchange"), "{mine:0}:x"
    slot = key_slot(key.encode())
    source = three.holder_of(slot)
    target = next(node for node in three.nodes if node is not source)
    link.call("SET", key, 0)
    channel.call("GET", key)
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.ask("CLUSTER", "MYID"))
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.ask("CLUSTER", "MYID"))
    assert link.call("INCR", key) == 1
    assert link.call("SET", "{mine:0}:new", "there") == b"OK"  # ASK
    assert link.calls([("GET", key), ("GET", "{mine:0}:new")]) == [b"1", b"there"]
    source.ask("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
    assert channel.call("INCR", key) == 2
    assert link.calls([("INCR", key), ("GET", "{mine:0}:new")]) == [3, b"there"]
    with pytest.raises(UnavailableError, match="is being moved"):  # each node has a part of what a script may touch
        link.call("EVAL", "return redis.call('INCR', KEYS[1])", 1, key, patience=0.2)
    assert channel.call("INCR", key) == 4
    for node in (target, source, *three.nodes):
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.ask("CLUSTER", "MYID"))
    assert channel.call("INCR", key) == 5  # MOVED
    assert link.call("INCR", key) == 6
    assert target.ask("GET", key) == b"6"
    channel.close()
    link.close()


def test_a_cluster_of_which_one_node_is_known_and_away(three: Cluster) -> None:
    alive, hosts = three.nodes[0].port, three.url
    link = Link(parse(f"redis+cluster://127.0.0.1:1,127.0.0.1:{alive}?namespace=mine"))
    assert link.call("PING") == b"PONG"
    link.close()
    with pytest.raises(UnavailableError, match=r"no node of the cluster can be used: .*nobody listens there"):
        Link(parse("redis+cluster://127.0.0.1:1")).call("PING", patience=0.2)
    with pytest.raises(UnsupportedError, match=r"write redis\+cluster://"):
        Link(parse(hosts.replace("+cluster", "").partition(",")[0])).call("PING", patience=0.2)


def test_the_doctor_looks_at_each_shard(three: Cluster) -> None:
    findings = examine(parse(f"{three.url}?shards=2"))
    assert {one.status for one in findings if not one.name.startswith("persistence")} == {"ok"}
    (state,) = [one.found for one in findings if one.name == "cluster (shard 1)"]
    assert state == "ok: 3 nodes, 16384 of 16384 slots served"


def test_a_cluster_loses_a_primary() -> None:
    with cluster() as group:
        link, channel, key = link_to(group), link_to(group).channel("exchange"), "{mine:0}:x"
        assert channel.call("SET", key, 1) == b"OK"
        holder = group.holder_of(key_slot(key.encode()))
        until(lambda: holder.ask("WAIT", 1, 0) == 1, "the replica has it")
        holder.kill()
        with pytest.raises(UnavailableError):
            channel.call("GET", key)
        assert link.call("GET", key, patience=FAILOVER_SECONDS) == b"1"
        assert link.call("SET", key, 2, patience=FAILOVER_SECONDS) == b"OK"
        assert channel.call("GET", key) == b"2"
        channel.close()
        link.close()


def test_sentinels_name_the_primary_and_the_next_one() -> None:
    with sentinels() as group:
        link = Link(parse(group.url))
        channel = link.channel("exchange")
        assert channel.call("SET", "x", 1) == b"OK"
        until(lambda: group.servers[0].ask("WAIT", 1, 0) == 1, "the replica has it")
        with pytest.raises(UnavailableError, match="knows no master 'yours'"):
            Link(parse(group.url.replace("mymaster", "yours"))).call("PING", patience=0.2)
        with pytest.raises(ExecutorError, match="replica"):
            Link(parse(group.servers[1].url)).call("PING")
        group.sentinels[0].kill()
        group.servers[0].kill()
        with pytest.raises(UnavailableError):
            channel.call("GET", "x")
        assert link.call("SET", "x", 2, patience=FAILOVER_SECONDS) == b"OK"
        assert channel.call("GET", "x") == b"2"
        assert group.servers[1].ask("GET", "x") == b"2"
        channel.close()
        link.close()
