"""The table of tasks: who replaces whom, who is refused, who is found."""

import functools
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import flows
from flows import _registry
from flows.errors import DuplicateTaskError

SOURCE = """
import flows

@flows.task(name={name!r}, queue={queue!r})
def handler():
    return {value!r}
"""


@pytest.fixture(autouse=True)
def empty_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_registry, "_tasks", {})


def load(
    path: Path, name: str = "charge", queue: str = "payments", value: object = 1, module: str = "app"
) -> ModuleType:
    path.write_text(SOURCE.format(name=name, queue=queue, value=value))
    made = ModuleType(module)
    exec(compile(path.read_text(), str(path), "exec"), vars(made))
    return made


def test_the_same_file_registers_again_and_replaces(tmp_path: Path) -> None:
    load(tmp_path / "a.py", value=1)
    load(tmp_path / "a.py", value=2)
    found = _registry.find("charge", "payments")
    assert found is not None
    assert (found.fn(), len(_registry.registered())) == (2, 1)


def test_another_file_is_refused_with_both_places(tmp_path: Path) -> None:
    load(tmp_path / "a.py")
    with pytest.raises(DuplicateTaskError) as caught:
        load(tmp_path / "b.py")
    said = str(caught.value)
    assert "task 'charge' on queue 'payments'" in said
    assert f"{tmp_path / 'a.py'}:4" in said
    assert f"{tmp_path / 'b.py'}:4" in said
    assert "name=" in said
    assert len(_registry.registered()) == 1


def test_another_file_may_use_the_name_on_another_queue(tmp_path: Path) -> None:
    load(tmp_path / "a.py", value=1)
    load(tmp_path / "b.py", queue="refunds", value=2)
    assert [task.queue for task in _registry.registered()] == ["payments", "refunds"]


def test_cells_of_a_notebook_are_one_file(tmp_path: Path) -> None:
    # Each cell is compiled under a file name of its own; what they share is the module.
    load(tmp_path / "cell-1", value=1, module="__main__")
    load(tmp_path / "cell-2", value=2, module="__main__")
    found = _registry.find("charge", "payments")
    assert found is not None
    assert found.fn() == 2


def test_a_handler_is_found_on_its_queue_else_as_the_only_one_of_its_name() -> None:
    one = flows.task(lambda: 1, name="mail", queue="a")
    assert (_registry.find("mail", "a"), _registry.find("mail", "other"), _registry.find("mail", None)) == (one,) * 3
    two = flows.task(lambda: 2, name="mail", queue="b")
    assert (_registry.find("mail", "a"), _registry.find("mail", "b")) == (one, two)
    assert (_registry.find("mail", "other"), _registry.find("mail", None), _registry.find("post", "a")) == (None,) * 3


def test_using_another_queue_moves_the_job_and_not_the_handler() -> None:
    task = flows.task(lambda: "here", name="moved", queue="home")
    assert flows.execute(task.using(queue="away")()).jobs["moved"].queue == "away"
    assert flows.execute(flows.Job("moved", queue="away")).value == "here"
    assert flows.execute(flows.Job("moved")).jobs["moved"].queue == "home"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("chrage", "did you mean 'charge'?"),
        ("xyz", "import the module that defines it"),
        ("mail", "serve the queues a, b"),
    ],
)
def test_a_handler_that_is_not_there_is_told_with_what_is_near(name: str, said: str) -> None:
    for handler, queue in (("charge", "payments"), ("mail", "a"), ("mail", "b")):
        flows.task(lambda: None, name=handler, queue=queue)
    with pytest.raises(flows.UnknownTaskError) as caught:
        flows.execute(flows.Job(name, queue="c", id="me"))
    assert f"job 'me': no task named {name!r} is registered for queue 'c'" in str(caught.value)
    assert said in str(caught.value)
    assert caught.value.job == "me"


def wrapped(fn: Callable[[], Any]) -> Callable[[], Any]:
    return functools.wraps(fn)(lambda: fn())


@pytest.mark.parametrize("made", [wrapped, functools.partial, lambda fn: wrapped(functools.partial(fn))], ids=range(3))
def test_what_is_around_a_handler_does_not_hide_its_file(made: Callable[..., Any], tmp_path: Path) -> None:
    one, other = load(tmp_path / "a.py", name="one"), load(tmp_path / "b.py", name="other")
    flows.task(made(one.handler.fn), name="around")
    flows.task(one.handler.fn, name="around")
    with pytest.raises(DuplicateTaskError, match=r"b\.py"):
        flows.task(made(other.handler.fn), name="around")


class Handler:
    def __call__(self) -> None: ...

    def method(self) -> None: ...


def test_callable_objects_and_methods_of_one_file_replace_each_other() -> None:
    for fn in (Handler(), Handler().method, Handler(), lambda: None):
        flows.task(fn, name="object")
    assert len(_registry.registered()) == 1
