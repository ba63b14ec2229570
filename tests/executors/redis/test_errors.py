"""Whatever is wrong with a server, or on the way to it, has an error of its own that says what to do. Real servers."""

import logging
import pickle
import time
import traceback

import pytest

from executors.redis._connection import PATIENCE, Link
from executors.redis._errors import ACL_COMMANDS
from executors.redis._server import check_namespace
from executors.redis._url import parse
from flows.errors import ExecutorError, FlowsError, UnavailableError, UnsupportedError
from tests.executors.redis.certificates import certificate, server_side
from tests.executors.redis.proxies import BLACK_HOLE, PASS, RESET, Parrot, Proxy
from tests.executors.redis.servers import Server, free_port, installed, shared

HUSH = "correct-horse"
SHORT = 0.3
"""Seconds of patience, for tests that only want to see the error."""
PATIENT = 20.0


def failure(url: str, *command: object, patience: float = SHORT, answers: bool = True) -> FlowsError:
    """What comes of a command on a link of its own; a server that *answers* is waited for, however busy the machine."""
    link = Link(parse(url))
    try:
        with pytest.raises(FlowsError) as caught:
            link.call(*(command or ("PING",)), patience=patience)
    finally:
        link.close()
    if answers and patience < PATIENT and "no answer in time" in str(caught.value):
        return failure(url, *command, patience=PATIENT)
    seen = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(vars(caught.value))
    assert HUSH not in seen
    assert HUSH.encode() not in pickle.dumps(caught.value)
    assert HUSH not in repr(caught.value.__context__)  # which some libraries have pickled, too
    return caught.value


def guarded(kind: str, *rights: str) -> tuple[Server, str]:
    """A server with a password, and its URL as a user who has only those rights."""
    server = shared(kind, requirepass=HUSH)
    server.ask("FLUSHALL", password=HUSH)
    server.ask("ACL", "SETUSER", "clerk", "reset", "on", f">{HUSH}", *rights, password=HUSH)
    return server, f"unix://clerk:{HUSH}@{server.path}"


# Passwords and rights.


def test_a_missing_password() -> None:
    server, _ = guarded("valkey")
    error = failure(server.url)
    assert not isinstance(error, UnavailableError)
    assert "wants a password" in str(error)


@pytest.mark.parametrize("who", ["", "clerk", "nobody"])
def test_a_wrong_password(who: str) -> None:
    server, _ = guarded("valkey", "~*", "+@all")
    error = failure(f"unix://{who}:{HUSH}-not@{server.path}")
    assert type(error) is ExecutorError
    assert f"wrong password for the user {who or 'default'!r}" in str(error)


def test_a_password_where_none_is_asked_for() -> None:
    assert "the server asks for none" in str(failure(f"unix://:{HUSH}@{shared().path}"))


@pytest.mark.parametrize("kind", installed())
def test_a_missing_right_is_named_with_the_recipe(kind: str) -> None:
    _, url = guarded(kind, "~*", "+@all", "-hset")
    error = failure(url, "HSET", "{flows:0}:x", "a", "b")
    assert type(error) is ExecutorError
    assert "the user 'clerk' may not call HSET; an administrator gives the right by: ACL SETUSER clerk" in str(error)


@pytest.mark.parametrize("kind", installed())
def test_a_right_that_a_script_lacks(kind: str) -> None:
    _, url = guarded(kind, "~*", "+@all", "-hset")
    error = failure(url, "EVAL", "return redis.call('HSET', KEYS[1], 'a', 'b')", 1, "{flows:0}:x")
    assert "may not call" in str(error)
    assert "ACL SETUSER clerk" in str(error)


@pytest.mark.parametrize("kind", installed())
def test_keys_that_a_user_may_not_touch(kind: str) -> None:
    _, url = guarded(kind, "~other:*", "+@all")
    for command in [("SET", "{flows:0}:x", "a"), ("EVAL", "return redis.call('GET', KEYS[1])", 1, "{flows:0}:x")]:
        assert "may not touch the keys of namespace 'flows'" in str(failure(url, *command))


def test_the_start_up_check_itself_needs_a_right() -> None:
    _, url = guarded("valkey", "~*", "+@all", "-info")
    assert "may not call INFO" in str(failure(url))


@pytest.mark.parametrize("kind", installed())
def test_the_recipe_is_enough_for_what_stands_around_the_verbs(kind: str) -> None:
    server, url = guarded(kind, "~{flows:*", "resetchannels", "-@all", *ACL_COMMANDS.split())
    link = Link(parse(url))
    check_namespace(link, 1)
    digest = link.call("SCRIPT", "LOAD", "redis.call('HSET', KEYS[1], 'a', redis.call('TIME')[1])")
    link.call("EVALSHA", digest, 1, "{flows:0}:x")
    link.call("UNLINK", "{flows:0}:x")
    for forbidden in [("FLUSHALL",), ("KEYS", "*"), ("CONFIG", "GET", "*"), ("SET", "foreign", "1"), ("EVAL", "", 0)]:
        with pytest.raises(ExecutorError):
            link.call(*forbidden)
    link.close()
    assert server.stored_keys(password=HUSH) == {"{flows:0}:meta"}


# TLS.


def test_tls_is_spoken_and_the_name_is_checked() -> None:
    cert, _ = certificate("localhost")
    with Proxy(shared().path, tls=server_side()) as proxy:
        for host in ("localhost", "127.0.0.1"):
            link = Link(parse(f"rediss://{host}:{proxy.port}?ssl_ca_certs={cert}"))
            assert link.call("PING") == b"PONG"
            link.close()


def test_a_certificate_that_nobody_vouches_for() -> None:
    with Proxy(shared().path, tls=server_side()) as proxy:
        error = failure(f"rediss://localhost:{proxy.port}")
        assert "is not trusted (self-signed certificate); name the authority" in str(error)
        assert type(error) is ExecutorError
        link = Link(parse(f"rediss://localhost:{proxy.port}?ssl_cert_reqs=none"))
        assert link.call("PING") == b"PONG"
        link.close()


def test_a_certificate_for_another_host() -> None:
    cert, _ = certificate("elsewhere.test")
    with Proxy(shared().path, tls=server_side("elsewhere.test")) as proxy:
        url = f"rediss://localhost:{proxy.port}?ssl_ca_certs={cert}"
        assert "the server's certificate is for another host name" in str(failure(url))
        link = Link(parse(f"{url}&ssl_check_hostname=0"))
        assert link.call("PING") == b"PONG"
        link.close()


def test_a_server_that_wants_a_certificate_of_ours() -> None:
    cert, key = certificate("localhost")
    with Proxy(shared().path, tls=server_side(asks_for=cert)) as proxy:
        url = f"rediss://localhost:{proxy.port}?ssl_ca_certs={cert}"
        assert isinstance(failure(url), ExecutorError)
        link = Link(parse(f"{url}&ssl_certfile={cert}&ssl_keyfile={key}"))
        assert link.call("PING") == b"PONG"
        link.close()


def test_tls_to_a_port_that_does_not_speak_it() -> None:
    with Proxy(shared().path) as proxy:
        error = failure(f"rediss://localhost:{proxy.port}", patience=1.0)
        assert "the port does not speak TLS; write redis://" in str(error)
        assert type(error) is ExecutorError


def test_no_tls_to_a_port_that_speaks_it() -> None:
    with Proxy(shared().path, tls=server_side()) as proxy:
        assert "write rediss://" in str(failure(f"redis://localhost:{proxy.port}"))


# The network.


def test_nobody_listens() -> None:
    error = failure(f"redis://localhost:{free_port()}")
    assert isinstance(error, UnavailableError)
    assert "nobody listens there" in str(error)
    assert "tried" in str(error)


def test_there_is_no_socket() -> None:
    assert "no such socket" in str(failure("unix:///tmp/flows-nowhere/s.sock"))


def test_a_name_that_nobody_knows() -> None:
    error = failure("redis://nowhere.invalid")
    assert isinstance(error, UnavailableError)
    assert "cannot be resolved" in str(error)


@pytest.mark.parametrize("known", [False, True], ids=["a new connection", "one that was in use"])
@pytest.mark.slow
@pytest.mark.alone
def test_a_network_that_swallows_everything_fails_within_two_seconds(known: bool) -> None:
    with Proxy(shared().path) as proxy:
        link = Link(parse(f"redis://127.0.0.1:{proxy.port}"))
        if known:
            link.call("PING")
        proxy.strike(BLACK_HOLE)
        began = time.monotonic()
        with pytest.raises(UnavailableError, match="no answer in time"):
            link.call("PING")
        assert PATIENCE - 0.3 < time.monotonic() - began < 2.0
        link.close()


def test_a_network_that_swallows_everything() -> None:
    with Proxy(shared().path) as proxy:
        proxy.strike(BLACK_HOLE)
        assert "no answer in time" in str(failure(f"redis://127.0.0.1:{proxy.port}", answers=False))


def test_a_server_that_hangs() -> None:
    server = shared("valkey", maxclients=100)
    server.pause()
    try:
        assert "no answer in time" in str(failure(server.url, answers=False))
    finally:
        server.resume()


def test_a_connection_that_is_reset() -> None:
    with Proxy(shared().path) as proxy:
        proxy.strike(RESET)
        error = failure(f"redis://127.0.0.1:{proxy.port}")
        assert isinstance(error, UnavailableError)


def test_a_connection_that_was_of_use_is_not_told_to_speak_tls() -> None:
    with Proxy(shared().path) as proxy:
        channel = Link(parse(f"redis://127.0.0.1:{proxy.port}")).channel("test")
        for known in (False, True):
            if known:
                channel.call("PING")
            proxy.strike(RESET)
            with pytest.raises(UnavailableError) as caught:
                channel.call("PING")
            assert ("rediss://" in str(caught.value)) is not known
            proxy.strike(PASS)
        channel.close()


def test_what_is_no_redis_at_all() -> None:
    with Parrot(b"HTTP/1.1 400 Bad Request\r\n\r\n") as web:
        error = failure(f"redis://127.0.0.1:{web.port}")
        assert "what answers there is no Redis server" in str(error)
        assert type(error) is ExecutorError


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("LOADING Redis is loading the dataset in memory", "it is starting"),
        ("MISCONF Redis is configured to save RDB snapshots, but", "could not save to its disk"),
        ("CLUSTERDOWN The cluster is down", "the cluster is down"),
        ("MASTERDOWN Link with MASTER is down", "lost its primary"),
        ("TRYAGAIN Multiple keys request during rehashing of slot", "is being moved"),
        ("BUSY Redis is busy running a script.", "a script that does not end"),
        ("NOREPLICAS Not enough good replicas to write.", "too few replicas"),
        ("ERR max number of clients reached", "as many clients as it takes"),
    ],
)
def test_states_that_may_pass(said: str, told: str) -> None:
    with Parrot(f"-{said}\r\n".encode()) as server:
        channel = Link(parse(f"redis://127.0.0.1:{server.port}")).channel("test", connect_seconds=30.0)
        with pytest.raises(UnavailableError, match=told):
            channel.call("PING")
        channel.close()


@pytest.mark.slow  # it takes three seconds, and no processor
def test_what_the_server_said_is_told_and_not_that_the_time_was_over() -> None:
    with Parrot(b"-LOADING Redis is loading the dataset in memory\r\n", callers=1) as server:
        error = failure(f"redis://127.0.0.1:{server.port}", patience=3.0)
        assert isinstance(error, UnavailableError)
        assert "it is starting" in str(error)
        assert "(tried 2 times in 3.0 s)" in str(error)


def test_a_password_that_the_other_side_repeats_is_masked() -> None:
    with Parrot(f"-ERR unknown command 'AUTH', with args beginning with: '{HUSH}'\r\n".encode()) as server:
        failure(f"redis://:{HUSH}@127.0.0.1:{server.port}")


# The server's state.


@pytest.mark.parametrize("kind", installed())
def test_a_full_server_refuses_what_is_new_and_takes_what_frees(kind: str) -> None:
    server = shared(kind, maxmemory_policy="noeviction")
    server.ask("FLUSHALL")
    server.ask("CONFIG", "SET", "maxmemory", 1)
    try:
        script = ("EVAL", "return redis.call('SET', KEYS[1], 'b')", 1, "a")
        for command in [("SET", "a", "b"), *([script] if kind == "valkey" else [])]:
            error = failure(server.url, *command)
            assert isinstance(error, UnavailableError)
            assert "the server is full (maxmemory)" in str(error)
        assert Link(parse(server.url)).call("DEL", "a") == 0
    finally:
        server.ask("CONFIG", "SET", "maxmemory", 0)


@pytest.mark.parametrize("kind", installed())
def test_a_replica(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    server = shared(kind, maxclients=101)
    link = Link(parse(server.url))
    link.call("PING")
    server.ask("REPLICAOF", "127.0.0.1", "1")
    try:
        error = failure(server.url)
        assert isinstance(error, UnsupportedError)
        assert "is a replica of 127.0.0.1:1 and takes no writes" in str(error)
        # Whoever has seen it as a primary waits for the failover to come to an end.
        for command in [("SET", "a", "b"), ("EVAL", "return redis.call('SET', KEYS[1], 'b')", 1, "a"), ("PING",)]:
            with pytest.raises(UnavailableError, match="replica"):
                link.call(*command, patience=SHORT)
    finally:
        server.ask("REPLICAOF", "NO", "ONE")
    assert link.call("PING") == b"PONG"
    link.close()


def test_a_server_that_may_delete_our_keys(caplog: pytest.LogCaptureFixture) -> None:
    server = shared("valkey", maxmemory_policy="allkeys-lru")
    assert "maxmemory-policy is allkeys-lru" in str(failure(server.url))
    assert isinstance(failure(server.url), UnsupportedError)
    with caplog.at_level(logging.WARNING, "flows"):
        link = Link(parse(f"{server.url}?allow_eviction=1"))
        assert link.call("PING") == b"PONG"
        link.close()
    assert [record for record in caplog.records if "deletes keys" in record.getMessage()]


def test_a_database_that_is_not_there() -> None:
    assert "has no database 4711" in str(failure(f"{shared().url}?db=4711"))
