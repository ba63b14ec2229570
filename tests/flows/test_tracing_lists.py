"""Spans of lists, of what is done again, and of attempts whose process has died."""

import logging
from typing import Any

import pytest

import flows
from flows import each
from tests.executors.process_tasks import leave
from tests.recorded import Spans, attributes, id_of, links_of, record, spans

__all__ = ["record", "spans"]


@flows.task(queue="traced-lists")
def source(count: int = 2) -> list[int]:
    return list(range(count))


@flows.task(queue="traced-lists")
def give(value: Any) -> Any:
    return value


@flows.task(queue="traced-lists")
def fail() -> int:
    raise ValueError("no luck")


@flows.task(queue="traced-lists")
def rows(table: list[list[int]]) -> int:
    return len(table)


def took(*spans: Any) -> list[tuple[str, int]]:
    return [("dependency", id_of(span)) for span in spans]


def test_items_are_linked_to_the_source_of_their_list_and_what_takes_the_list_to_them(spans: Spans) -> None:
    assert flows.execute(rows(each(give, source().out).out)).value == 2
    (first,), (second,) = spans.of("give[0]"), spans.of("give[1]")
    assert links_of(first) == links_of(second) == took(*spans.of("source"))
    assert links_of(*spans.of("rows")) == took(first, second)


def test_what_takes_a_list_of_lists_is_linked_to_the_innermost_items(spans: Spans) -> None:
    flow = rows(each(lambda row: each(give, row), [[1, 2], [3]]).out)
    assert flows.execute(flow).value == 2
    items = [spans.of(job)[0] for job in ("give[0][0]", "give[0][1]", "give[1][0]")]
    assert sorted(links_of(*spans.of("rows"))) == sorted(took(*items))


def test_a_job_done_again_is_linked_to_its_last_attempt_and_to_what_it_took_anew(spans: Spans) -> None:
    run = flows.execute(rows(each(give, source().out).out))
    before = {job: id_of(spans.of(job)[0]) for job in ("source", "give[0]", "rows")}
    spans.exporter.clear()
    run.rerun("source").wait()
    assert links_of(*spans.of("source")) == [("previous_attempt", before["source"])]
    assert links_of(*spans.of("give[0]")) == [("previous_attempt", before["give[0]"]), *took(*spans.of("source"))]
    items = [spans.of(job)[0] for job in ("give[0]", "give[1]")]
    assert links_of(*spans.of("rows")) == [("previous_attempt", before["rows"]), *took(*items)]


@pytest.mark.slow
def test_an_attempt_whose_process_has_died_has_a_span_that_ends(spans: Spans) -> None:
    run = flows.execute(leave("hang up"), executor="memory://?private=1", check=False)
    assert run.state == "failed"
    lost = [span for span in spans.all if attributes(span).get("messaging.message.id") == "leave"]
    assert [attributes(span)["flows.outcome"] for span in lost] == ["lost"] * 3
    assert all(attributes(span)["error.type"] == "flows.errors.LeaseLostError" for span in lost)


def test_a_run_that_is_reopened_and_ends_at_once_has_told_all(spans: Spans, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "flows.jobs"):
        run = flows.execute(give.using(id="root")(fail().out), check=False)
        caplog.clear()
        spans.exporter.clear()
        run.rerun("root").wait()
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["root failed"]
    assert [span.name for span in spans.all] == ["flow give"]
