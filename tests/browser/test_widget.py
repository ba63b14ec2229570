"""The browser half of the widget, in a page of its own: a few lines are the notebook, this test is the kernel."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page

import flows
from flows._draw import _widget
from flows._draw._live import LivePicture
from flows._draw._widget import RunWidget
from tests.browser.conftest import Watched

pytestmark = pytest.mark.slow

HOST = """<!doctype html><html lang="en"><head><title>widget</title><style>
  body { background: Canvas; margin: 12px; } :root { color-scheme: light dark; } CSS
</style></head><body><main><h1 style="color: CanvasText">A page</h1><div id="here"></div></main>
<script type="module">
  const heard = {};
  window.sent = [];
  window.state = STATE;
  window.model = {
    get: (name) => state[name],
    set: (name, value) => { state[name] = value; },
    on: (event, act) => (heard[event] ??= []).push(act),
    off: (event, act) => { heard[event] = heard[event].filter((one) => one !== act); },
    send: (message) => sent.push(message),
  };
  window.tell = (event, ...args) => heard[event].forEach((act) => act(...args));
  window.put = (name, value) => { state[name] = value; tell(`change:${name}`); };
  window.listeners = () => Object.values(heard).flat().length;
  const source = new Blob([ESM], { type: "text/javascript" });
  const widget = (await import(URL.createObjectURL(source))).default;
  window.render = () => { window.clean = widget.render({ model, el: document.getElementById("here") }); };
  render();
</script></body></html>"""


@flows.task(queue="widget-db")
def load() -> dict[str, list[int]]:
    return {"secret-items": [0, 1]}


@flows.task(queue="widget-stock", attempts=2)
def reserve(item: int) -> int:
    if item == 1:
        raise ValueError("<img src=x onerror=alert(1)> is sold out")
    return item


@flows.task(queue="widget-orders")
def finish(reserved: list[int]) -> int:
    return len(reserved)


@flows.flow
def order() -> flows.Job[int]:
    return finish(flows.each(reserve, load().out["secret-items"]).out)


class Kernel:
    """The widget of a run, and a page that shows it; answers what the page asks."""

    def __init__(self, run: flows.Run[int], page: Page, *, at_once: bool = True) -> None:
        self.picture = LivePicture(run._record)
        self.widget = RunWidget(run._record, self.picture, at_once=at_once)
        self.page = page
        self.answers: list[dict[str, object]] = []
        self.widget.send = self.answers.append
        state = {"svg": self.widget.svg, "summary": self.widget.summary}
        values = {"STATE": state, "ESM": Path(_widget.HERE, "widget.js").read_text("utf-8")}
        html = HOST.replace("CSS", Path(_widget.HERE, "widget.css").read_text("utf-8"))
        for name, value in values.items():
            html = html.replace(name, json.dumps(value).replace("</", "<\\/"))
        page.set_content(html)
        page.wait_for_selector(".flows-picture svg" if at_once else ".flows-summary")

    def answer(self) -> None:
        for asked in self.page.evaluate("sent.splice(0)"):
            self.widget._asked(self.widget, asked, [])
        for answer in self.answers:
            self.page.evaluate("(answer) => tell('msg:custom', answer)", answer)
        self.answers.clear()

    def put(self) -> None:
        self.page.evaluate("([svg, words]) => { put('svg', svg); put('summary', words); }", [
            self.picture.svg(), self.picture.words,
        ])  # fmt: skip


def ended() -> flows.Run[int]:
    return flows.execute(order, check=False)


def test_a_box_tells_why_it_failed_and_what_it_was_given_only_when_asked(watched: Watched) -> None:
    page = watched.page
    kernel = Kernel(ended(), page)
    assert "secret" not in page.content()
    page.locator('[data-box="load"]').click()
    kernel.answer()
    assert "load completed in" in page.locator(".flows-details").inner_text()
    assert "secret" not in page.content()
    page.get_by_role("button", name="Show data and result").click()
    kernel.answer()
    assert "= {'secret-items': [0, 1]}" in page.locator(".flows-details").inner_text()
    page.locator('[data-box="reserve[1]"]').click()
    kernel.answer()
    told = page.locator(".flows-details").inner_text()
    assert "<img src=x onerror=alert(1)> is sold out" in told
    assert "attempt 2/2" in told
    assert "secret" not in page.content()
    assert page.locator(".flows-run img").count() == 0
    assert (watched.complaints, watched.outside) == ([], [])


def test_all_of_it_can_be_reached_by_keyboard(watched: Watched) -> None:
    page = watched.page
    kernel = Kernel(ended(), page)
    for _ in range(5):  # four buttons, then the picture
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "flows-picture"
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.box") == "finish"
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.dataset.box") == "reserve[1]"
    page.keyboard.press("Enter")
    kernel.answer()
    assert page.locator(".flows-details h2").inner_text() == "reserve[1]"
    kernel.put()
    assert page.evaluate("document.activeElement.dataset.box") == "reserve[1]"
    page.keyboard.press("Escape")
    assert page.locator(".flows-details").is_hidden()
    before = page.locator(".flows-picture svg").bounding_box()
    page.keyboard.press("+")
    after = page.locator(".flows-picture svg").bounding_box()
    assert before is not None
    assert after is not None
    assert after["width"] == pytest.approx(before["width"] * 1.4, abs=1)


def test_recolouring_keeps_elements_and_more_jobs_make_a_new_picture(watched: Watched) -> None:
    gate_open = flows.submit(order)
    kernel = Kernel(gate_open, watched.page)
    gate_open.wait()
    kernel.put()
    states = watched.page.locator("[data-box]").evaluate_all("boxes => boxes.map((box) => box.dataset.state)")
    assert sorted(states) == ["completed", "completed", "failed", "failed", "failed"]
    watched.page.evaluate("window.first = document.querySelector('[data-box]')")
    kernel.put()
    assert watched.page.evaluate("first === document.querySelector('[data-box]')")
    assert "failed" in watched.page.get_by_role("status").inner_text()
    watched.page.evaluate("clean()")
    assert watched.page.evaluate("listeners()") == 0
    assert watched.page.locator(".flows-run").count() == 0
    assert (watched.complaints, watched.outside) == ([], [])


def zoom_of(page: Page) -> float:
    size: float = page.evaluate(
        "(() => { const svg = document.querySelector('.flows-picture svg');"
        " return svg.getAttribute('width') / svg.viewBox.baseVal.width; })()"
    )
    return size


def scrolled(page: Page) -> list[float]:
    place: list[float] = page.evaluate(
        "[document.querySelector('.flows-picture').scrollLeft, document.querySelector('.flows-picture').scrollTop]"
    )
    return place


def zoomed(page: Page, wanted: str) -> None:
    svg = "document.querySelector('.flows-picture svg')"
    page.wait_for_function(f"{svg}.getAttribute('width') / {svg}.viewBox.baseVal.width {wanted}")


def test_the_wheel_scrolls_and_with_ctrl_enlarges_what_the_mouse_is_on(watched: Watched) -> None:
    page = watched.page
    Kernel(ended(), page)
    for _ in range(3):  # until it is wider than its frame: else it cannot be moved
        page.get_by_role("button", name="Larger").click()
    box = page.locator('[data-box="reserve"]')
    box.hover()
    mouse = box.bounding_box()
    page.mouse.wheel(0, -100)  # without a key the page has it
    assert zoom_of(page) == 2.8
    page.keyboard.down("Control")
    for zoom in (4, 4):
        page.mouse.wheel(0, -100)
        zoomed(page, f"> {zoom - 0.01}")
    now = box.bounding_box()
    assert mouse is not None
    assert now is not None
    assert now["x"] < mouse["x"] + mouse["width"] / 2 < now["x"] + now["width"]
    page.mouse.wheel(0, 100)
    page.keyboard.up("Control")
    zoomed(page, "< 3")
    page.get_by_role("button", name="Original size").click()
    assert zoom_of(page) == 1
    page.get_by_role("button", name="Fit the width").click()
    frame, picture = page.locator(".flows-picture").bounding_box(), page.locator(".flows-picture svg").bounding_box()
    assert frame is not None
    assert picture is not None
    assert frame["width"] - 8 < picture["width"] <= frame["width"]
    assert (watched.complaints, watched.outside) == ([], [])


def test_the_mouse_drags_the_picture_and_lets_the_choice_be(watched: Watched) -> None:
    page = watched.page
    kernel = Kernel(ended(), page)
    for _ in range(4):
        page.get_by_role("button", name="Larger").click()
    page.evaluate("document.querySelector('.flows-picture').scrollTo(0, 0)")
    page.locator('[data-box="load"]').click()
    kernel.answer()
    frame = page.locator(".flows-picture").bounding_box()
    assert frame is not None
    at = scrolled(page)
    x, y = frame["x"] + 500, frame["y"] + 4
    assert page.evaluate(f"document.elementFromPoint({x}, {y}).closest('[data-box]')") is None
    page.mouse.move(x, y)
    page.mouse.down()
    assert page.evaluate("getComputedStyle(document.querySelector('.flows-picture')).cursor") == "grabbing"
    page.mouse.move(x - 120, y, steps=4)
    page.mouse.up()
    assert scrolled(page)[0] == pytest.approx(at[0] + 120, abs=2)
    assert page.locator(".flows-details h2").inner_text() == "load"
    page.mouse.move(x - 300, y, steps=4)  # let go: nothing is dragged any more
    assert scrolled(page)[0] == pytest.approx(at[0] + 120, abs=2)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.up()  # a click beside all boxes
    assert page.locator(".flows-details").is_hidden()
    assert (watched.complaints, watched.outside) == ([], [])


def test_a_view_that_takes_the_place_of_another_goes_on_from_there(watched: Watched) -> None:
    page = watched.page
    kernel = Kernel(ended(), page)
    page.get_by_role("button", name="Larger").click()
    page.locator('[data-box="load"]').click()
    page.evaluate("clean(); render()")
    kernel.answer()
    assert "load completed in" in page.locator(".flows-details").inner_text()
    assert zoom_of(page) == 1.4
    assert (watched.complaints, watched.outside) == ([], [])


def test_before_there_is_a_picture_there_are_words(watched: Watched) -> None:
    page = watched.page
    kernel = Kernel(ended(), page, at_once=False)
    assert "failed" in page.get_by_role("status").inner_text()
    for name in ("Larger", "Fit the width"):
        page.get_by_role("button", name=name).click()
    page.locator(".flows-picture").dispatch_event("click")
    kernel.put()
    page.locator('[data-box="load"]').click()
    kernel.answer()
    assert "load completed in" in page.locator(".flows-details").inner_text()
    assert (watched.complaints, watched.outside) == ([], [])


def test_axe_finds_nothing_wrong(watched: Watched) -> None:
    kernel = Kernel(ended(), watched.page)
    watched.page.locator('[data-box="reserve[1]"]').click()
    kernel.answer()
    watched.page.get_by_role("button", name="Show data and result").click()
    kernel.answer()
    assert watched.violations(".flows-run") == []
