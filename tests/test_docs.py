"""Every Python block of the README and the docs runs and prints what is shown: tests/markdown_blocks.py."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.markdown_blocks import Block, run, script
from tools import pages

ROOT = Path(__file__).resolve().parent.parent
PAGES = [page for page in sorted((ROOT / "docs").glob("*.md")) if script(page.read_text("utf-8"))]


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", *(pytest.param(page, marks=pytest.mark.slow) for page in PAGES)],
    ids=lambda page: page.name,
)
def test_page_runs_and_prints_what_it_shows(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if any("redis:" in block.text for block, _ in script(page.read_text("utf-8"))):
        monkeypatch.setenv("REDIS_URL", request.getfixturevalue("redis_flows"))
    # A process each: tasks are registered by name, and two pages may well define the same one.
    # -P: or the folder tests/, with its tests/flows, would come first on the path.
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", str(ROOT / "tests" / "markdown_blocks.py"), str(page)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_readme_shows_code_with_its_output() -> None:
    steps = script((ROOT / "README.md").read_text("utf-8"))
    assert any(output for _, output in steps)


def test_every_module_has_a_place_in_the_look_at_the_code() -> None:
    folders = {path.parent for top in ("flows", "executors") for path in (ROOT / top).rglob("*.py")}
    assert {str(folder.relative_to(ROOT)) for folder in folders} <= {*pages.FOLDERS}


def page(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "page.md"
    path.write_text(text.replace("'''", "```"), "utf-8")
    return path


def test_blocks_share_a_namespace_and_may_await(tmp_path: Path) -> None:
    text = "'''python\nimport asyncio\nx = 1\n'''\n\n'''python\nawait asyncio.sleep(0)\nassert x == 1\n'''\n"
    run(page(tmp_path, text))


def test_output_is_compared_with_dots_for_anything(tmp_path: Path) -> None:
    text = "'''python\nprint('took 17 {0}')\n'''\n\n<!-- output -->\n'''text\ntook ... ms\n'''\n"
    run(page(tmp_path, text.format("ms")))
    with pytest.raises(AssertionError, match=r"page\.md:7: the output is another one"):
        run(page(tmp_path, text.format("s")))


def test_a_failing_block_fails_with_the_line_of_the_page(tmp_path: Path) -> None:
    path = page(tmp_path, "# Title\n\n'''python\n\n1 / 0\n'''\n")
    with pytest.raises(ZeroDivisionError) as caught:
        run(path)
    last = caught.traceback[-1]
    assert (str(last.path), last.lineno + 1) == (str(path), 5)


def test_a_block_opts_out_only_with_a_reason(tmp_path: Path) -> None:
    run(page(tmp_path, "<!-- not run: needs a server -->\n'''python\n1 / 0\n'''\n"))
    with pytest.raises(ValueError, match="line 3: say why"):
        run(page(tmp_path, "<!-- not run: -->\n'''python\n1 / 0\n'''\n"))


def test_a_file_is_written_and_a_shell_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    file = "<!-- file: shown.txt -->\n~~~python\nwritten at 12:30:05\n~~~\n"
    asked = "<!-- shell -->\n~~~console\n$ cat shown.txt\nwritten at {0}\n$ (exit {1})\n~~~\n"
    run(page(tmp_path, file + asked.format("10:00:00", 0)))
    with pytest.raises(AssertionError, match=r"page\.md:7: the output is another one"):
        run(page(tmp_path, file + asked.format("noon", 0)))
    with pytest.raises(AssertionError, match=r"page\.md:9: \(exit 3\): exit code 3"):
        run(page(tmp_path, file + asked.format("10:00:00", 3)))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("'''python\nx = 1\n", "line 1: this block is never closed"),
        ("<!-- output -->\n'''text\nhello\n'''\n", "line 3: output of a block that is not run"),
        (
            "'''python\n'''\n\n<!-- output -->\n'''json\n1\n'''\n",
            "line 6: output of a block that is not run",
        ),
    ],
    ids=["unclosed", "output of nothing", "output in another language"],
)
def test_a_malformed_page_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        script(text.replace("'''", "```"))


def test_a_plain_text_block_is_not_compared() -> None:
    [(block, output)] = script("```python\nprint(1)\n```\n```text\nanything\n```\n")
    assert block == Block("python", 2, "print(1)\n", "")
    assert output is None
