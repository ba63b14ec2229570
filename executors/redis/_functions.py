"""Functions: scripts that a server keeps ready to run, from Redis 7 on.

A script is put together anew for each call: its hundred closures take longer than what most calls do. In a library
they are made once; what a call begins with is set by functions that are run first.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from redis import exceptions

_LOCAL: Final = re.compile(r"local ([\w, ]+?)( = .*)?")
_REFUSALS: Final = ("noperm", "no permissions", "unknown command", "unknown subcommand")


class NoFunctionError(Exception):
    """The server does not have the function, and cannot be given it now."""


class Library(NamedTuple):
    """A script as a function.

    Attributes:
        name: Of the function, and of the library, which has no other.
        text: The whole of the library.
    """

    name: str
    text: bytes


class Functions:
    """What is known of a server's functions.

    Attributes:
        usable: Whether to try; not once the server has said that it has none, or that we may not use them.
    """

    def __init__(self, *, usable: bool = True) -> None:
        self.usable = usable

    def called(self, server: Any, made: Library, *arguments: Any) -> Any:
        """Call a function; a server that does not know it is told first.

        Raises:
            NoFunctionError: It cannot be had; nothing was done.
        """
        for _ in range(2):
            try:
                return server.call("FCALL", made.name, *arguments)
            except exceptions.ResponseError as error:
                if not self.lacks(error):
                    raise
            if not self.usable:
                break
            try:
                server.call("FUNCTION", "LOAD", made.text)
            except exceptions.ResponseError as error:
                if "already exists" not in str(error):
                    self.usable = False
                    break
            except Exception:  # a full server, which a script may yet drain
                break
        raise NoFunctionError(made.name)

    def lacks(self, error: BaseException) -> bool:
        """Whether *error* says that there is no such function, or are none at all."""
        said = str(error).lower()
        if "function not found" in said:
            return True
        if isinstance(error, exceptions.ResponseError) and "fcall" in said and any(one in said for one in _REFUSALS):
            self.usable = False
            return True
        return False


def library(name: str, parts: Sequence[str], taken: Sequence[str], first: str = "") -> Library:
    """A script as a library of one function.

    Args:
        first: What is tried before, if that is not empty: makes a function of the arguments, which may say nothing.
        parts: The taking of arguments, what is shared with other scripts, and what the script does.
        taken: The names of its arguments.
    """
    taking, *shared, last = parts
    lines = [f"local KEYS, ARGV, {', '.join(taken)}", "local F, begin = {}, {}"]
    lines += ["begin[1] = function()", _unlocal(taking), "end"]
    for number, part in enumerate(shared, 2):
        names, functions, others = _sorted(part)
        lines += ["return (function()", *([f"local {', '.join(names)}"] if names else []), functions]
        lines += [f"begin[{number}] = function()", others, "end"]
    lines += ["return (function()", "function F.run()", last, "end"]
    lines += ["return F, begin, function(keys, argv) KEYS, ARGV = keys, argv end"]
    lines += ["end)()"] * (len(shared) + 1)
    text = "\n".join(lines)
    if first:
        begun = f"local first = (function()\n{first}\nend)()"
        tried = "local said = first(keys[1], unpack(argv))\nif said then return said end\n"
    else:
        begun = tried = ""
    flags = "" if "EXISTS" in shared[0].partition("nowhere")[0].rpartition("call(")[2] else "'allow-oom'"
    known = f"flows_{name}_{hashlib.sha1((begun + text).encode(), usedforsecurity=False).hexdigest()[:16]}"
    return Library(
        known,
        f"""#!lua name={known}
{begun}
local F, begin, take = (function()
{text}
end)()
redis.register_function{{ function_name = '{known}', flags = {{ {flags} }}, callback = function(keys, argv)
{tried}take(keys, argv)
for place = 1, #begin do
begin[place]()
end
return F.run()
end }}
""".encode(),
    )


def _unlocal(text: str) -> str:
    return re.sub(r"^local ", "", text, flags=re.MULTILINE)


def _sorted(part: str) -> tuple[list[str], str, str]:
    """The names of a part's variables, its functions, and what it does when it begins."""
    names: list[str] = []
    functions: list[str] = []
    others: list[str] = []
    inside = False
    for line in part.splitlines():
        if inside or line.startswith("function "):
            inside = line != "end"
            functions.append(line)
        elif (found := _LOCAL.fullmatch(line)) is not None:
            names += found[1].split(", ")
            others.append(line.removeprefix("local ") + ("" if found[2] else " = nil"))
        else:
            others.append(line)
    return names, "\n".join(functions), "\n".join(others)
