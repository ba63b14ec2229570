"""From a URL to an executor: ours, a stranger's, and what is said about what is none."""

import importlib.metadata
import sys
from typing import Any

import pytest

import flows
from executors.memory import MemoryExecutor
from flows import _executors
from flows._executors import executor_of, masked
from flows.errors import MissingDependencyError, UnknownExecutorError


@pytest.fixture(autouse=True)
def no_sharing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_executors, "_shared", {})
    monkeypatch.delenv("FLOWS_EXECUTOR", raising=False)


give = flows.task(lambda value=None: value, name="executors-give")


def test_without_anything_it_is_memory() -> None:
    assert isinstance(executor_of(None), MemoryExecutor)
    assert executor_of(None) is executor_of("memory://")


def test_a_url_is_one_executor_unless_it_is_private() -> None:
    assert executor_of("memory://?concurrency=3") is executor_of("memory://?concurrency=3")
    assert executor_of("memory://?concurrency=3") is not executor_of("memory://")
    assert executor_of("memory://?private=1") is not executor_of("memory://?private=1")
    assert executor_of("memory://?private=0") is executor_of("memory://?private=0")


def test_an_executor_object_is_itself() -> None:
    mine: Any = MemoryExecutor("memory://?private=1")
    assert executor_of(mine) is mine
    assert flows.execute(give(1), executor=mine, key="k").id == flows.get(key="k", executor=mine).id


def test_memory_is_one_store_a_process_and_private_is_one_s_own() -> None:
    run = flows.execute(give(1), executor="memory://", key="executors-shared")
    assert flows.get(key="executors-shared").id == run.id
    assert flows.get(key="executors-shared", executor="memory://?concurrency=2").id == run.id
    with pytest.raises(flows.UnknownRunError):
        flows.get(key="executors-shared", executor="memory://?private=1")


def test_the_environment_names_the_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWS_EXECUTOR", "memory://?concurrency=7")
    assert executor_of(None) is executor_of("memory://?concurrency=7")
    assert executor_of("memory://") is not executor_of(None)


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWS_EXECUTOR", "")
    assert executor_of(None) is executor_of("memory://")


@pytest.mark.parametrize("value", ["nonsense", " ", "acme://x"])
def test_a_variable_that_names_none_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("FLOWS_EXECUTOR", value)
    with pytest.raises(UnknownExecutorError):
        flows.execute(give(1))


class Acme:
    embedded = True

    def __init__(self, url: str) -> None:
        self.url = url

    def submit(self) -> None: ...

    def work(self) -> None: ...


class Entry:
    def __init__(self, name: str, loaded: Any) -> None:
        self.name = name
        self.loaded = loaded

    def load(self) -> Any:
        return self.loaded


def install(monkeypatch: pytest.MonkeyPatch, *entries: Entry) -> None:
    def entry_points(*, group: str, name: str | None = None) -> list[Entry]:
        return [entry for entry in entries if group == "flows.executors" and name in (None, entry.name)]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)


def test_a_stranger_s_executor_is_found_by_its_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Entry("acme", Acme))
    made: Any = executor_of("acme://host/db?x=1")
    assert (type(made), made.url) == (Acme, "acme://host/db?x=1")
    assert executor_of("acme://host/db?x=1") is made
    with pytest.raises(UnknownExecutorError, match="there are acme://, dask://, memory://"):
        executor_of("acne://host")


def test_a_scheme_of_ours_is_not_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Entry("memory", Acme))
    assert isinstance(executor_of("memory://"), MemoryExecutor)


def test_a_package_that_is_missing_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_executors, "SCHEMES", {"acmes": "not_installed_anywhere.acme:Acme"})
    with pytest.raises(MissingDependencyError) as caught:
        executor_of("acmes://host")
    assert isinstance(caught.value, ImportError)
    assert "acmes:// needs the package 'not_installed_anywhere'" in str(caught.value)
    assert "not_installed_anywhere" not in sys.modules


def test_the_extra_of_several_schemes_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_executors, "SCHEMES", {"rediss": "executors.not_there:Acme"})
    with pytest.raises(MissingDependencyError, match=r"pip install 'flowproducer\[not_there\]'"):
        executor_of("rediss://host")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://:secret@h:1/0", "redis://:***@h:1/0"),
        ("redis://me:secret@h", "redis://me:***@h"),
        ("redis://me@h", "redis://me@h"),
        ("redis://me:se@cr:et@h/0", "redis://me:***@h/0"),
        ("nonsense", "nonsense"),
    ],
)
def test_passwords_are_masked(url: str, shown: str) -> None:
    assert masked(url) == shown


@pytest.mark.parametrize("url", ["acme://me:secret@h/0", "memory://me:secret@h", "me:secret@h", ":secret@h"])
def test_no_error_shows_a_password(url: str) -> None:
    with pytest.raises(UnknownExecutorError) as caught:
        executor_of(url)
    assert "secret" not in str(caught.value)
