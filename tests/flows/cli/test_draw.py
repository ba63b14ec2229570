"""flows draw."""

from pathlib import Path
from typing import Any

import pytest

import flows
from tests.flows.cli.conftest import Cli

SHOP = "tests.flows.cli.shop"


def test_without_a_file_the_picture_is_mermaid_on_standard_output(cli: Cli, shop: Any) -> None:
    result = cli("draw", f"{SHOP}:order", "--critical-path")
    assert result.stdout == flows.plan(shop.order).to_mermaid(critical_path=True)
    assert "==>" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize(("name", "begins"), [("a.svg", b"<svg "), ("a.png", b"\x89PNG"), ("a.dot", b"digraph")])
def test_a_file_is_of_the_kind_that_its_name_says(cli: Cli, name: str, begins: bytes) -> None:
    result = cli("draw", f"{SHOP}:order", "--arg", "order=7", "-o", name)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"wrote {name}\n")
    assert Path(name).read_bytes().startswith(begins)


def test_jobs_that_are_alike_are_unfolded_on_request(cli: Cli, tmp_path: Path) -> None:
    tmp_path.joinpath("draw_wide.py").write_text(
        "import flows\n"
        "@flows.task\ndef one(*before: int) -> int: return 1\n"
        "@flows.flow\ndef wide() -> flows.Job[int]: return one(*[one().out for _ in range(300)])\n"
    )
    assert cli("draw", "draw_wide.py").stdout.count("\n    n") == 2 + 1
    assert cli("draw", "draw_wide.py", "--unfold").stdout.count("\n    n") == 301 + 300


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ((f"{SHOP}:order", "-o", "a.bmp"), ".svg, .png"),
        ((f"{SHOP}:order", "-o", "nowhere/a.svg"), "nowhere/a.svg cannot be written: No such file"),
        ((f"{SHOP}:ordre",), "order"),
    ],
)
def test_what_cannot_be_drawn_is_said_and_writes_nothing(cli: Cli, args: tuple[str, ...], told: str) -> None:
    result = cli("draw", *args)
    assert result.exit_code == 2
    assert told in result.stderr
    assert not list(Path().iterdir())
