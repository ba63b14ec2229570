"""References: stand-ins for results that do not exist yet.

``job.out`` is a `Reference`. Reading an attribute or an item of it gives a longer reference; everything else that one
does with a value would silently work on the stand-in, so it raises `TypeError` with a hint instead.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from flows._names import shown
from flows.errors import DefinitionError, Failed

if TYPE_CHECKING:
    from flows._job import Job

R = TypeVar("R")

Path = tuple[str | int, ...]

_HINT = (
    "it stands for a result that is known only at run time: pass it to a task as it is (a part of it by .name or [0]), "
    "or compute with it in a small task"
)


_FAN_OUT = f"{_HINT}; flows.each(task, job.out) fans out over a list"
_HINTS = {"bool": f"{_HINT}; flows.when(job.out, other) runs a job only if it holds"} | dict.fromkeys(
    ("iter", "len", "next", "reversed"), _FAN_OUT
)


class Reference:
    """The future result of a job, or, as a `Part`, a part of it."""

    # What is whole has no path to look at: a look costs the planner much, as `__getattr__` slows all of them down.
    __slots__ = ("_job",)
    _path: Path = ()

    def __init__(self, job: Job[Any]) -> None:
        self._job = job

    def __getattr__(self, name: str) -> Reference:
        if name.startswith("_"):
            raise AttributeError(
                f"a reference has no attribute {name!r}: underscore names cannot be reached through one"
            )
        return Part(self._job, (*self._path, name))

    def __getitem__(self, key: str | int) -> Reference:
        if type(key) is not int and not isinstance(key, str):
            raise TypeError(f"{self!r}[{shown(key)}]: only a name or a position can be taken of a reference ({_HINT})")
        return Part(self._job, (*self._path, key))

    def __copy__(self) -> Reference:
        return self

    def __deepcopy__(self, memo: object) -> Reference:
        return self  # a copy of the job would be another job

    def __repr__(self) -> str:
        return f"<{describe(self._job)}.out{spell(self._path)}>"


class Part(Reference):
    """A part of the future result of a job."""

    __slots__ = ("_path",)

    def __init__(self, job: Job[Any], path: Path) -> None:
        self._job = job
        self._path = path


class OptionalReference:
    """A reference whose dependent runs even if the job did not complete; made by `optional`."""

    __slots__ = ("reference",)

    def __init__(self, reference: Reference) -> None:
        self.reference = reference

    def __repr__(self) -> str:
        return f"optional({self.reference!r})"


def _refuse(operation: str) -> Any:
    def refuse(self: Reference | OptionalReference, *_: object) -> NoReturn:
        raise TypeError(f"{operation} of {self!r} is not possible: {_HINTS.get(operation, _HINT)}")

    return refuse


_ARITHMETIC = (
    *("add", "sub", "mul", "truediv", "floordiv", "mod", "divmod", "pow", "matmul"),
    *("and", "or", "xor", "lshift", "rshift"),
)
_CONVERSIONS = ("int", "float", "complex", "index", "bytes", "round", "trunc", "floor", "ceil")
_REFUSED = {
    **{f"__{name}__": name for name in ("bool", "len", "iter", "next", "reversed", "call", "str", "format", "await")},
    **{f"__{name}__": "comparison" for name in ("eq", "ne", "lt", "le", "gt", "ge", "contains")},
    **{f"__{name}__": "conversion" for name in _CONVERSIONS},
    **{f"__{side}{name}__": "arithmetic" for name in _ARITHMETIC for side in ("", "r", "i")},
    **{f"__{name}__": "arithmetic" for name in ("neg", "pos", "abs", "invert")},
    **{f"__{name}__": "assignment" for name in ("setitem", "delitem", "enter", "exit")},
}
for _dunder, _operation in _REFUSED.items():
    for _class in (Reference, OptionalReference):
        setattr(_class, _dunder, _refuse(_operation))


def optional(value: R) -> R | Failed:
    """Mark one edge: the dependent runs even if that job does not complete, and receives a `Failed` in its place.

    Outranks the failure policy of the job for this edge, and counts as ``"ignore"``.

    Raises:
        DefinitionError: *value* is not ``job.out`` or a part of it.
    """
    given: Any = value
    reference = given.out if hasattr(type(given), "out") else given
    if not isinstance(reference, Reference):
        raise DefinitionError(f"optional() takes a reference such as job.out, not {shown(value)}")
    return cast("R", OptionalReference(reference))


def follow(value: Any, path: Path) -> Any:
    """The part of *value* that *path* leads to: mapping key, position, or public attribute, step by step.

    Raises:
        LookupError, AttributeError: A step leads nowhere; the message names the step and the type it was tried on.
    """
    for depth, step in enumerate(path):
        try:
            if isinstance(value, Mapping) or type(step) is int:
                value = value[step]
            elif isinstance(step, str) and step.startswith("_"):
                raise AttributeError("underscore attributes cannot be reached")
            else:
                value = getattr(value, cast("str", step))
                if inspect.isroutine(value):
                    raise AttributeError("it is a method, not a part of the value")
        except (LookupError, TypeError, AttributeError) as error:
            taken = spell(path[:depth]) or " itself"
            kind = type(value).__name__
            raise LookupError(
                f".out{spell(path)}: {spell((step,))} was not found in the {kind} at .out{taken} ({error})"
            ) from error
    return value


def spell(path: Path) -> str:
    """A path as it is written in code: ``.items[0]``."""
    return "".join(f".{step}" if isinstance(step, str) and step.isidentifier() else f"[{step!r}]" for step in path)


def describe(job: Job[Any]) -> str:
    """A job by its id, or by its name when it was given none."""
    return job.id or job.name
