"""MODULE:FLOW to a flow, and --arg to its arguments; what is said about what is none."""

from pathlib import Path

import pytest

from flows._cli._arguments import pairs
from flows._cli._target import module_of, plan_of
from flows._cli._wrong import WrongCommandError
from tests.flows.cli.conftest import Cli

SHOP = "tests.flows.cli.shop"
FLOW = "import flows\n@flows.task(name='{0}-step')\ndef step(): return 1\n@flows.flow\ndef only(): return step()\n"


@pytest.mark.parametrize(
    ("target", "jobs"),
    [
        (f"{SHOP}:order", 2),
        (f"{SHOP}:Holder.inner", 2),
        (f"{SHOP}:ready", 1),
        (f"{SHOP}:load", None),
    ],
)
def test_a_flow_is_found_by_module_and_name(target: str, jobs: int | None) -> None:
    given = {"order": "7"} if jobs is None else {}
    assert len(plan_of(target, given)) == (jobs or 1)


def test_a_file_is_imported_as_the_module_that_it_is(cli: Cli, tmp_path: Path) -> None:
    package = tmp_path / "acme_shop" / "tasks"
    package.mkdir(parents=True)
    (tmp_path / "acme_shop" / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "names.py").write_text("NAME = 'cli-of-package'\n")
    (package / "day.py").write_text("from .names import NAME\n" + FLOW.format("cli-package"))
    assert module_of(str(package / "day.py")).__name__ == "acme_shop.tasks.day"
    assert plan_of("acme_shop.tasks.day:only", {}).order == ("cli-package-step",)
    assert plan_of("acme_shop/tasks/day.py", {}).order == ("cli-package-step",)  # its only flow


def test_a_file_elsewhere_is_found_too(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("elsewhere") / "cli_far_away.py"
    path.write_text(FLOW.format("cli-far"))
    assert plan_of(f"{path}:only", {}).name == "only"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("cli_shop_:order", "there is no module cli_shop_ in .*; did you mean cli_shop?"),
        ("cli_shop.deep:order", "there is no module cli_shop.deep"),
        ("nowhere.at.all:order", "there is no module nowhere.at.all: no nowhere was found"),
        ("cli_shp.py:order", "there is no file 'cli_shp.py'; did you mean cli_shop.py?"),
        ("cli_shop:onyl", "cli_shop has no onyl; did you mean only?; its flows: cli_shop:only"),
        ("cli_shop:step.nothing", "cli_shop has no step.nothing"),
        (f"{SHOP}:number", "is 42, and not a flow"),
        (SHOP, "which flow?.*has several flows.*:order"),
        ("cli_empty", "which flow? cli_empty has no @flows.flow function"),
        (":order", "which module?"),
    ],
)
def test_what_cannot_be_found_is_said_with_what_is_near(cli: Cli, tmp_path: Path, target: str, message: str) -> None:
    (tmp_path / "cli_shop.py").write_text(FLOW.format("cli-near"))
    (tmp_path / "cli_empty.py").write_text("")
    with pytest.raises(WrongCommandError, match=message.replace("?", r"\?")):
        plan_of(target, {})


def test_an_error_inside_the_module_is_told_from_a_missing_one(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "cli_broken.py").write_text("import json\n\ndef deep():\n    return {}['key']\n\ndeep()\n")
    (tmp_path / "cli_needs.py").write_text("import cli_not_installed\n")
    with pytest.raises(WrongCommandError, match="importing cli_broken failed: KeyError: 'key'") as caught:
        plan_of("cli_broken:flow", {})
    detail = caught.value.detail or ""
    assert detail.splitlines()[1].strip() == f'File "{tmp_path / "cli_broken.py"}", line 6, in <module>'
    with pytest.raises(WrongCommandError, match="importing cli_needs failed: ModuleNotFoundError"):
        plan_of("cli_needs:flow", {})


def test_a_script_that_ends_the_program_is_no_module(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "cli_script.py").write_text("import sys\nsys.exit(5)\n")
    with pytest.raises(WrongCommandError, match=r"exit code 5.*__main__"):
        plan_of("cli_script:flow", {})


def test_a_file_whose_name_is_taken_is_refused(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text(FLOW.format("cli-json"))
    with pytest.raises(WrongCommandError, match=r"json\.py cannot be imported as 'json'"):
        plan_of("json.py:only", {})


def test_arguments_are_read_as_the_function_says(cli: Cli) -> None:
    given = {"when": "2026-11-22", "lines": '[{"sku": "tea", "pieces": 3}]', "count": "2", "note": "5", "loose": "[1]"}
    plan = plan_of(f"{SHOP}:typed", given)
    assert plan.bindings[0].args == ("2026-11-22", [3], 2, "5", [1])  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "when is missing: --arg when=...\n- lines is missing"),
        ({"when": "soon", "lines": "[]"}, "--arg when=soon: "),
        ({"when": "2026-11-22", "lines": '[{"sku": 1}]'}, r"lines=.*0.sku: "),
        ({"when": "2026-11-22", "lines": "[]", "cuont": "1"}, r"--arg cuont: did you mean count\?"),
    ],
)
def test_arguments_that_do_not_fit_are_named(given: dict[str, str], message: str) -> None:
    with pytest.raises(WrongCommandError, match=message):
        plan_of(f"{SHOP}:typed", given)


def test_a_flow_as_it_stands_takes_no_arguments() -> None:
    with pytest.raises(WrongCommandError, match="takes no --arg"):
        plan_of(f"{SHOP}:ready", {"x": "1"})


def test_pairs_are_name_and_value() -> None:
    assert pairs(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    for wrong in (["a"], ["=1"], ["a=1", "a=2"]):
        with pytest.raises(WrongCommandError):
            pairs(wrong)
