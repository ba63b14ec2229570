"""Pictures can be read by everyone: colours, odd names, odd shapes, the critical path; and they stay the same."""

import importlib.util
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pygraphviz
import pytest

import flows
from flows._draw import _box, _gantt, _svg
from flows._draw._picture import Picture
from flows._draw._status import LOOKS, PLAIN

SVG = "{http://www.w3.org/2000/svg}"
ROOT = Path(__file__).parents[3]
ODD = {
    "markup": "<script>alert(1)</script>&amp;<![CDATA[",
    "quotes": "\"'`\\N\\\\",
    "braces": "}]){;%%|--> end subgraph",
    "right to left": "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "wide": "\u6ce8\u6587 \U0001f6d2" * 10,
    "combining": "e\u0301" * 60,
    "longest": "W" * 128,
    "math": "\U0001d4d0 \u2211 \u00e9",
}


@flows.task(queue="reading-db")
def fetch(order_id: str = "1") -> list[int]:
    return [1, 2]


@flows.task(queue="reading-stock")
def check(item: int) -> int:
    return item


@flows.task(queue="reading-stock")
def pack(item: int) -> int:
    return item


@flows.task(queue="reading-db")
def ship(packed: list[int]) -> int:
    return sum(packed)


@flows.flow
def parcel() -> flows.Job[int]:
    order = fetch()
    packed = flows.each(lambda item: pack(check(item).out), order.out)
    return ship(packed.out).after(order)


def picture_of(shown: flows.Flow[int] | flows.Run[int]) -> Picture:
    return shown._seen(critical_path=True, unfold=False)[0]


def marked(picture: Picture) -> list[tuple[str, str]]:
    return [(picture.boxes[one.tail].title, picture.boxes[one.head].title) for one in picture.arrows if one.critical]


def test_the_critical_path_of_a_plan_leads_through_what_a_list_will_stamp_out() -> None:
    path = ["fetch", "check[*]", "pack[*]", "pack", "ship"]
    picture = picture_of(parcel())
    assert sorted(marked(picture)) == sorted(pairwise(path))  # and not fetch -> ship, past the list
    assert {picture.boxes[place].title for place in picture.critical} == set(path)


def test_the_critical_path_of_a_run_leads_through_its_lists() -> None:
    run = flows.execute(parcel)
    picture = picture_of(run)
    ran = list(run.timeline().critical_path)
    assert "pack" not in ran  # a list has no attempt
    assert ran[-1] == "ship"
    assert [*ran[:-1], "pack", "ship"] == list(run.timeline().path)
    assert set(marked(picture)) == set(pairwise(run.timeline().path))


def test_a_list_that_turned_out_empty_promises_nothing_more() -> None:
    @flows.task
    def nothing() -> list[int]:
        return []

    @flows.flow
    def bare() -> flows.Job[int]:
        return ship(flows.each(pack, nothing().out).out)

    assert {box.title for box in picture_of(bare()).boxes} == {"nothing", "pack[*]", "pack", "ship"}
    picture = picture_of(flows.execute(bare))
    assert {box.title for box in picture.boxes} == {"nothing", "pack", "ship"}
    assert len(picture.arrows) == 2


def test_flow_functions_show_themselves_if_they_need_no_arguments() -> None:
    @flows.flow
    def needy(order_id: str) -> flows.Job[list[int]]:
        return fetch(order_id)

    assert parcel.to_svg() == parcel().to_svg()
    assert parcel._repr_mimebundle_() == {"image/svg+xml": parcel().to_svg(), "text/plain": "<flow function 'parcel'>"}
    assert needy._repr_mimebundle_() == {"text/plain": "<flow function 'needy'>"}
    with pytest.raises(flows.DefinitionError, match="order_id"):
        needy.to_svg()


def test_a_box_of_several_queues_says_so() -> None:
    width = 300
    jobs = [check.using(id=f"{place}", queue=f"reading-{place}")(place) for place in range(width)]
    flow = flows.Flow.of(ship([job.out for job in jobs]))
    assert any(
        "several queues" in (text.text or "") for text in ElementTree.fromstring(flow.to_svg()).iter(f"{SVG}text")
    )
    assert "several queues" in flow.to_mermaid()


@pytest.mark.parametrize("name", ODD)
def test_odd_names_are_inert_and_well_formed_in_every_form(name: str) -> None:
    flow = flows.Flow.of(ship([fetch.using(id=ODD[name])().out[0]]))
    run = flows.execute(flow)
    for svg in (flow.to_svg(), run.to_svg(), run.timeline().to_svg()):
        tags = {element.tag.removeprefix(SVG) for element in ElementTree.fromstring(svg).iter()}
        assert tags <= {"svg", "title", "desc", "g", "rect", "text", "path", "polygon", "line"}
    graph = pygraphviz.AGraph(string=run.to_dot())
    assert (len(graph.nodes()), len(graph.edges())) == (2, 1)
    lines = run.to_mermaid().splitlines()
    assert len(lines) == 7  # a node and a class each, an arrow, the heading and one class of colours
    label = lines[1].removeprefix('    n0["').removesuffix('"]')
    assert not set(label.replace("<br/>", "").replace("<small>", "").replace("</small>", "")) & set('"<>[]{}|`\\')


@pytest.mark.parametrize("shape", ["one job", "several roots", "a list of nothing"])
def test_odd_shapes_can_be_drawn(shape: str) -> None:
    shapes = {
        "one job": flows.Flow.of(fetch()),
        "several roots": flows.flow(lambda: (fetch(), check(1)), name="roots")(),
        "a list of nothing": flows.Flow.of(flows.each(pack, [])),
    }
    flow = shapes[shape]
    run = flows.execute(flow)
    boxes = {box.attrib["data-box"] for box in ElementTree.fromstring(run.to_svg()).iter(f"{SVG}g")}
    assert boxes == {"one job": {"fetch"}, "several roots": {"fetch", "check"}, "a list of nothing": {"pack"}}[shape]
    ElementTree.fromstring(flow.to_svg(critical_path=True))
    ElementTree.fromstring(run.timeline().to_svg())


def test_the_words_of_a_picture_stand_in_lines() -> None:
    described = ElementTree.fromstring(parcel().to_svg()).find(f"{SVG}desc")
    assert described is not None
    assert described.text == parcel().plan().explain()


@pytest.mark.slow
def test_pictures_are_the_same_in_each_process() -> None:
    code = """
from tests.flows.draw.test_reading import parcel, check, ship
import flows, hashlib
wide = flows.Flow.of(ship([check.using(id=f"{i}", queue=f"q{i % 7}")(i).out for i in range(300)]))
text = "".join(one.to_svg() + one.to_dot() + one.to_mermaid() for one in (parcel(), wide))
print(hashlib.sha256(text.encode()).hexdigest())
"""
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_the_same_stored_run_gives_the_same_timeline() -> None:
    run = flows.execute(parcel, key="reading:same")
    assert run.timeline().to_svg() == run.timeline().to_svg() == flows.get(key="reading:same").timeline().to_svg()


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, as the Web Content Accessibility Guidelines define it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("state", [*LOOKS, "plain"])
def test_letters_and_edges_of_each_state_can_be_told_from_what_is_behind_them(state: str) -> None:
    look = LOOKS.get(state, PLAIN)
    assert min(contrast(ink, look.fill) for ink in (_box.INK, _box.PALE, _gantt._INK)) >= 4.5
    for page in ("#ffffff", "#111111", look.fill, _gantt._PAPER):
        assert contrast(look.edge, page) >= 3


def test_arrows_and_timelines_can_be_read_on_light_and_dark_pages() -> None:
    for colour in (_svg._ARROW, _svg._CRITICAL):
        assert min(contrast(colour, page) for page in ("#ffffff", "#111111")) >= 3
    assert min(contrast(hue, PLAIN.fill) for hue in _svg._HUES) >= 3
    assert min(contrast(ink, _gantt._PAPER) for ink in (_gantt._INK, _gantt._PALE)) >= 4.5


def test_the_picture_in_the_readme_is_true() -> None:
    """To store it again: flows draw examples/order_flow.py:order_flow --critical-path -o docs/order_flow.svg."""
    spec = importlib.util.spec_from_file_location("readme_order_flow", ROOT / "examples" / "order_flow.py")
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    stored = (ROOT / "docs" / "order_flow.svg").read_text("utf-8")
    assert stored == example.order_flow.to_svg(critical_path=True)
