"""What the tests of the command line run: it is imported by its file, as a user's module would be."""

import threading
from datetime import date
from typing import Any

from pydantic import BaseModel

import flows
from flows import Job

gate = threading.Event()
"""Opened by tests that have something held up."""
begun = threading.Event()
"""Set by the handler that waits for it."""


class Line(BaseModel):
    sku: str
    pieces: int = 1


@flows.task(name="cli-load", queue="cli-orders")
def load(order: str) -> list[str]:
    return [order, "tea", "pot"]


@flows.task(name="cli-pack", queue="cli-stock")
def pack(sku: str) -> str:
    return sku.upper()


@flows.task(name="cli-charge", queue="cli-payments", attempts=2)
def charge(cents: int) -> int:
    if cents < 0:
        raise ValueError(f"[bold]cannot[/bold] charge \x1b[31m{cents} größe")
    return cents


@flows.task(name="cli-wait", queue="cli-slow")
def wait() -> str:
    begun.set()
    gate.wait(60)
    flows.current().check()
    return "done"


@flows.task(name="cli-last")
def last(*parts: object) -> str:
    return f"{len(parts)} parts"


@flows.flow
def order(order: str = "123") -> Job[list[str]]:
    return flows.each(pack, load(order).out)


@flows.flow
def payment(cents: int = -5) -> Job[str]:
    return last(charge(cents).out)


@flows.flow
def held() -> Job[str]:
    return wait()


@flows.flow
def typed(when: date, lines: list[Line], count: int = 1, note: str | None = None, loose: Any = None) -> Job[str]:
    return last(when.isoformat(), [line.pieces for line in lines], count, note, loose)


class Holder:
    inner = payment


ready = last(1, 2)
number = 42
