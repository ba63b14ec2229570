"""How mutants are put in the place of what they are mutants of, inside of a process that has collected the tests.

A mutant of a Python function becomes the code of that function; one of a Lua script becomes what the script is put
together from. Both also tell which places a test enters, so that a mutant meets only tests that get to it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FrameType, FunctionType, SimpleNamespace
from typing import Any, Final, Protocol

from tools.mutants import Mutant

ROOT = Path(__file__).resolve().parent.parent

_WATCHED: Final = (f"{ROOT}/flows/", f"{ROOT}/executors/")

_SCRIPTS: Final = "executors.redis._scripts"

_LOG: Final = "redis.log(3, 'IN {}:{}')"
_OPENS: Final = re.compile(r"(?:\b(?:then|do|else)|^local function \w+\(.*\))$")
_HEAD: Final = re.compile(r"^local function \w+\([^)]*\)")
_SEEN: Final = re.compile(r"IN (\S+:\d+)$")


class Planter(Protocol):
    """A way to put mutants in place."""

    def place_of(self, file: str, mutant: Mutant) -> str:
        """A name for where the mistake is, as in `entered`."""
        ...

    def collected(self) -> None:
        """All tests have been collected: get ready."""
        ...

    def plant(self, file: str, mutant: Mutant) -> bool:
        """Put it in place, for good: this is done in a fork. False: that takes an import."""
        ...

    def watch(self) -> None:
        """Begin to look at which places are entered."""
        ...

    def entered(self) -> set[str]:
        """The places entered since the last call."""
        ...

    def leave(self) -> None:
        """The fork ends: leave nothing behind on the machine."""
        ...


class Code:
    """Python: a function gets its new code, wherever it is referred to. Places are functions."""

    def __init__(self) -> None:
        self._entered: set[str] = set()
        self._functions: dict[tuple[str, str], list[FunctionType]] = {}
        self._codes: dict[str, list[tuple[str, CodeType]]] = {}

    def place_of(self, file: str, mutant: Mutant) -> str:
        """The function, with its file."""
        return f"{file}:{mutant.function}"

    def collected(self) -> None:
        """Find all functions there are."""
        gc.unfreeze()  # what the tests' collection has frozen is not listed
        for one in gc.get_objects():
            if isinstance(one, FunctionType) and one.__code__.co_filename.startswith(_WATCHED):
                self._functions.setdefault((one.__code__.co_filename, one.__code__.co_qualname), []).append(one)
        gc.freeze()

    def plant(self, file: str, mutant: Mutant) -> bool:
        """Give the function its code; not one that closes over other variables."""
        path = str(ROOT / file)
        if path not in self._codes:
            self._codes[path] = list(_outermost(compile(Path(path).read_text("utf-8"), path, "exec")))
        old = [code for name, code in self._codes[path] if name == mutant.function]
        new = [code for name, code in _outermost(compile(mutant.text, path, "exec")) if name == mutant.function]
        homes = {code.co_firstlineno: place for place, code in enumerate(old)}
        found = self._functions.get((path, mutant.function), [])
        for one in found:
            code = new[homes[one.__code__.co_firstlineno]]
            if code.co_freevars != one.__code__.co_freevars:
                return False
            one.__code__ = code
        return bool(found)

    def watch(self) -> None:
        """Look at each call."""
        entered, names = self._entered, _Names()

        def look(frame: FrameType, event: str, arg: Any) -> None:
            if event == "call":
                file = names[frame.f_code.co_filename]
                if file:
                    entered.add(f"{file}:{frame.f_code.co_qualname.partition('.<locals>')[0]}")

        threading.setprofile(look)
        sys.setprofile(look)

    def entered(self) -> set[str]:
        """The functions called."""
        entered = set(self._entered)
        self._entered.clear()
        return entered

    def leave(self) -> None:
        """Nothing is left."""


class _Names(dict[str, str]):
    """File names as compiled -> those below the root; empty for others."""

    def __missing__(self, name: str) -> str:
        self[name] = made = str(Path(name).relative_to(ROOT)) if name.startswith(_WATCHED) else ""
        return made


def _outermost(code: CodeType) -> Iterator[tuple[str, CodeType]]:
    """Functions and methods of a module's code, in order."""
    for one in code.co_consts:
        if isinstance(one, CodeType):
            if "<locals>" not in one.co_qualname:
                yield one.co_qualname, one
            yield from _outermost(one)


class Scripts:
    """Lua: scripts are put together from other files. Places are blocks, by the line that opens them.

    Servers say in their logs which blocks they enter, while that is watched. Each fork has servers of its own.
    """

    def __init__(self) -> None:
        self._servers: list[Any] = []
        self._read: dict[int, int] = {}

    def place_of(self, file: str, mutant: Mutant) -> str:
        """The block, by its first line."""
        return f"{Path(file).stem}:{opener(file, mutant.line)}"

    def collected(self) -> None:
        """Nothing to do."""

    def plant(self, file: str, mutant: Mutant) -> bool:
        """Put all scripts together anew."""
        self._listen()
        self._put({Path(file).name: mutant.text}, Path(file).parent)
        return True

    def watch(self) -> None:
        """Put them together so that they say where they are."""
        scripts: Any = importlib.import_module(_SCRIPTS)

        folder = Path(str(scripts.resources.files("executors.redis").joinpath("lua")))
        self._listen()
        self._put({path.name: _logging(path) for path in folder.glob("*.lua")}, folder)

    def entered(self) -> set[str]:
        """The blocks of which the logs tell."""
        found: set[str] = set()
        for server in self._servers:
            with contextlib.suppress(Exception):
                self._until_read(server)
            said = server._said
            begin, self._read[id(server)] = self._read.get(id(server), 0), len(said)
            found.update(seen[1] for line in said[begin:] if (seen := _SEEN.search(line)))
        return found

    def leave(self) -> None:
        """Stop the servers."""
        for server in self._servers:
            with contextlib.suppress(Exception):
                server.stop()

    def _listen(self) -> None:
        """Know each server that is started."""
        servers: Any = importlib.import_module("tests.executors.redis.servers")
        start, known = servers.Server.start, self._servers

        def started(server: Any) -> None:
            known.append(server)
            start(server)

        servers.Server.start = started

    def _put(self, texts: dict[str, str], folder: Path) -> None:
        scripts: Any = importlib.import_module(_SCRIPTS)

        with tempfile.TemporaryDirectory() as made:
            lua = Path(made, "lua")
            lua.mkdir()
            for path in (ROOT / folder).glob("*.lua"):
                (lua / path.name).write_text(texts.get(path.name) or path.read_text("utf-8"), "utf-8")
            before = scripts.resources
            scripts.resources = SimpleNamespace(files=lambda package: Path(made))
            for each in (scripts._read, scripts.names, scripts.script):
                each.cache_clear()
            for name in scripts.names():
                scripts.script(name)
            scripts.resources = before

    def _until_read(self, server: Any) -> None:
        if not server.pid:
            return
        mark = f"IN mark:{time.monotonic_ns()}"
        server.ask("EVAL", f"redis.log(3, '{mark}')", "0")
        until = time.monotonic() + 10.0
        while not any(line.endswith(mark) for line in server._said[-50:]) and time.monotonic() < until:
            time.sleep(0.001)


@cache
def _openers(file: str) -> tuple[int, ...]:
    """For each line of a script the line that opens the block around it; 0: the whole file."""
    open_lines: list[tuple[int, int]] = []
    found = []
    for number, line in enumerate((ROOT / file).read_text("utf-8").splitlines(), 1):
        code = line.partition("--")[0].rstrip()
        depth = len(code) - len(code.lstrip())
        while code and open_lines and open_lines[-1][0] >= depth:
            open_lines.pop()
        one_line = _HEAD.match(code)
        found.append(number if one_line else open_lines[-1][1] if open_lines else 0)
        if _OPENS.search(code):
            open_lines.append((depth, number))
    return tuple(found)


def opener(file: str, line: int) -> int:
    """The line that opens the block in which *line* stands; for a function's first line this line."""
    return _openers(file)[line - 1]


def _logging(path: Path) -> str:
    """A script that says which of its blocks it enters."""
    lines, at = path.read_text("utf-8").splitlines(), 0
    while at < len(lines) and lines[at].startswith("--"):
        at += 1
    made = [*lines[:at], _LOG.format(path.stem, 0)]
    for number, line in enumerate(lines[at:], at + 1):
        code = line.partition("--")[0].rstrip()
        said, head = _LOG.format(path.stem, number), _HEAD.match(code)
        if head:
            made.append(f"{head[0]} {said} {code[head.end() :]}")
        else:
            made.append(f"{code} {said}" if _OPENS.search(code) else line)
    return "\n".join(made) + "\n"
