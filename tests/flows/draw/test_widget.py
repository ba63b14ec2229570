"""The kernel's half of the widget; the browser's is tested in tests/browser."""

import importlib
import sys

import pytest

import flows
from flows._draw._live import LivePicture
from flows._draw._widget import RunWidget


@flows.task(queue="widget-given")
def give() -> list[str]:
    return ["secret"]


@flows.task(queue="widget-taken")
def take(item: str) -> str:
    raise ValueError("not today")


@flows.flow
def handing_over() -> flows.Job[list[str]]:
    return flows.each(take, give().out)


@pytest.fixture
def widget(monkeypatch: pytest.MonkeyPatch) -> RunWidget:
    run = flows.execute(handing_over, check=False)
    widget = RunWidget(run._record, LivePicture(run._record))
    monkeypatch.setattr(widget, "send", lambda answer: answers.append(answer["text"]))
    answers.clear()
    return widget


answers: list[str] = []


def ask(widget: RunWidget, what: str) -> list[str]:
    """The answers on the boxes for give, the list, and its item."""
    mark = widget.svg.partition('<title id="')[2].partition('"')[0]
    for place in range(3):
        widget._asked(widget, {"what": what, "box": place, "svg": mark}, [])
    return answers


def test_details_say_why_without_data_or_results(widget: RunWidget) -> None:
    given, listed, taken = ask(widget, "details")
    assert given.startswith("give completed in")
    assert "failed because take[0] failed" in listed
    assert "Traceback" in taken
    assert "raise ValueError" in taken
    assert "secret" not in "".join(answers) + widget.svg


def test_data_and_results_are_told_when_asked_for(widget: RunWidget) -> None:
    assert ask(widget, "payload") == ["give()\n= ['secret']", "take()", "take[0](item='secret')"]


@pytest.mark.parametrize("asked", [None, {}, {"what": "details"}, {"what": "drop", "box": 0, "svg": "x"}])
def test_what_is_no_question_is_not_answered(widget: RunWidget, asked: object) -> None:
    widget._asked(widget, asked, [])
    assert ask(widget, "nonsense") == []


def test_questions_about_a_picture_that_is_gone_are_not_answered(widget: RunWidget) -> None:
    widget._asked(widget, {"what": "details", "box": 0, "svg": "flow-0-title"}, [])
    assert answers == []


def test_front_ends_without_widgets_are_given_the_picture(widget: RunWidget) -> None:
    bundle = widget.bundle()
    assert set(bundle) == {"application/vnd.jupyter.widget-view+json", "image/svg+xml", "text/plain"}


def test_a_widget_may_begin_with_words() -> None:
    record = flows.execute(handing_over, check=False)._record
    picture = LivePicture(record)
    widget = RunWidget(record, picture, at_once=False)
    assert widget.bundle().keys() == {"application/vnd.jupyter.widget-view+json", "text/plain"}
    widget.show({"text/plain": "going on"})
    assert (widget.svg, widget.summary) == ("", "going on")
    widget.show({"text/plain": "over", "image/svg+xml": picture.svg()})
    assert "image/svg+xml" in widget.bundle()


def test_without_anywidget_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anywidget", None)
    monkeypatch.delitem(sys.modules, "flows._draw._widget")
    with pytest.raises(flows.MissingDependencyError, match=r"flowproducer\[notebook\]"):
        importlib.import_module("flows._draw._widget")
