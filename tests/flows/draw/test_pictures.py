"""Pictures of flows, plans and runs: what they show, that they are inert and well-formed, that they stay the same."""

import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pygraphviz
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flows
from flows._draw._live import LivePicture
from flows._draw._picture import BOXES, picture_of

SVG = "{http://www.w3.org/2000/svg}"


@flows.task(queue="draw-db")
def load(order_id: str = "1") -> dict[str, list[int]]:
    return {"items": [0, 1, 2]}


@flows.task(queue="draw-stock")
def reserve(item: int) -> int:
    if item == 1:
        raise ValueError(f"no {item} left")
    return item


@flows.task(queue="draw-mail")
def tell(order: dict[str, list[int]]) -> None: ...


@flows.task(queue="draw-orders")
def finish(reserved: Sequence[object]) -> int:
    return len(reserved)


@flows.flow
def order_flow() -> flows.Job[int]:
    order = load()
    items = flows.each(reserve.using(on_failure="ignore"), order.out["items"])
    return finish(items.out).after(tell(order.out))


@flows.flow
def wide_flow(width: int = 499) -> flows.Job[int]:
    return finish([reserve.using(on_failure="ignore")(item).out for item in range(width)])


def boxes(svg: str) -> dict[str, str | None]:
    """The boxes of a picture by title, with their states."""
    return {box.attrib["data-box"]: box.get("data-state") for box in ElementTree.fromstring(svg).iter(f"{SVG}g")}


def texts(svg: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_a_flow_shows_its_jobs_their_queues_and_what_a_list_will_stamp_out() -> None:
    svg = order_flow().to_svg()
    assert boxes(svg) == dict.fromkeys(["load", "reserve", "tell", "finish", "reserve[*]"])
    assert {"draw-db", "draw-stock", "draw-mail", "draw-orders", "list"} <= set(texts(svg))
    root = ElementTree.fromstring(svg)
    assert int(root.attrib["width"]) > 100
    assert int(root.attrib["height"]) > 40
    assert root.attrib["role"] == "img"
    described = {one.attrib.get("id") for one in root}
    assert set(root.attrib["aria-labelledby"].split()) <= described


def test_edges_that_hand_over_no_needed_result_are_dashed() -> None:
    soft = {
        (picture.boxes[arrow.tail].title, picture.boxes[arrow.head].title)
        for picture in [picture_of(order_flow().plan())]
        for arrow in picture.arrows
        if arrow.soft
    }
    assert soft == {("tell", "finish"), ("reserve[*]", "reserve")}
    assert order_flow().to_svg().count('stroke-dasharray="5 4"') == len(soft)
    assert order_flow().to_mermaid().count("-.->") == len(soft)


def test_a_run_shows_states_that_need_no_colour_to_be_read() -> None:
    svg = flows.execute(order_flow).to_svg()
    states = dict.fromkeys(["load", "reserve", "tell", "finish", "reserve[0]", "reserve[2]"], "completed")
    assert boxes(svg) == states | {"reserve[1]": "failed"}
    assert texts(svg).count("✓") == 6
    assert texts(svg).count("✗") == 1


def test_the_same_flow_gives_the_same_text() -> None:
    assert order_flow().to_svg() == order_flow().to_svg() == order_flow().plan().to_svg()
    assert wide_flow().to_dot() == wide_flow().to_dot()


def test_many_jobs_that_are_alike_share_a_box_until_unfolded() -> None:
    run = flows.execute(wide_flow)
    assert boxes(run.to_svg()) == {"reserve": "failed", "finish": "completed"}
    (label,) = [text for text in texts(run.to_svg()) if text.startswith("reserve")]
    assert label == "reserve \N{MULTIPLICATION SIGN} 499"
    assert any("1 failed, 498 done" in title.text for title in ElementTree.fromstring(run.to_svg()).iter(f"{SVG}title"))  # type: ignore[operator]
    assert len(boxes(run.to_svg(unfold=True))) == 500


@pytest.mark.parametrize("width", [1, BOXES - 1, BOXES])
def test_jobs_share_a_box_only_where_there_are_too_many(width: int) -> None:
    assert len(picture_of(wide_flow(width).plan()).boxes) == (width + 1 if width < BOXES else 2)


def test_long_chains_of_different_jobs_are_folded_too() -> None:
    @flows.flow
    def chain() -> flows.Job[int]:
        job: flows.Job[int] = reserve(0)
        for _ in range(2_000):
            job = reserve(job.out)
        return job

    assert 2 <= len(picture_of(chain().plan()).boxes) <= BOXES


@settings(max_examples=min(40, settings().max_examples))
@given(st.text(st.characters(blacklist_categories=("C", "Z")), min_size=1, max_size=100))
def test_whatever_text_an_id_has_the_picture_is_well_formed_and_inert(text: str) -> None:
    job = load.using(id=f"<script>{text}</script>&\"'")()
    svg = flows.Flow.of(job).to_svg()
    assert not list(ElementTree.fromstring(svg).iter(f"{SVG}script"))
    assert "script" not in flows.Flow.of(job).to_mermaid().replace("#60;script", "").replace("/script", "")


def test_graphviz_reads_what_to_dot_writes() -> None:
    graph = pygraphviz.AGraph(string=order_flow().to_dot())
    assert (len(graph.nodes()), len(graph.edges())) == (5, 5)


@pytest.mark.parametrize(
    ("name", "begins"),
    [("a.svg", b"<svg "), ("a.png", b"\x89PNG"), ("a.PDF", b"%PDF"), ("a.mmd", b"flowchart"), ("a.dot", b"digraph")],
)
def test_draw_writes_the_kind_that_the_name_ends_in(name: str, begins: bytes, tmp_path: Path) -> None:
    order_flow().draw(tmp_path / name, critical_path=True)
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_draw_refuses_other_kinds_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(flows.DefinitionError, match=r"\.svg, \.png"):
        order_flow().draw(tmp_path / "a.bmp")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if pygraphviz were not installed."""
    monkeypatch.setitem(sys.modules, "pygraphviz", None)


@pytest.mark.usefixtures("bare")
def test_without_the_extra_there_is_mermaid_and_a_hint() -> None:
    bundle = order_flow()._repr_mimebundle_()
    assert bundle["text/vnd.mermaid"] == order_flow().to_mermaid()
    assert "pip install 'flowproducer[viz]'" in bundle["text/plain"]
    with pytest.raises(flows.MissingDependencyError, match="to_mermaid"):
        order_flow().to_svg()


def test_jupyter_is_given_a_picture_and_words() -> None:
    bundle = order_flow()._repr_mimebundle_()
    assert set(bundle) == {"image/svg+xml", "text/plain"}


def test_the_critical_path_is_marked_on_request() -> None:
    plan = order_flow().plan()
    marked = plan.to_svg(critical_path=True)
    assert marked.count('stroke="#d9480f"') > 0
    assert plan.to_svg().count("#d9480f") == 0


def test_a_live_picture_follows_the_run_and_what_lists_add() -> None:
    run = flows.submit(order_flow)
    live = LivePicture(run._record)
    run.wait()
    assert boxes(live.svg()) == boxes(run.to_svg())
    assert "completed" in live.words


def test_a_timeline_draws_each_attempt() -> None:
    run = flows.execute(order_flow)
    svg = run.timeline().to_svg()
    bars = [title.text for title in ElementTree.fromstring(svg).iter(f"{SVG}title")][1:]
    assert sorted(bar.partition(",")[0] for bar in bars if bar) == sorted(
        ["load", "tell", "finish", "reserve[0]", "reserve[1]", "reserve[2]"]
    )
    assert "and 3 more attempts" in "".join(texts(run.timeline().to_svg(limit=3)))


def test_outside_of_notebooks_there_is_nothing_to_recolour() -> None:
    with pytest.raises(flows.UnsupportedError, match="flows runs watch"):
        flows.watch(flows.execute(order_flow))
