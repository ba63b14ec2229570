"""How mutants are put in the place of what they are mutants of, inside of a process that has collected the tests.

A mutant of a Python function becomes the code of that function, and it is told which functions a test enters, so that a
mutant meets only tests that get to it. One of a Lua script becomes what the script is put together from.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType, FunctionType, SimpleNamespace
from typing import Any, Final, Protocol

from tools.mutants import Mutant

ROOT = Path(__file__).resolve().parent.parent

_WATCHED: Final = (f"{ROOT}/flows/", f"{ROOT}/executors/")


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
    """Lua: scripts are put together from other files, of which one is a mutant."""

    def __init__(self) -> None:
        self._started: list[Any] = []
        self._scripts: Any = importlib.import_module("executors.redis._scripts")
        folder = ROOT / "executors" / "redis" / "lua"
        self._parts = {path.name: path.read_text("utf-8") for path in folder.glob("*.lua")}
        heads = {name: self._scripts._read(name)[0] for name in self._scripts.names()}
        self._includes = {name: [*head["first"], *head["include"]] for name, head in heads.items()}

    def server(self) -> Any:
        """The one that tests share, started."""
        return self._servers().shared()

    def plant(self, file: str, text: str) -> None:
        """Use a file's mutant from now on, in this fork."""
        start, known = self._servers().Server.start, self._started

        def started(server: Any) -> None:
            known.append(server)
            start(server)

        self._servers().Server.start = started
        self._put({Path(file).name: text})

    def leave(self) -> None:
        """The fork ends: stop the servers that were started in it."""
        for server in self._started:
            with contextlib.suppress(Exception):
                server.stop()

    def texts(self, clock: str) -> dict[str, bytes]:
        """All scripts by name.

        Args:
            clock: What tells the time to them, in the place of the server.
        """
        with self._putting(self._clocked(self._parts, clock)):
            return {name: self._scripts.script(name).text for name in self._scripts.names()}

    def made_of(self, file: str) -> list[str]:
        """The scripts that a file is a part of."""
        return [name for name, parts in self._includes.items() if Path(file).stem in (name, *parts)]

    def text(self, file: str, text: str, clock: str, name: str) -> bytes:
        """A script, with a mutant of a file that it may be made of."""
        parts = self._parts | ({Path(file).name: text} if name in self.made_of(file) else {})
        with self._putting(self._clocked(parts, clock)):
            made: bytes = self._scripts.script(name).text
        return made

    @staticmethod
    def _clocked(parts: dict[str, str], clock: str) -> dict[str, str]:
        return {name: text.replace("call('TIME')", clock) for name, text in parts.items()}

    @contextlib.contextmanager
    def _putting(self, texts: dict[str, str]) -> Iterator[None]:
        self._put(texts)
        yield
        self._put({})

    def put_clock(self, clock: str) -> None:
        """Use it from now on, in this fork, and no functions: a script's own call tells which it is."""
        self._scripts.OFTEN = frozenset()
        self._put(self._clocked(self._parts, clock))

    def _put(self, texts: dict[str, str]) -> None:
        folder = _Folder(self._parts | texts)
        self._scripts.resources = SimpleNamespace(files=lambda package: folder)
        for each in (self._scripts._read, self._scripts.names, self._scripts.script):
            each.cache_clear()

    @staticmethod
    def _servers() -> Any:
        return importlib.import_module("tests.executors.redis.servers")


class _Folder:
    """A package with the scripts, as `importlib.resources` shows it."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = texts

    def joinpath(self, folder: str, name: str = "") -> Any:
        """The folder itself, or a file in it."""
        return SimpleNamespace(read_text=lambda encoding: self._texts[name]) if name else self

    def iterdir(self) -> list[Any]:
        """Its files."""
        return [SimpleNamespace(name=name) for name in self._texts]
