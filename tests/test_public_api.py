"""The public namespace is one flat, sorted list; the path of a module tells whether it may be imported."""

import inspect
import pkgutil
from types import ModuleType

import flows
import flows.errors

ERRORS = sorted(
    name
    for name, thing in vars(flows.errors).items()
    if not name.startswith("_") and inspect.isclass(thing) and issubclass(thing, BaseException)
)


def test_all_is_sorted_and_has_no_duplicates() -> None:
    assert list(flows.__all__) == sorted(set(flows.__all__))


def test_all_is_what_is_visible() -> None:
    visible = {name for name in dir(flows) if not name.startswith("_")}
    submodules = {name for name in visible if isinstance(getattr(flows, name), ModuleType)}
    public = {name for name in flows.__all__ if not name.startswith("_")}
    assert visible - (submodules - public) == public


def test_every_name_of_all_is_there() -> None:
    assert [name for name in flows.__all__ if getattr(flows, name, None) is None] == []


def test_every_error_is_importable_from_flows() -> None:
    assert [name for name in ERRORS if getattr(flows, name, None) is not getattr(flows.errors, name)] == []
    assert set(ERRORS) <= set(flows.__all__)


def test_there_are_errors_to_speak_of() -> None:
    assert {"FlowsError", "DefinitionError", "RunError", "ExecutorError"} <= set(ERRORS)


def test_no_public_submodule_bears_the_name_of_something_public() -> None:
    # Importing flows.plan the module would replace flows.plan the function.
    submodules = {module.name for module in pkgutil.iter_modules(flows.__path__) if not module.name.startswith("_")}
    shadowed = {name for name in submodules & set(flows.__all__) if not isinstance(getattr(flows, name), ModuleType)}
    assert not shadowed
