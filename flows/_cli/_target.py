"""From ``MODULE:FLOW`` to a flow: modules by dotted name or by file, errors that say whose they are."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

from flows._cli._wrong import WrongCommandError
from flows._flow import Flow, FlowFunction
from flows._job import Job
from flows._names import nearest, shown
from flows._task import Task

if TYPE_CHECKING:
    from flows._plan import Plan

_MACHINERY = ("<frozen importlib", os.sep + "importlib" + os.sep, str(Path(__file__).parent))


def plan_of(target: str, given: Mapping[str, str]) -> Plan[Any]:
    """The plan of the flow that *target* names, with the arguments that were *given* as text.

    Raises:
        WrongCommandError: There is no such flow, or the arguments are not its.
        DefinitionError: The flow is wrong.
    """
    import flows
    from flows._cli._arguments import arguments_of

    flow = named(target)
    if isinstance(flow, Flow | Job):
        if given:
            raise WrongCommandError(
                f"{target} is a flow as it stands and takes no --arg; a function that makes one does"
            )
        return flows.plan(flow)
    args, kwargs = arguments_of(flow, given, target)
    made = flow(*args, **kwargs)
    if not isinstance(made, Flow | Job):
        raise WrongCommandError(f"{target} returned {shown(made)}, and not a flow or a job")
    return flows.plan(made)


def named(target: str) -> Any:
    """What *target* names: a flow, a job, or what makes one when it is called.

    Raises:
        WrongCommandError: The module or the flow is not there, or it is something else.
    """
    where, colon, attribute = target.rpartition(":")
    if not colon or os.sep in attribute:  # the colon of a drive is none of ours
        where, attribute = target, ""
    module = module_of(where)
    if not attribute:
        return _only_flow(module, where)
    found: Any = module
    for step in attribute.split("."):
        try:
            found = getattr(found, step)
        except AttributeError:
            raise WrongCommandError(_no_attribute(module, where, attribute)) from None
    if isinstance(found, Flow | Job | FlowFunction | Task) or inspect.isfunction(found):
        return found
    raise WrongCommandError(
        f"{target} is {shown(found)}, and not a flow: name a @flows.flow function, a task, or a variable that holds "
        f"a flow or a job{_flows_there(module, where)}"
    )


def module_of(name: str) -> ModuleType:
    """The module of that dotted name, or of that file, imported; the current directory comes first on the path.

    Raises:
        WrongCommandError: There is no such module, or it raises when it is imported; then with the traceback.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    if not name:
        raise WrongCommandError("which module? Give MODULE:FLOW, as in app:order_flow or app.py:order_flow")
    if name.endswith(".py") or os.sep in name or "/" in name:
        return _of_file(Path(name))
    return _imported(name)


def _of_file(path: Path) -> ModuleType:
    if not path.is_file():
        near = nearest(path.name, [other.name for other in path.parent.glob("*.py")] if path.parent.is_dir() else [])
        raise WrongCommandError(f"there is no file {shown(str(path))}{_meant(near)}")
    path = path.resolve()
    folder, parts = path.parent, [path.stem]
    if path.stem == "__init__":
        folder, parts = folder.parent, [folder.name]
    while (folder / "__init__.py").exists():  # a module of a package is imported as one, so that its imports work
        parts.insert(0, folder.name)
        folder = folder.parent
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    name = ".".join(parts)
    module = _imported(name)
    if Path(module.__file__ or "").resolve() != path:
        raise WrongCommandError(
            f"{path.name} cannot be imported as {name!r}: that is {module.__file__}; rename the file"
        )
    return module


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise WrongCommandError(_no_module(name, error.name)) from None
        raise _broken(name, error) from error
    except SystemExit as error:
        raise WrongCommandError(
            f"importing {name} ended the program (exit code {error.code}); put what a script does when it is run "
            'under: if __name__ == "__main__":'
        ) from None
    except BaseException as error:
        raise _broken(name, error) from error


def _broken(name: str, error: BaseException) -> WrongCommandError:
    detail = "".join(traceback.format_exception(type(error), error, _theirs(error.__traceback__))).rstrip()
    return WrongCommandError(f"importing {name} failed: {type(error).__name__}: {error}", detail=detail)


def _theirs(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame on that is the user's."""
    while trace is not None and any(part in trace.tb_frame.f_code.co_filename for part in _MACHINERY):
        trace = trace.tb_next
    return trace


def _no_module(name: str, missing: str) -> str:
    if name.endswith(".py"):
        name = name.removesuffix(".py")
    if missing != name:
        return f"there is no module {name}: no {missing} was found here or among the installed packages"
    known = [module.name for module in pkgutil.iter_modules([str(Path.cwd())])]
    near = nearest(name, known)
    return f"there is no module {name} in {Path.cwd()} or among the installed packages{_meant(near)}"


def _no_attribute(module: ModuleType, where: str, attribute: str) -> str:
    near = nearest(attribute, [name for name in vars(module) if not name.startswith("_")], 1)
    return f"{where} has no {attribute}{_meant(near)}{_flows_there(module, where)}"


def _only_flow(module: ModuleType, where: str) -> Any:
    found = _flows_in(module)
    if len(found) == 1:
        return next(iter(found.values()))
    why = f"{where} has several flows" if found else f"{where} has no @flows.flow function"
    raise WrongCommandError(f"which flow? {why}{_flows_there(module, where)}")


def _flows_in(module: ModuleType) -> dict[str, Any]:
    """The flows of a module by the name of their variable; not those that it has imported."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, Flow | FlowFunction) and getattr(value, "__module__", module.__name__) == module.__name__
    }


def _flows_there(module: ModuleType, where: str) -> str:
    names = list(_flows_in(module))
    listed = ", ".join(f"{where}:{name}" for name in names[:10]) + (", ..." if len(names) > 10 else "")
    return f"; its flows: {listed}" if names else ""


def _meant(near: list[str]) -> str:
    return f"; did you mean {near[0]}?" if near else ""
