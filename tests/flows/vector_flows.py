"""Flows whose fingerprints are published. Run as a program it prints them, so that processes can be compared."""

import json
from collections.abc import Callable
from typing import Any

import flows
from flows import Job, Opts


@flows.task(name="vector-load", queue="vectors")
def load(order_id: str) -> Any:
    return {"total": 1, "items": [order_id]}


@flows.task(name="vector-charge", queue="vectors", attempts=3)
def charge(total: float, *, currency: str = "EUR") -> str:
    return f"{total} {currency}"


@flows.task(name="vector-ship", queue="vectors")
def ship(receipt: str, items: list[str], note: Any = None) -> str:
    return receipt


def _typed() -> Job[str]:
    order = load("123")
    return ship(charge(order.out.total, currency="USD").out, order.out["items"])


def _policies() -> Job[str]:
    order = load("123")
    paid = charge.using(id="pay")(order.out.total).on_failure("ignore")
    noted = load.using(id="note", on_failure="remove")("1")
    last = ship("none", ["x"], flows.optional(paid.out)).after(noted)
    return ship.using(id="root")(last.out, [order.out["items"][0]], {"both": [last.out, order.out]})


def _roots() -> tuple[Job[Any], Job[Any]]:
    order = load("1")
    return order, charge(order.out.total)


FLOWS: dict[str, Callable[[], Any]] = {
    "typed": _typed,
    "policies and optional edges": _policies,
    "two roots": lambda: flows.flow(_roots, name="two roots"),
    "one literal": lambda: Job("a"),
    "literal with children": lambda: Job(
        "ship",
        queue="vectors",
        data={"to": "Zürich", "lines": [{"sku": "tea", "n": 2}, {"sku": "✓", "n": 0.5}], "gift": None, "big": 2**63},
        children=[
            Job("reserve", data={"sku": "tea"}, opts=Opts(on_failure="fail")),
            Job("reserve", data={"sku": "pot"}, opts=Opts(on_failure="continue")),
            Job("mail", id="mail", opts=Opts(on_failure="skip", delay=1)),
        ],
    ),
}

if __name__ == "__main__":
    print(json.dumps({name: flows.plan(make()).fingerprint for name, make in FLOWS.items()}))
