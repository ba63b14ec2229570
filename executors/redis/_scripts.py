"""Scripts: one verb, one Lua file. Its header says what it takes; shared parts are put in front of it.

A header is the comment at the top of a file::

    -- What the script does.
    -- KEYS: meta
    -- ARGV: id reason
    -- REST: what may follow, in words
    -- first: plain
    -- include: prelude
    -- define: TURN 32
    -- rare: postpone lose

Each name becomes a Lua local. Includes follow in their order; they see these names, and each other's locals. What is
defined is put in wherever the word stands, in all parts: Lua allows a script 200 locals, and looks each up. What a
script defines itself counts, and not what its parts do. Functions that most calls do not need are rare: they are made
when one of them is first called. What comes first is a script by itself: it returns a function of the keys and the
arguments, and only where that says nothing is the rest of the script come to, or even made.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any, Final, NamedTuple, Protocol

from executors.redis._functions import Functions, Library, NoFunctionError, library

OFTEN: Final = frozenset(("exchange", "put_alike", "put_plain"))
"""The scripts that servers keep ready to run, where they can: most calls are of these."""

_WORD: Final = re.compile(r"--.*|'[^'\n]*'|\b[A-Z][A-Z_]+\b")
"""A word that may be defined; not in a comment or a string."""

LOADS: Final = 5
"""How often a script is loaded for one call: a failover, or SCRIPT FLUSH, may come between the loading and the call."""

_FUNCTION: Final = re.compile(r"^local function (\w+)", re.MULTILINE)
_HEADER: Final = re.compile(r"--\s?(?:(KEYS|ARGV|REST|first|include|define|rare): )?(.*)")


_RARELY: Final = """\
setmetatable(F, { __index = function(_, name)
for place = 1, #R do
R[place]()
end
R = {}
return rawget(F, name)
end })
"""


class Calls(Protocol):
    """A way to a server: raw commands, raw answers (bytes, integers, lists, None)."""

    def call(self, *command: Any) -> Any:
        """One command; an error of the server is raised."""
        ...

    def calls(self, commands: Sequence[Sequence[Any]], /) -> list[Any]:
        """Several commands in one round trip; an error of the server stands in the list."""
        ...


class Script(NamedTuple):
    """A script as the server takes it.

    Attributes:
        name: Of its file.
        keys, argv: Names of what it is called with.
        text: The whole of it.
        sha: By which the server knows it once it has been loaded.
        library: The same as a function, where it is called often.
    """

    name: str
    keys: tuple[str, ...]
    argv: tuple[str, ...]
    text: bytes
    sha: str
    library: Library | None = None

    def on(self, server: Calls, *arguments: Any) -> Any:
        """Run it; a server that does not know it, or has forgotten it, is told first."""
        functions: Functions | None = getattr(server, "functions", None)
        if self.library is not None and functions is not None and functions.usable:
            try:
                return functions.called(server, self.library, len(self.keys), *arguments)
            except NoFunctionError:
                pass
        for _ in range(LOADS):
            try:
                return server.call("EVALSHA", self.sha, len(self.keys), *arguments)
            except Exception as error:
                if not is_unknown(error):
                    raise
            server.call("SCRIPT", "LOAD", self.text)
        return server.call("EVALSHA", self.sha, len(self.keys), *arguments)

    def command(self, functions: Functions, *arguments: Any) -> tuple[Any, ...]:
        """What runs it on a server that knows it."""
        if self.library is not None and functions.usable:
            return ("FCALL", self.library.name, len(self.keys), *arguments)
        return ("EVALSHA", self.sha, len(self.keys), *arguments)

    def begin(self, channel: Any, *arguments: Any) -> Callable[[], Any]:
        """Have *channel* send it, and return what waits for the answer."""
        channel.send(*self.command(channel.functions, *arguments))

        def end() -> Any:
            try:
                return channel.receive()
            except Exception as error:
                if not is_unknown(error) and not channel.functions.lacks(error):
                    raise
            return self.on(channel, *arguments)

        return end


def is_unknown(error: BaseException) -> bool:
    """Whether the server says that it has no such script."""
    return type(error).__name__ == "NoScriptError" or str(error).startswith("NOSCRIPT")


@functools.cache
def script(name: str) -> Script:
    """The script of that name, put together."""
    header, body = _read(name)
    keys, argv = tuple(header["KEYS"]), tuple(header["ARGV"])
    lines = [f"local {key} = KEYS[{place}]" for place, key in enumerate(keys, 1)]
    lines += [f"local {', '.join(argv)} = unpack(ARGV, 1, {len(argv)})"] if argv else []
    if "REST" in header:
        lines.append(f"local rest = {len(argv) + 1}")
    before = [_read(part) for part in header["first"]]
    parts = [_read(part) for part in header["include"]]
    told = [*[word for part, _ in (*before, *parts) for word in part["define"]], *header["define"]]
    defined = dict(zip(told[::2], told[1::2], strict=True))
    texts = [_set_aside(text, said["rare"]) for said, text in (*parts, (header, body))]
    first = _plainly("".join(text for _, text in before), defined)
    called = f"local said = (function()\n{first}\nend)()({', '.join((*keys, *argv))})\nif said then return said end"
    text = _nested(["\n".join([*lines, *([called] if first else [])]), *texts], defined).encode()
    made = None
    if name in OFTEN:
        whole = _told(["\n".join(lines), *[part for _, part in parts], body], defined)
        made = library(name, whole.split("\0"), (*keys, *argv, *(["rest"] if "REST" in header else [])), first)
    return Script(name, keys, argv, text, hashlib.sha1(text, usedforsecurity=False).hexdigest(), made)


def _set_aside(text: str, rare: Sequence[str]) -> str:
    """The rare functions of a part in one that makes them, where the last of them was."""
    if not rare:
        return text
    functions = re.compile(rf"^local function (?:{'|'.join(rare)})\(.*?^end$\n", re.MULTILINE | re.DOTALL)
    found = list(functions.finditer(text))
    made = "".join(one[0] for one in found)
    before = functions.sub("", text[: found[-1].start()])
    return f"{before}R[#R + 1] = function()\n{made}end\n{text[found[-1].end() :]}"


def _nested(parts: Sequence[str], defined: Mapping[str, str]) -> str:
    """Each part in a function inside the one before, all functions as fields of one table, no comments.

    A server makes all closures anew for each call. Lua finds a variable that a closure shares with the function around
    it by walking a list; one from further out it has at hand. With a hundred functions side by side, the walking took
    longer than what most calls do.
    """
    first, *rest = _told(parts, defined).split("\0")
    return (
        f"local F, R = {{}}, {{}}\n{_RARELY}{first}\n"
        + "".join(f"return (function()\n{part}\n" for part in rest)
        + "end)() " * len(rest)
    )


def _told(parts: Sequence[str], defined: Mapping[str, str]) -> str:
    """The parts, with a NUL between them, without comments; functions are fields of the table F."""
    text = _plainly("\0".join(parts), defined)
    called = re.compile(rf"'[^'\n]*'|(?<![.\w])({'|'.join(_FUNCTION.findall(text)) or '(?!)'})(?=\()")
    text = called.sub(lambda found: f"F.{found[1]}" if found[1] else found[0], _FUNCTION.sub(r"function \1", text))
    return text


def _plainly(text: str, defined: Mapping[str, str]) -> str:
    """Without comments, and with what words stand for."""
    text = "\n".join(line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("--"))
    return _WORD.sub(lambda found: defined.get(found[0], found[0]), text)


@functools.cache
def names() -> tuple[str, ...]:
    """All scripts; files without KEYS are parts of others."""
    files = resources.files(__package__).joinpath("lua").iterdir()
    found = sorted(file.name.removesuffix(".lua") for file in files if file.name.endswith(".lua"))
    return tuple(name for name in found if _read(name)[0]["KEYS"])


@functools.cache
def _read(name: str) -> tuple[dict[str, list[str]], str]:
    text = resources.files(__package__).joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
    header: dict[str, list[str]] = {"KEYS": [], "ARGV": [], "first": [], "include": [], "define": [], "rare": []}
    lines = text.splitlines()
    while lines and (said := _HEADER.fullmatch(lines[0])):
        if said[1] is not None:
            header.setdefault(said[1], []).extend(said[2].split())
        lines.pop(0)
    return header, "\n".join(lines) + "\n"
