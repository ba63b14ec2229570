"""Waiting without asking: tokens wake one worker each, entries of a stream reach those who wait for them."""

import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator

import pytest

from executors.redis import _listener
from executors.redis._connection import Link
from executors.redis._listener import Tail, Waker, listen
from executors.redis._url import parse
from tests.executors.redis.groups import until
from tests.executors.redis.proxies import Proxy
from tests.executors.redis.servers import Server, server

KEY = "{mine:0}:wake"
STREAM = "{mine:0}:ended"
LONG = 60.0
"""Seconds of a block that no test sits out."""


class Ear:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.heard: list[object] = []
        self._changed = threading.Condition()

    def __call__(self, *what: object) -> None:
        with self._changed:
            self.heard.append(what)
            self._changed.notify_all()

    def wait(self, holds: Callable[[list[object]], bool], what: str = "it hears") -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: holds(self.heard), 20), f"not within 20 s: {what}; {self.heard}"


OTHERS: set[threading.Thread] = set()
"""Threads that stores of other tests have left."""


@pytest.fixture(scope="module")
def server_of_ours() -> Iterator[Server]:
    """What waits on it, and what it is asked, is ours."""
    OTHERS.update(threading.enumerate())
    with server() as one:
        yield one
    OTHERS.clear()


@pytest.fixture
def valkey(server_of_ours: Server) -> Server:
    server_of_ours.ask("FLUSHALL")
    return server_of_ours


def threads(name: str) -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == name and one not in OTHERS]


def blocked(valkey: Server) -> int:
    """How many clients wait for a blocking command."""
    return int(valkey.info()["blocked_clients"])


@pytest.fixture
def waker(valkey: Server) -> Iterator[Callable[[Ear], Waker]]:
    made: list[Waker] = []

    def make(ear: Ear, block_seconds: float = LONG) -> Waker:
        made.append(Waker(Link(parse(valkey.url)), ["{mine:0}:other", KEY], ear, block_seconds))
        return made[-1]

    yield make
    for one in made:
        one.close()
        one.close()
    assert not threads("flows-waker")
    until(lambda: not blocked(valkey), "none waits any more")


def armed(valkey: Server, one: Waker, ear: Ear) -> None:
    """Arm a waker, and wait until it blocks; a new connection is worth a look by itself."""
    one.arm()
    ear.wait(lambda heard: len(heard) == 1)
    ear.heard.clear()
    one.arm()
    until(lambda: blocked(valkey) >= 1, "it blocks")


def again_and_again(waker: Waker, holds: Callable[[], bool]) -> Callable[[], bool]:
    """Whether it holds; the waker is armed before each look."""

    def look() -> bool:
        waker.arm()
        return holds()

    return look


def test_a_token_wakes_once_for_each_time_that_it_is_asked_for(valkey: Server, waker) -> None:
    ear = Ear()
    one = waker(ear)
    armed(valkey, one, ear)
    valkey.ask("ZADD", KEY, 0, "1")
    ear.wait(lambda heard: len(heard) == 1)
    assert valkey.ask("EXISTS", KEY) == 0
    valkey.ask("ZADD", KEY, 0, "1")
    assert len(ear.heard) == 1
    assert valkey.ask("ZCARD", KEY) == 1
    one.arm()
    ear.wait(lambda heard: len(heard) == 2)
    assert valkey.ask("EXISTS", KEY) == 0


def test_a_worker_that_has_enough_to_do_gives_its_token_to_another(valkey: Server, waker) -> None:
    busy, idle = Ear(), Ear()
    first, second = waker(busy), waker(idle)
    armed(valkey, first, busy)
    first.disarm()
    armed(valkey, second, idle)
    until(lambda: blocked(valkey) == 2, "both block")
    valkey.ask("ZADD", KEY, 0, "1")
    idle.wait(lambda heard: len(heard) == 1)
    assert not busy.heard


def test_one_token_wakes_one_of_many(valkey: Server, waker) -> None:
    ears = [Ear() for _ in range(4)]
    for ear in ears:
        armed(valkey, waker(ear), ear)
    until(lambda: blocked(valkey) == 4, "all block")
    valkey.ask("ZADD", KEY, 0, "1")
    until(lambda: blocked(valkey) == 3, "one has got it")
    until(lambda: sum(len(ear.heard) for ear in ears) == 1, "and is told")


def test_a_token_that_was_lost_costs_no_more_than_the_block(valkey: Server, waker) -> None:
    ear = Ear()
    one = waker(ear, block_seconds=0.05)
    one.arm()
    ear.wait(lambda heard: len(heard) == 1)
    one.arm()
    ear.wait(lambda heard: len(heard) == 2)


def test_an_idle_worker_asks_little(valkey: Server, waker) -> None:
    ear = Ear()
    armed(valkey, waker(ear), ear)
    before = int(valkey.info()["total_commands_processed"])
    quiet = threading.Event()
    quiet.wait(0.2)
    assert int(valkey.info()["total_commands_processed"]) - before <= 1  # our own question


def test_without_a_server_a_waker_has_the_worker_look_until_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    with server() as one, caplog.at_level(logging.DEBUG, "flows"):
        ear = Ear()
        waker = Waker(Link(parse(one.url)), [KEY], ear, LONG)
        armed(one, waker, ear)
        one.kill()
        for _ in range(3):  # and so its worker says that the server is away, and works with it when it is not
            ear.wait(lambda heard: bool(heard))
            ear.heard.clear()
            waker.arm()
        one.start()
        until(again_and_again(waker, lambda: "connected again" in caplog.text), "it is over")
        ear.wait(lambda heard: bool(heard), "it looks, for tokens may be lost")
        assert caplog.text.count("trying to reconnect") == 1
        assert not [record for record in caplog.records if record.levelno > logging.DEBUG and "reconnect" in record.msg]
        waker.close()


def test_a_waker_can_be_made_before_its_server_is_there() -> None:
    with server() as one:
        one.kill()
        ear = Ear()
        waker = Waker(Link(parse(one.url)), [KEY], ear, LONG)
        waker.arm()
        ear.wait(lambda heard: len(heard) == 1)
        one.start()
        until(again_and_again(waker, lambda: blocked(one) == 1), "it blocks")
        waker.close()


# Streams.


@pytest.fixture
def hear(valkey: Server) -> Iterator[Callable[..., Ear]]:
    ends: list[Callable[[], None]] = []
    link = Link(parse(valkey.url))

    def begin(topic: bytes | None = None) -> Ear:
        ear = Ear()
        ends.append(listen(link, STREAM, ear, topic=topic, block_seconds=0.1))
        until(lambda: blocked(valkey) >= 1, "it reads")
        return ear

    yield begin
    for end in ends:
        end()
        end()
    link.close()
    until(lambda: not threads("flows-tail"), "the thread ends")
    until(lambda: not blocked(valkey), "none waits any more")


def add(valkey: Server, run: str) -> None:
    valkey.ask("XADD", STREAM, "*", "run", run, "state", "completed")


def runs(ear: Ear) -> list[bytes]:
    return [entry[1][b"run"] for (entries,) in ear.heard for entry in entries]  # type: ignore[misc, has-type]


def test_entries_reach_those_who_wait_for_them(valkey: Server, hear) -> None:
    add(valkey, "before")
    everything = hear()
    thread = threads("flows-tail")[0]
    mine = Ear()
    end = listen(Link(parse(valkey.url)), STREAM, mine, topic=b"mine", block_seconds=0.1)
    add(valkey, "theirs")
    add(valkey, "mine")
    everything.wait(lambda _: runs(everything) == [b"theirs", b"mine"])
    mine.wait(lambda _: runs(mine) == [b"mine"])
    end()
    add(valkey, "mine")
    everything.wait(lambda _: runs(everything) == [b"theirs", b"mine", b"mine"])
    assert runs(mine) == [b"mine"]
    assert threads("flows-tail") == [thread]


def test_many_entries_at_once(valkey: Server, hear) -> None:
    ear = hear()
    for number in range(3):
        script = f"for n = 1, 1500 do redis.call('XADD', KEYS[1], '*', 'run', '{number}:' .. n) end"
        valkey.ask("EVAL", script, 1, STREAM)
    wanted = [f"{number}:{n}".encode() for number in range(3) for n in range(1, 1501)]
    ear.wait(lambda _: runs(ear) == wanted)


def test_a_listener_that_fails_harms_no_other(valkey: Server, hear, caplog: pytest.LogCaptureFixture) -> None:
    def fails(entries: object) -> None:
        raise RuntimeError("boom")

    end = listen(Link(parse(valkey.url)), STREAM, fails, block_seconds=0.1)
    ear = hear()
    add(valkey, "a")
    ear.wait(lambda _: runs(ear) == [b"a"])
    assert "a listener of a stream failed" in caplog.text
    end()


def test_after_a_break_all_are_told_to_look_and_hear_what_is_new(valkey: Server) -> None:
    with Proxy(valkey.path) as proxy:
        ear = Ear()
        end = listen(Link(parse(f"redis://127.0.0.1:{proxy.port}")), STREAM, ear, block_seconds=LONG)
        ear.wait(lambda heard: len(heard) == 1)
        until(lambda: blocked(valkey) == 1, "it blocks")
        # What a server that was restored from a snapshot does: its newest entry is older than what we have seen.
        valkey.ask("DEL", STREAM)
        proxy.cut_all()
        ear.wait(lambda heard: heard == [((),), ((),)], "it may have missed something")
        valkey.ask("XADD", STREAM, "5-1", "run", "old")
        ear.wait(lambda _: runs(ear) == [b"old"])
        end()
        valkey.ask("XADD", STREAM, "5-2", "run", "last")
        until(lambda: not threads("flows-tail"), "the thread ends")


def test_a_server_that_nobody_waits_for_goes_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    with server() as one:
        ear = Ear()
        end = listen(Link(parse(one.url)), STREAM, ear, block_seconds=LONG)
        until(lambda: blocked(one) == 1, "it blocks")
        end()
        one.kill()
    until(lambda: not [one for one in threading.enumerate() if one.name == "flows-tail"], "the thread ends")
    assert "reconnect" not in caplog.text


def test_a_forked_child_listens_for_itself(valkey: Server, hear) -> None:
    ear = hear()
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, which is what users do
        child = os.fork()
    if not child:
        try:
            mine = Ear()
            listen(Link(parse(valkey.url)), STREAM, mine, block_seconds=LONG)
            mine.wait(lambda heard: len(heard) == 1)
            os.write(writing, b"ready")
            mine.wait(lambda _: runs(mine) == [b"a"])
            os.write(writing, b"heard")
        finally:
            os._exit(0)
    assert os.read(reading, 5) == b"ready"
    add(valkey, "a")
    assert os.read(reading, 5) == b"heard"
    os.waitpid(child, 0)
    ear.wait(lambda _: runs(ear) == [b"a"])
    os.close(reading)
    os.close(writing)


def test_who_comes_when_the_last_one_leaves_is_heard(valkey: Server) -> None:
    link = Link(parse(valkey.url))
    for _ in range(30):
        ear = Ear()
        end = listen(link, STREAM, ear, block_seconds=0.001)
        add(valkey, "a")
        ear.wait(lambda heard: bool(heard), "it hears of the entry, or that it should look")
        end()
    until(lambda: not threads("flows-tail"), "the thread ends")
    assert not [one for one in _listener._tails.values() if isinstance(one, Tail) and one._topics]
