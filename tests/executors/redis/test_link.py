"""Links and channels: what is sent, what is sent again, and what becomes of connections."""

import contextlib
import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis.exceptions import NoScriptError, ResponseError

from executors.redis._connection import Link
from executors.redis._url import parse
from flows.errors import UnavailableError
from tests.executors.redis.groups import until
from tests.executors.redis.proxies import BLACK_HOLE, CUT_REQUEST, DROP_REPLY, PASS, RESET, Proxy
from tests.executors.redis.servers import Server, server


def clients(valkey: Server) -> list[str]:
    """The names of the clients of `link` that the server knows; other tests may have left some of theirs."""
    listed = valkey.ask("CLIENT", "LIST").decode()
    names = [dict(part.split("=", 1) for part in line.split())["name"] for line in listed.splitlines()]
    return sorted(name for name in names if name.startswith("flows:mine:"))


@pytest.fixture
def link(valkey: Server):
    one = Link(parse(f"{valkey.url}?namespace=mine"))
    yield one
    one.close()
    until(lambda: not clients(valkey), "no connection is left")


def test_replies_are_what_the_server_said(link: Link) -> None:
    assert link.call("SET", "a", b"\x00\xff") == b"OK"
    assert link.call("GET", "a") == b"\x00\xff"
    assert link.call("GET", "b") is None
    assert link.call("RPUSH", "l", 1, "é") == 2
    assert link.call("LRANGE", "l", 0, -1) == [b"1", "é".encode()]


def test_a_complaint_about_the_command_is_raised_as_it_is(link: Link) -> None:
    with pytest.raises(NoScriptError):
        link.call("EVALSHA", "0" * 40, 0)
    with pytest.raises(ResponseError, match=r"^STALE 7$"):
        link.call("EVAL", "return redis.error_reply('STALE 7')", 0)


def test_several_commands_take_one_round_trip_and_a_complaint_is_among_their_replies(link: Link) -> None:
    first, second, third = link.calls([("SET", "a", "b"), ("HGET", "a", "b"), ("GET", "a")])
    assert (first, third) == (b"OK", b"b")
    assert isinstance(second, ResponseError)
    assert link.calls([]) == []


def test_an_argument_that_cannot_be_sent_is_the_callers_mistake(link: Link) -> None:
    link.call("PING")
    with pytest.raises(Exception, match=r"must be str|Invalid input"):
        link.call("SET", "a", {"no": "dict"})
    assert link.call("PING") == b"PONG"


def test_connections_are_named_after_what_they_are_for(valkey: Server, link: Link) -> None:
    channel = link.channel("keeper")
    channel.call("PING")
    link.call("PING")
    assert clients(valkey) == [f"flows:mine:client:{os.getpid()}", f"flows:mine:keeper:{os.getpid()}"]
    channel.close()


def test_threads_share_connections_and_none_waits_for_another(valkey: Server, link: Link) -> None:
    together = threading.Barrier(8)

    def ask(number: int) -> object:
        together.wait(10)
        return [link.call("INCRBY", f"n{number}", 1) for _ in range(50)][-1]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [50] * 8
    assert len(clients(valkey)) <= 8


@pytest.mark.parametrize("again", [1, 5])
def test_a_server_that_was_restarted_is_not_noticed(again: int) -> None:
    with server() as one:
        link = Link(parse(one.url))
        with ThreadPoolExecutor(again) as pool:
            list(pool.map(lambda _: link.call("PING"), range(again)))
        one.kill()
        one.start()
        assert link.call("PING") == b"PONG"
        link.close()


def test_a_server_that_is_away_for_a_moment_is_waited_for() -> None:
    with server() as one:
        link = Link(parse(one.url))
        link.call("PING")
        one.kill()
        back = threading.Timer(0.2, one.start)
        back.start()
        assert link.call("PING", patience=10) == b"PONG"
        back.join()
        link.close()


@pytest.mark.parametrize("fault", [CUT_REQUEST, DROP_REPLY, RESET])
def test_a_call_that_was_cut_is_made_again_with_patience_only(valkey: Server, fault: str) -> None:
    with Proxy(valkey.path) as proxy:
        link = Link(parse(f"redis://127.0.0.1:{proxy.port}"))
        channel = link.channel("exchange")
        channel.call("PING")
        proxy.strike(fault)
        with pytest.raises(UnavailableError):
            channel.call("INCR", "once")
        assert proxy.struck.is_set()
        proxy.strike(PASS)
        assert valkey.ask("GET", "once") == (b"1" if fault == DROP_REPLY else None)
        assert channel.call("PING") == b"PONG"
        link.call("PING")
        proxy.strike(fault)
        threading.Timer(0.1, proxy.strike, [PASS]).start()
        assert link.call("SET", "twice", "1", patience=10) == b"OK"
        channel.close()
        link.close()


def test_a_reply_that_does_not_come_ends_the_connection_and_is_not_taken_for_the_next(valkey: Server) -> None:
    with Proxy(valkey.path) as proxy:
        link = Link(parse(f"redis://127.0.0.1:{proxy.port}"))
        channel = link.channel("exchange", reply_seconds=0.1)
        channel.call("PING")
        proxy.strike(BLACK_HOLE)
        with pytest.raises(UnavailableError, match="no answer in time"):
            channel.call("ECHO", "lost")
        assert not channel.connected
        proxy.strike(PASS)
        assert channel.call("ECHO", "next") == b"next"
        channel.close()
        link.close()


def test_each_new_connection_is_to_a_server_that_was_looked_at() -> None:
    with server() as one:
        link = Link(parse(one.url))
        channel = link.channel("exchange")
        channel.call("PING")
        one.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        assert channel.call("PING") == b"PONG"
        one.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        with pytest.raises(UnavailableError):
            channel.call("PING")
        with pytest.raises(Exception, match="maxmemory-policy is allkeys-lru"):
            channel.call("PING")
        channel.close()


def test_a_forked_child_has_connections_of_its_own(valkey: Server, link: Link) -> None:
    channel = link.channel("exchange")
    channel.call("PING")
    link.call("PING")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, which is what users do
        child = os.fork()
    if not child:
        try:
            link.call("SET", "child", os.getpid())
            channel.call("RPUSH", "children", os.getpid())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert valkey.ask("GET", "child") == str(child).encode()
    assert channel.call("LRANGE", "children", 0, -1) == [str(child).encode()]
    assert link.call("PING") == b"PONG"
    channel.close()


def test_a_call_that_outlasts_the_close_leaves_no_connection(valkey: Server, link: Link) -> None:
    def wait() -> None:
        with contextlib.suppress(UnavailableError):  # a machine that is very slow: it ends its connection all the same
            link.call("BLPOP", "slow", 0)

    link.call("PING")
    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: "cmd=blpop" in valkey.ask("CLIENT", "LIST").decode(), "it blocks")
    link.close()
    valkey.ask("RPUSH", "slow", "now")
    thread.join()
    until(lambda: "name=flows:mine:client" not in valkey.ask("CLIENT", "LIST").decode(), "its connection has ended")
    assert link.call("PING") == b"PONG"


def test_channels_end_with_their_link_or_are_ended(valkey: Server) -> None:
    one = Link(parse(valkey.url))
    channel = one.channel("waker", reply_seconds=30)
    failed = threading.Event()

    def wait() -> None:
        with pytest.raises(UnavailableError):
            channel.call("BZPOPMIN", "never", 0)
        failed.set()

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: "cmd=bzpopmin" in valkey.ask("CLIENT", "LIST").decode(), "it blocks")
    channel.abort()
    assert failed.wait(10)
    thread.join()
