"""A pytest plugin that runs tests against mutants, each in a fork of a process that has collected the tests.

A mutant of a function is put in the place of its code, so nothing is imported or collected again; it meets the tests
that enter this function, the quickest first, until one fails.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import TYPE_CHECKING, Any

from tools.mutants import Mutant

if TYPE_CHECKING:
    import pytest

KILLED, SURVIVED, CANNOT = 0, 1, 2

PATIENCE = 8.0
"""Seconds that a test may take besides three times what it takes without a mutant."""


@dataclass
class Judge:
    """The plugin.

    Args:
        path: The module that mutants are of.
        mutants: Mutants of its functions.
        jobs: How many forks at once.

    Attributes:
        verdicts: For each mutant whether a test failed; None: it cannot be put in place without an import.
    """

    path: Path
    mutants: Sequence[Mutant]
    jobs: int
    verdicts: list[bool | None] = field(default_factory=list)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """In the place of pytest's own loop."""
        took, entering = _forked(lambda: self._tried(session))
        self.verdicts = [True] * len(self.mutants)
        open_forks: dict[int, int] = {}
        for number, mutant in enumerate(self.mutants):
            items = sorted(entering.get(mutant.function, ()), key=took.__getitem__)
            pid = os.fork()
            if not pid:
                os._exit(self._verdict(session, mutant, items, took))
            open_forks[pid] = number
            if len(open_forks) == self.jobs:
                self._note(open_forks)
        while open_forks:
            self._note(open_forks)
        return True

    def _note(self, open_forks: dict[int, int]) -> None:
        pid, status = os.wait()
        code = os.waitstatus_to_exitcode(status)
        self.verdicts[open_forks.pop(pid)] = None if code == CANNOT else code != SURVIVED

    def _verdict(self, session: pytest.Session, mutant: Mutant, items: Sequence[int], took: Sequence[float]) -> int:
        _silence()
        if not self._put_in_place(mutant):
            return CANNOT
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # kills: whoever hangs has been found out
        signal.setitimer(signal.ITIMER_REAL, PATIENCE + 3.0 * took[items[0]] if items else 0.0)
        try:
            for place, _ in enumerate(_run(session, [session.items[item] for item in items])):
                if session.testsfailed:
                    return KILLED
                signal.setitimer(signal.ITIMER_REAL, PATIENCE + 3.0 * took[items[min(place + 1, len(items) - 1)]])
        except BaseException:
            return KILLED
        return SURVIVED

    def _put_in_place(self, mutant: Mutant) -> bool:
        """Give the function its new code, wherever it is referred to."""
        old, new = (
            [code for name, code in _outermost(compile(text, str(self.path), "exec")) if name == mutant.function]
            for text in (self.path.read_text("utf-8"), mutant.text)
        )
        homes = {code.co_firstlineno: place for place, code in enumerate(old)}
        found = [one for one in gc.get_objects() if isinstance(one, FunctionType) and self._is_of(one.__code__, mutant)]
        for one in found:
            code = new[homes[one.__code__.co_firstlineno]]
            if code.co_freevars != one.__code__.co_freevars:
                return False
            one.__code__ = code
        return bool(found)

    def _is_of(self, code: CodeType, mutant: Mutant) -> bool:
        return code.co_qualname == mutant.function and code.co_filename == str(self.path)

    def _tried(self, session: pytest.Session) -> tuple[list[float], dict[str, list[int]]]:
        """How long each test takes without a mutant, and which enter which function."""
        _silence()
        took: list[float] = []
        entering: dict[str, list[int]] = {}
        entered: set[str] = set()
        here = str(self.path)

        def look(frame: FrameType, event: str, arg: Any) -> None:
            if event == "call" and frame.f_code.co_filename == here:
                entered.add(frame.f_code.co_qualname.partition(".<locals>")[0])

        threading.setprofile(look)
        sys.setprofile(look)
        begun = time.perf_counter()
        for number, _ in enumerate(_run(session, session.items)):
            took.append(time.perf_counter() - begun)
            for name in entered:
                entering.setdefault(name, []).append(number)
            entered.clear()
            begun = time.perf_counter()
        if session.testsfailed:
            raise RuntimeError(f"{session.testsfailed} tests fail without any mutant")
        return took, entering


def _run(session: pytest.Session, items: Sequence[pytest.Item]) -> Iterator[None]:
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        yield


def _forked(work: Callable[[], Any]) -> Any:
    """What *work* returns, done in a fork: it leaves nothing behind here."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            result: Any = work()
        except BaseException as error:
            result = f"{type(error).__name__}: {error}"
        with open(writing, "wb") as pipe:
            pickle.dump(result, pipe)
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        result = pickle.load(pipe)
    os.waitpid(pid, 0)
    if isinstance(result, str):
        raise RuntimeError(result)
    return result


def _silence() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)


def _outermost(code: CodeType) -> Iterator[tuple[str, CodeType]]:
    """Functions and methods of a module's code, in order."""
    for one in code.co_consts:
        if isinstance(one, CodeType):
            if "<locals>" not in one.co_qualname:
                yield one.co_qualname, one
            yield from _outermost(one)
