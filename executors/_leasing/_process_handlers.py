"""Handlers that run in processes: where a child will find their functions, and the refusal of those it could not."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from executors._leasing._wire import Place
from flows._handlers import Handler
from flows._names import shown
from flows._plan import Plan
from flows._task import Task
from flows.errors import DefinitionError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

MAIN = ("__main__", "__mp_main__")
"""The script, and what it is called in a child that has imported it."""


class ProcessHandler(Handler):
    """A handler whose jobs run in children. The parent only waits for them, so for the crew it is a sync one.

    Raises:
        DefinitionError: A child could not import the function.
    """

    __slots__ = ("awaits", "place")

    def __init__(self, task: Task[..., Any]) -> None:
        super().__init__(task)
        self.awaits = self.is_async
        self.is_async = False
        self.place = place_of(task)


def mixed_handlers(plan: Plan[Any], tasks: Sequence[Task[..., Any]]) -> list[Handler]:
    """The handler of each job of a plan that has jobs for processes.

    Raises:
        DefinitionError: Functions that a child could not import; all of them in one error.
        UnsupportedError: This platform has no processes that we can start.
    """
    if sys.platform == "win32":
        raise UnsupportedError("run_in='process' does not work on Windows yet; leave it out to run in a thread")
    made: dict[tuple[Task[..., Any], bool], Handler] = {}
    problems: dict[Callable[..., Any], DefinitionError] = {}
    handlers: list[Handler] = []
    for task, settings in zip(tasks, plan.settings, strict=True):
        kind = (task, settings.run_in == "process")
        handler = made.get(kind)
        if handler is None:
            try:
                handler = made[kind] = ProcessHandler(task) if kind[1] else Handler(task)
            except DefinitionError as error:
                problems.setdefault(task.fn, error)
                continue
        handlers.append(handler)
    if problems:
        raise DefinitionError.of(list(problems.values()))
    return handlers


def place_of(task: Task[..., Any]) -> Place:
    """Where the function of *task* can be imported from.

    Raises:
        DefinitionError: Nowhere.
    """
    fn = task.fn
    why = "cannot be: it was made inside a function, or its module has another by its name"
    for name, module in _modules(fn):
        if name in MAIN and not _is_of_script(fn, module):
            if name == _inner(fn).__module__:
                why = "was defined in a notebook, at a prompt or in a string"
            continue
        for path in _paths(fn, module):
            found: Any = module
            for part in path.split("."):
                found = getattr(found, part, None)
            if found is fn or (isinstance(found, Task) and found.fn is fn):
                return Place(name, path)
    raise _refused(task, why)


def _modules(fn: Any) -> Iterator[tuple[str, ModuleType]]:
    """Where to look for *fn*: in its own module first; one that was made elsewhere may be a task in any other."""
    own = _inner(fn).__module__
    if own in sys.modules:
        yield own, sys.modules[own]
    for name, module in list(sys.modules.items()):
        if name != own and isinstance(module, ModuleType):
            yield name, module


def _refused(task: Task[..., Any], why: str) -> DefinitionError:
    return DefinitionError(
        f"task {task.name!r}: run_in='process' needs a function that a new process can import, and {shown(task.fn)} "
        f"{why}; move it to the top level of a module, or leave run_in out to run in a thread"
    )


def _inner(fn: Any) -> Any:
    """What knows its module: the function inside of partials, or a class."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return fn if isinstance(getattr(fn, "__module__", None), str) else type(fn)


def _paths(fn: Any, module: ModuleType) -> Iterator[str]:
    qualified = getattr(fn, "__qualname__", None)
    if isinstance(qualified, str) and "<" not in qualified:
        yield qualified
    for name, value in list(vars(module).items()):
        if isinstance(value, Task) and value.fn is fn:
            yield name


def _is_of_script(fn: Any, main: ModuleType) -> bool:
    """Whether importing the file of *main* again makes *fn*: what was typed at a prompt afterwards is not in it."""
    file = getattr(main, "__file__", None)
    code = getattr(inspect.unwrap(_inner(fn)), "__code__", None)
    if not isinstance(file, str) or not os.path.exists(file):
        return False
    return code is None or (not str(code.co_filename).startswith("<") and not _is_cell(str(code.co_filename), file))


def _is_cell(source: str, file: str) -> bool:
    """Whether *source* is a notebook's cell: a file that is no module that anyone could import."""
    return os.path.abspath(source) != os.path.abspath(file) and not os.path.exists(source)
