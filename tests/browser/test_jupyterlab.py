"""A notebook of the course in a real JupyterLab: it runs, its pictures show, its widget answers; light and dark."""

import json
import os
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell
from playwright.sync_api import Locator, Page

from notebooks.store import HERE, read
from tests.browser.conftest import Watched

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = HERE.parent
NOTEBOOK = "2_run_and_watch"
SETTINGS = {
    "apputils-extension/themes": {"theme": "JupyterLab THEME"},
    # Else only cells that are in view have outputs, and a dialog asks for the kernel.
    "notebook-extension/tracker": {"windowingMode": "none", "autoStartDefaultKernel": True},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
}


class Lab:
    """A server of JupyterLab with a folder and settings of its own."""

    def __init__(self, folder: Path, theme: str) -> None:
        self.root = folder / "notebooks"
        self.root.mkdir()
        for name, values in SETTINGS.items():
            path = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values).replace("THEME", theme))
        self.token = secrets.token_hex(16)
        variables = {"HOME": folder, "JUPYTER_CONFIG_DIR": folder / "config", "JUPYTER_RUNTIME_DIR": folder / "runtime"}
        variables |= {"JUPYTERLAB_SETTINGS_DIR": folder / "settings", "JUPYTERLAB_WORKSPACES_DIR": folder / "spaces"}
        env = {name: value for name, value in os.environ.items() if not name.startswith(("FLOWS_", "JUPYTER"))}
        options = ("--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", "--ServerApp.port=0")
        quiet = ("--LabApp.news_url=None", "--LabApp.extension_manager=readonly")
        identity = (f"--IdentityProvider.token={self.token}", f"--ServerApp.root_dir={self.root}")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options, *quiet, *identity],
            env=env | {name: str(value) for name, value in variables.items()} | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.url = self._started()
        self.reader = threading.Thread(target=lambda: [None for _ in self.process.stderr or ()], daemon=True)
        self.reader.start()

    def _started(self) -> str:
        said = []
        for line in self.process.stderr or ():
            said.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                return found[0]
        raise AssertionError("JupyterLab did not start:\n" + "".join(said))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        self.reader.join(30)
        if self.process.stderr is not None:
            self.process.stderr.close()


@pytest.fixture
def lab(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    lab = Lab(tmp_path, request.node.callspec.params["watched"].capitalize())
    yield lab
    lab.stop()


GOING_ON = """\
import time
from pathlib import Path
import flows

@flows.task
def hold() -> str:
    flows.current().progress("waits for a file")
    while not Path("go").exists():
        time.sleep(0.05)
    return "held"

going_on = flows.submit(flows.Flow.of(hold()))
flows.watch(going_on, interactive=True)
print("all cells", "have run")"""


def with_a_widget() -> Any:
    """The course's notebook without outputs; at its end the widget, of a run that goes on until a file is there."""
    notebook = read(NOTEBOOK)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.cells.append(new_code_cell("flows.watch(first, interactive=True)", id="cell-first"))
    notebook.cells.append(new_code_cell(GOING_ON, id="cell-last"))
    return notebook


def run_all(page: Page, lab: Lab) -> None:
    page.goto(f"{lab.url}/lab/tree/{NOTEBOOK}.ipynb?token={lab.token}&reset")
    page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', timeout=90_000)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.locator(".jp-OutputArea-output pre", has_text="all cells have run").wait_for(timeout=90_000)


def test_a_notebook_runs_and_its_widget_answers(watched: Watched, lab: Lab, tmp_path: Path) -> None:
    nbformat.write(with_a_widget(), lab.root / f"{NOTEBOOK}.ipynb")
    page = watched.page
    page.set_default_timeout(60_000)
    run_all(page, lab)
    held = page.locator(".flows-run").last
    widget = page.locator(".flows-run").first
    widget.wait_for()
    widget.scroll_into_view_if_needed()
    widget.locator('[data-box="reserve[1]"]').click()
    widget.locator(".flows-details", has_text="reserve[1] completed in").wait_for()
    widget.get_by_role("button", name="Show data and result").click()
    widget.locator(".flows-details", has_text="reserve[1](sku='kettle')").wait_for()
    page.screenshot(path=tmp_path / "widget.png")
    assert page.locator('.jp-OutputArea-output img[src^="data:image/svg"]').count() >= 3
    assert watched.violations(".flows-run") == []
    page.locator(".jp-OutputArea-output img").first.scroll_into_view_if_needed()
    page.screenshot(path=tmp_path / "pictures.png")
    goes_on_under_the_eyes(page, held, lab)
    page.screenshot(path=tmp_path / "going-on.png")
    assert (watched.complaints, watched.outside) == ([], [])


def goes_on_under_the_eyes(page: Page, held: Locator, lab: Lab) -> None:
    """The kernel is idle, the run goes on: the widget answers meanwhile, recolours by itself, and stays in the file."""
    held.scroll_into_view_if_needed()
    box = held.locator('[data-box="hold"]')
    held.locator('[data-box="hold"][data-state="active"]').wait_for()
    box.click()
    held.locator(".flows-details", has_text="waits for a file").wait_for()
    held.get_by_role("button", name="Larger").click()
    (lab.root / "go").touch()
    held.locator('[data-box="hold"][data-state="completed"]').wait_for()
    held.get_by_role("status").get_by_text("completed").wait_for()
    held.locator(".flows-details", has_text="hold completed in").wait_for()
    page.keyboard.press("Control+s")
    stored = lab.root / f"{NOTEBOOK}.ipynb"
    for _ in range(600):
        outputs = json.dumps(json.loads(stored.read_text("utf-8"))["cells"][-1]["outputs"])
        if 'data-state=\\"completed\\"' in outputs:
            break
        page.wait_for_timeout(100)
    else:
        pytest.fail(f"the last picture is not in the file: {outputs[:2000]}")
