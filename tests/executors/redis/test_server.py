"""Which servers are fit for runs, what a namespace's record keeps out, and what a doctor says."""

import logging
import os
import threading

import pytest

from executors.redis._connection import Link
from executors.redis._doctor import Finding, examine
from executors.redis._server import FORMAT, Checks, check_namespace, product_of
from executors.redis._url import Address, parse
from flows.errors import FlowsError, UnavailableError, UnsupportedError
from tests.executors.redis.groups import until
from tests.executors.redis.servers import DEBIAN, OLDEST, VALKEY, Server, free_port, installed, shared

META = "{mine:0}:meta"
FIT = {
    "redis_version": "7.2.4",
    "redis_mode": "standalone",
    "role": "master",
    "maxmemory_policy": "noeviction",
    "aof_enabled": "1",
    "loading": "0",
    "cluster_enabled": "0",
}


def said(**changes: str | None) -> bytes:
    lines = {name: value for name, value in (FIT | changes).items() if value is not None}
    return ("# Server\r\n" + "".join(f"{name}:{value}\r\n" for name, value in lines.items())).encode()


def check(info: bytes, url: str = "redis://h") -> None:
    Checks(parse(url, {})).check(info)


@pytest.mark.parametrize(
    ("info", "url"),
    [
        (said(), "redis://h"),
        (said(redis_version="6.2.0"), "redis://h"),
        (said(redis_version="10.0"), "redis://h"),
        (said(server_name="valkey", valkey_version="9.1.2"), "redis://h"),
        (said(maxmemory_policy=None, aof_enabled=None, cluster_enabled=None), "redis://h"),
        (said(cluster_enabled="1", redis_mode="cluster"), "redis+cluster://h"),
        (said(dragonfly_version="df-v1.27"), "redis://h?allow_server=1"),
        (said(redis_version="5.0.7"), "redis://h?allow_server=1"),
        (said(maxmemory_policy="volatile-lru"), "redis://h?allow_eviction=1"),
    ],
)
def test_servers_that_are_fit(info: bytes, url: str) -> None:
    check(info, url)


@pytest.mark.parametrize(
    ("info", "url", "told"),
    [
        (
            said(redis_version="6.0.16"),
            "redis://h",
            "the server is Redis 6.0.16; what we call needs Redis 6.2 or newer",
        ),
        (said(redis_version="2.8"), "redis://h", "Redis 6.2 or newer"),
        (said(redis_version=None), "redis://h", "does not say that it is a Redis"),
        (b"", "redis://h", "does not say that it is a Redis"),
        (said(dragonfly_version="df-v1.27"), "redis://h", "the server is Dragonfly df-v1.27, with which"),
        (said(keydb_version="6.3"), "redis://h", "KeyDB 6.3"),
        (said(role="slave", master_host="p", master_port="7"), "redis://h", "is a replica of p:7 and takes no writes"),
        (said(maxmemory_policy="allkeys-lru"), "redis://h", "set it to noeviction (?allow_eviction=1"),
        (said(maxmemory_policy="allkeys-lru"), "redis://h?allow_server=1", "maxmemory-policy is allkeys-lru"),
        (said(cluster_enabled="1"), "redis://h", "a node of a cluster; write redis+cluster://"),
        (said(redis_mode="cluster"), "redis://h", "a node of a cluster; write redis+cluster://"),
        (said(), "redis+cluster://h", "is no node of a cluster; write redis://"),
    ],
)
def test_servers_that_are_not(info: bytes, url: str, told: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        check(info, url)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("info", "url"),
    [
        (said(loading="1"), "redis://h"),
        (said(role="slave"), "redis+sentinel://h/m"),
        (said(role="slave", cluster_enabled="1"), "redis+cluster://h"),
    ],
)
def test_servers_that_may_be_fit_in_a_moment(info: bytes, url: str) -> None:
    with pytest.raises(UnavailableError):
        check(info, url)


def test_what_can_be_lost_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "flows"):
        for _ in range(2):
            check(said(aof_enabled="0"), "redis://once")
        check(said(), "redis://never")
    (record,) = caplog.records
    assert "redis://once:6379: the server writes no append-only file: when its process or machine dies" in caplog.text
    assert record.levelno == logging.WARNING


@pytest.mark.parametrize("kind", installed())
def test_real_servers_say_who_they_are(kind: str) -> None:
    known = {"valkey": "Valkey 9.", "redis-6.2": "Redis 6.2.", "redis-debian": "Redis ", "redis-given": ""}
    assert product_of(shared(kind).info()).startswith(known[kind])


def test_nothing_that_should_be_tested_is_missing() -> None:
    # The wheel of 6.2 exists for this machine and no later Python; CI runs on it.
    wanted = {VALKEY, OLDEST, DEBIAN} if os.environ.get("CI") else {VALKEY}
    assert set(installed()) >= wanted


# A namespace's record.


@pytest.fixture
def link(valkey: Server):
    one = Link(parse(f"{valkey.url}?namespace=mine"))
    yield one
    one.close()


def test_the_first_one_writes_it_and_the_others_agree(valkey: Server, link: Link) -> None:
    together, failures = threading.Barrier(8), []

    def begin() -> None:
        together.wait(10)
        try:
            check_namespace(link, 1)
        except FlowsError as error:
            failures.append(error)

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert valkey.stored_keys() == {META}
    assert valkey.ask("HGETALL", META) == [b"format", str(FORMAT).encode(), b"shards", b"1"]


def test_the_clock_of_a_test_may_be_there_before(valkey: Server, link: Link) -> None:
    valkey.ask("HSET", META, "shift", 5)
    check_namespace(link, 1)
    assert valkey.ask("HGET", META, "format") == str(FORMAT).encode()


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (("SET", META, "theirs"), "the key '{mine:0}:meta' was not written by this library"),
        (("HSET", META, "colour", "red"), "was not written by this library"),
        (("HSET", META, "format", "xml", "shards", "1"), "was not written by this library"),
        (("HSET", META, "format", FORMAT + 1, "shards", "1"), "update this library"),
        (("HSET", META, "format", FORMAT, "shards", "4"), "has '4' shards, not 1"),
    ],
)
def test_what_others_wrote_is_left_alone(valkey: Server, link: Link, record: tuple[object, ...], told: str) -> None:
    valkey.ask(*record)
    before = valkey.ask("DUMP", META)
    with pytest.raises(UnsupportedError) as caught:
        check_namespace(link, 1)
    assert told in str(caught.value)
    assert valkey.ask("DUMP", META) == before


# The doctor.


def found(url: str) -> dict[str, Finding]:
    return {one.name: one for one in examine(parse(url))}


@pytest.mark.parametrize("kind", installed())
def test_a_healthy_server(kind: str) -> None:
    server = shared(kind, appendonly="yes")
    findings = found(server.url)
    assert {one.status for name, one in findings.items() if name != "latency"} == {"ok"}  # which is the machine's
    assert list(findings) == [
        *("reachable", "latency", "version", "role", "memory", "fragmentation", "eviction", "persistence", "clients"),
        "clock",
    ]
    assert findings["role"].found == "primary with 0 replicas"
    assert "ms a round trip" in findings["latency"].found
    until(lambda: b"flows:" not in server.ask("CLIENT", "LIST"), "no connection is left")


def test_what_is_wrong_is_found_and_has_a_remedy() -> None:
    server = shared("valkey", maxmemory_policy="allkeys-lru", maxclients=12)
    server.ask("CONFIG", "SET", "maxmemory", int(server.info()["used_memory"]) * 11 // 10)
    held = [Link(parse(f"{server.url}?allow_eviction=1")).channel("test") for _ in range(10)]
    server.ask("REPLICAOF", "127.0.0.1", "1")
    try:
        for channel in held[1:]:
            channel._link.checks.lenient = True
            channel.call("PING")
        findings = found(server.url)
    finally:
        server.ask("REPLICAOF", "NO", "ONE")
        for channel in held:
            channel.close()
    wrong = {name: one.status for name, one in findings.items() if one.status != "ok"}
    assert wrong == {"role": "fail", "memory": "warn", "eviction": "fail", "persistence": "warn", "clients": "warn"}
    assert all(findings[name].remedy for name in wrong)
    assert found(f"{server.url}?allow_eviction=1")["eviction"].status == "warn"


def test_a_server_that_is_away() -> None:
    (only,) = examine(Address("tcp", hosts=(("127.0.0.1", free_port()),)))
    assert (only.name, only.status) == ("reachable", "fail")
    assert "nobody listens there" in only.found
    assert only.remedy
