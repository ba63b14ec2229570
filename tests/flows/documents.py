"""What the tests of documents ask again and again."""

from typing import Any

import pytest

from flows import DefinitionError, Flow, Job


def bullmq(**options: Any) -> dict[str, Any]:
    return {"name": "work", "queueName": "q", "opts": options}


def root(document: Any) -> Job[Any]:
    return Flow.parse(document).roots[0]


def given(document: Any) -> dict[str, object]:
    opts = root(document).opts
    return {} if opts is None else opts.given


def problems(document: Any) -> tuple[str, ...]:
    with pytest.raises(DefinitionError) as caught:
        Flow.parse(document)
    return caught.value.problems


def problem(document: Any) -> str:
    (text,) = problems(document)
    return text
