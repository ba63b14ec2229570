"""Handlers for children to import, in a module of their own that imports little: each child does it anew."""

import ctypes
import functools
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import flows

PATIENCE = 20.0


def wait_for(path: Path) -> None:
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.005)):
        if path.exists():
            return
        pause.wait(0.005)
    raise AssertionError(f"{path.name} never came")


@flows.task(run_in="process")
def where(*_: Any) -> int:
    return os.getpid()


@flows.task(run_in="process")
def spare() -> int:
    return os.getpid()


@flows.task(run_in="process")
def alone(place: str) -> bool:
    Path(place).touch(exist_ok=False)
    threading.Event().wait(0.005)
    Path(place).unlink()
    return True


@flows.task(run_in="process")
def meet(mine: str, other: str) -> bool:
    Path(mine).touch()
    wait_for(Path(other))
    return True


@flows.task(run_in="process")
def stubborn(pid: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(pid).write_text(str(os.getpid()))
    flows.current().progress("hanging")
    threading.Event().wait(60)


@flows.task(run_in="process")
def leave(how: str, note: str = "") -> None:
    if how == "exit":
        sys.exit("enough")
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "hang up":
        os.closerange(3, 1024)  # whatever number its socket has
        return
    libc = ctypes.CDLL(None)  # a fork that Python knows nothing of: the new process keeps the socket open
    if forked := libc.fork():
        with Path(note).open("a") as file:
            file.write(f"{forked}\n")
        os._exit(3)
    libc.pause()


@flows.task(run_in="process")
def spoil(what: str, folder: str = "") -> int:
    """Leave the process other than it was found."""
    if what == "folder":
        os.chdir(folder)
    elif what == "signals":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, lambda *_: None)
    elif what == "timer":
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 3600)
    elif what == "thread":
        threading.Thread(target=threading.Event().wait, name="left").start()
    elif not os.fork():
        return -1  # to the caller that it shares with the handler
    return os.getpid()


@flows.task(run_in="process")
def surroundings(*_: Any) -> tuple[int, str, list[str], float]:
    found = [number.name for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM)
             if signal.getsignal(number) != signal.SIG_DFL]  # fmt: skip
    return os.getpid(), os.getcwd(), found, signal.getitimer(signal.ITIMER_REAL)[0]


class Strange:
    """What pickles and does not come back."""

    def __reduce__(self) -> Any:
        return int, ("no number",)


@flows.task(run_in="process")
def strange() -> Strange:
    return Strange()


@flows.task(run_in="process")
def generate() -> Any:
    return (number for number in range(3))


@flows.task(run_in="process", attempts=3)
def ponder(children: flows.Children = flows.INJECTED) -> str:
    return str(children.items())


@flows.task
def give_lock() -> Any:
    return threading.Lock()


@flows.task(run_in="process")
def look_below() -> str:
    try:
        return str(flows.current().children)
    except flows.DataError as error:
        return str(error)


halve = flows.task(functools.partial(divmod, 9), name="halve", run_in="process")
twice = flows.task(functools.partial(where.fn, 2), name="twice", run_in="process")
short = flows.task(lambda: os.getpid(), name="short", run_in="process")


class Shelf:
    @flows.task(name="shelved", run_in="process")
    @staticmethod
    def shelved() -> int:
        return os.getpid()
