"""What a failing test is told about its last simulation, and the files that make it again."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows._names import shown
from flows.errors import DefinitionError
from flows.testing import _simulate
from flows.testing._faults import Fault
from flows.testing._trace import literal

if TYPE_CHECKING:
    import pytest

_PLAIN = ("faults", "schedule", "workers", "slots", "key", "timeout", "fail_fast", "allow")


@contextlib.contextmanager
def noted(file: str | None) -> Iterator[None]:
    """Note the last simulation from now on, and have all of them replay *file*, where there is one."""
    _simulate.latest.clear()
    _simulate.overrides.clear()
    if file is not None:
        _simulate.overrides.update(read(file))
    try:
        yield
    finally:
        _simulate.overrides.clear()


def section(test: str, cache: pytest.Cache | None, message: str) -> str:
    """The last simulation of a failing test: its faults, how to make it again, and its timeline if *message* has none.

    The last one of a test under hypothesis is that of the smallest example.
    """
    if not _simulate.latest:
        return ""
    trace = _simulate.latest.pop()
    replay = dict(trace.replay)
    lines = [
        f"faults={list(replay.get('faults', []))!r}",
        f"simulate({', '.join(filter(None, ('flow', literal(replay))))})",
    ]
    written = None if cache is None else _write(test, cache, replay)
    if written is not None:
        lines.append(f"pytest {json.dumps(test)} --flows-replay {written}")
    timeline = trace.timeline()
    told = all(line in message for line in timeline.splitlines())  # which pytest has put its marks before
    return "\n".join([*lines, *([] if told else ["", timeline])])


def _write(test: str, cache: pytest.Cache, replay: Mapping[str, Any]) -> str | None:
    """Write down what makes the simulation again; None where a file cannot hold it."""
    try:
        text = json.dumps(as_json(replay), indent=1)
    except (TypeError, ValueError):  # functions that were deployed, exceptions of a local class
        return None
    name = hashlib.sha256(test.encode()).hexdigest()[:12]
    path = Path(cache.mkdir("flows")) / f"{name}.json"
    path.write_text(text)
    return str(path)


def as_json(replay: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `simulate` as JSON; replaced handlers are the test's.

    Raises:
        TypeError: They have no JSON form.
    """
    written = {name: value for name, value in replay.items() if name in _PLAIN}
    written["faults"] = [_fault_as_json(fault) for fault in replay.get("faults", ())]
    if isinstance(written.get("schedule"), Mapping):
        written["schedule"] = sorted(written["schedule"].items())
    return written


def read(file: str) -> dict[str, Any]:
    """What `as_json` has written.

    Raises:
        DefinitionError: The file is not there, or holds something else.
    """
    try:
        written = json.loads(Path(file).read_text())
        replay = {name: written[name] for name in _PLAIN if name in written}
        replay["faults"] = [_fault_of(one) for one in written["faults"]]
        if isinstance(replay.get("schedule"), list):
            replay["schedule"] = {int(number): int(option) for number, option in replay["schedule"]}
    except (OSError, ValueError, TypeError, LookupError, AttributeError, ImportError) as error:
        raise DefinitionError(f"--flows-replay {shown(file)} cannot be replayed: {error!r}") from error
    return replay


def _fault_as_json(fault: Fault) -> dict[str, Any]:
    if fault.handlers is not None:
        raise TypeError("functions cannot be written down")
    given = {one.name: getattr(fault, one.name) for one in fields(Fault)}
    written = {name: value for name, value in given.items() if value is not None and name != "exc"}
    if fault.exc is not None:
        kind = fault.exc if isinstance(fault.exc, type) else type(fault.exc)
        if "<locals>" in kind.__qualname__:
            raise TypeError("a local class cannot be found again")
        args = None if isinstance(fault.exc, type) else list(fault.exc.args)
        written["exc"] = [kind.__module__, kind.__qualname__, args]
    return written


def _fault_of(written: Mapping[str, Any]) -> Fault:
    given = dict(written)
    if "exc" in given:
        module, path, args = given["exc"]
        found: Any = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
        given["exc"] = found if args is None else found(*args)
    return Fault._made(**given)
