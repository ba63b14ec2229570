"""A browser: Chromium as the system has it, for the package index has none. Where it is missing, `.ci/run` fails."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")


class Watched:
    """A page, with what must not happen in it: complaints on the console, requests to the world."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.outside: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._asked)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.text} {message.location}")

    def _asked(self, request: Request) -> None:
        if urlsplit(request.url).hostname not in (None, "", "127.0.0.1", "localhost"):
            self.outside.append(request.url)

    def violations(self, inside: str) -> list[str]:
        """What axe-core finds wrong in the first element that the selector names."""
        self.page.evaluate(AXE)
        found: dict[str, Any] = self.page.evaluate(f"axe.run(document.querySelector({json.dumps(inside)}))")
        return [f"{one['id']}: {one['help']}: {one['nodes'][0]['html'][:200]}" for one in found["violations"]]


@pytest.fixture(scope="module")  # not longer: it occupies the event loop of this thread
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    from playwright.sync_api import sync_playwright  # loaded for all tests otherwise

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(params=["light", "dark"])
def watched(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Watched]:
    """A page of a browser that prefers light, or dark."""
    context: BrowserContext = browser.new_context(
        color_scheme=request.param, viewport={"width": 1000, "height": 700}, reduced_motion="reduce"
    )
    yield Watched(context.new_page())
    context.close()
