"""Mistakes with data: what is shared, what is taken for granted of results, of order and of failures."""

from typing import Any

import flows
from flows import Children, Failed, Job, each, when
from flows.testing import EffectLedger, Trace, fails_only_by_faults, results_unaffected
from tests.testing.planted.catalogue import Property, pause, planted

opened = 0
"""Module-global state: how many accounts there are."""


@planted("results_unaffected: the result of job 'collect'")
def mutable_default(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    def kept(sku: str, seen: list[str] = []) -> int:  # noqa: B006 - the planted bug
        seen.append(sku)
        return len(seen)

    def fresh(sku: str) -> int:
        return len([sku])

    return flows.task(fresh if right else kept, name="collect", attempts=2)("tea"), results_unaffected


@planted("results_unaffected: the result of job 'number'")
def state_of_the_module(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    @flows.task(name="number", attempts=2)
    def number(order: int) -> int:
        global opened
        opened += 1
        return order if right else opened

    return number(7), results_unaffected


@planted("results_unaffected: the result of job 'price'", faults=1)
def result_depends_on_the_attempt(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    @flows.task(name="price", attempts=3)
    def price() -> float:
        return 10.0 if right or flows.current().attempt == 1 else 12.0

    return price(), results_unaffected


@planted("raised KeyError", faults=1)
def reads_a_sibling_without_an_edge(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    stock: dict[str, int] = {}

    @flows.task(name="count")
    def count() -> int:
        stock["tea"] = 3
        return 3

    @flows.task(name="offer")
    def offer() -> int:
        return stock["tea"]

    both = flows.task(lambda *parts: len(parts), name="both")
    counted = count()
    return both(counted.out, offer().after(counted) if right else offer()), fails_only_by_faults


@planted("results_unaffected: the result of job 'total'", faults=1)
def siblings_in_order(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    came: list[str] = []

    @flows.task(name="part")
    def part(name: str) -> str:
        came.append(name)
        return name

    @flows.task(name="total")
    def total(parts: list[str]) -> list[str]:
        return parts if right else came[-2:]

    return total([part("one").out, part("two").out]), results_unaffected


@planted("raised ValueError")
def a_tuple_comes_back_as_a_list(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    place = flows.task(lambda: (52, 13), name="place")

    @flows.task(name="ship")
    def ship(to: Any) -> str:
        if (tuple(to) if right else to) != (52, 13):
            raise ValueError("no such place")
        return "shipped"

    return ship(place().out), fails_only_by_faults


@planted("raised BadResultError")
def a_set_has_no_order(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    @flows.task(name="tags")
    def tags() -> Any:
        found = {"tea", "pot"}
        return sorted(found) if right else found

    return tags(), fails_only_by_faults


@planted("raised BadResultError")
def numbers_as_names(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    """JSON has no keys but text: a table of prices by amount."""

    @flows.task(name="prices")
    def prices() -> Any:
        return {"1.5": 9} if right else {1.5: 9}

    return prices(), fails_only_by_faults


@planted("raised StopIteration")
def the_same_object_is_looked_for(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    load = flows.task(lambda: {"lines": [{"sku": "tea"}, {"sku": "pot"}]}, name="load")

    @flows.task(name="choose")
    def choose(order: dict[str, Any], line: dict[str, str]) -> int:
        found = (at for at, one in enumerate(order["lines"]) if (one == line if right else one is line))
        return next(found)

    order = load()
    return choose(order.out, order.out["lines"][1]), fails_only_by_faults


@planted("raised KeyError")
def tells_another_by_changing_its_argument(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    load = flows.task(lambda: {"id": 7}, name="load")

    @flows.task(name="charge")
    def charge(order: dict[str, Any]) -> dict[str, Any]:
        order["paid"] = True
        return order

    ship = flows.task(lambda order: order["paid"], name="ship")
    order = load()
    paid = charge(order.out)
    return (ship(paid.out) if right else ship(order.out).after(paid)), fails_only_by_faults


@planted("raised KeyError", faults=1)
def counts_on_siblings_that_are_still_open(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    ask = flows.task(lambda shop: len(shop), name="ask", on_failure="continue")

    @flows.task(name="best")
    def best(children: Children = flows.INJECTED) -> int:
        if right:
            return min(map(len, map(str, children.values.values())), default=0)
        return min(len(str(children[job])) for job in ("north", "south") if job not in children.failures)

    north, south = (ask.using(id=name)(name) for name in ("north", "south"))
    return Job("best", children=[north, south]), fails_only_by_faults


@planted("raised AttributeError", faults=1)
def forgets_that_it_is_optional(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    mail = flows.task(lambda: "sent", name="mail")

    @flows.task(name="close")
    def close(mailed: Any) -> str:
        if right and isinstance(mailed, Failed):
            return "not sent"
        return str(mailed.upper())

    return close(flows.optional(mail().out)), fails_only_by_faults


@planted("raised KeyError", faults=1)
def forgets_that_a_failure_is_ignored(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    flows.task(lambda: "sent", name="mail")

    @flows.task(name="close")
    def close(children: Children = flows.INJECTED) -> str:
        return str(children.values.get("mail", "not sent") if right else children["mail"])

    return Job("close", children=[Job("mail").on_failure("ignore")]), fails_only_by_faults


@planted("results_unaffected: the result of job 'is-open'")
def condition_that_changes(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    asked = 0

    @flows.task(name="is-open", attempts=2)
    def is_open() -> bool:
        nonlocal asked
        asked += 1
        return right or asked == 1

    discount = flows.task(lambda: 2, name="discount")

    @flows.task(name="bill")
    def bill(less: Any) -> int:
        return 10 - (0 if isinstance(less, Failed) else less)

    return bill(flows.optional(when(is_open().out, discount()).out)), results_unaffected


@planted("the balance is", kinds=("worker",))
def two_write_back_what_they_read(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    balance = 0

    @flows.task(name="book")
    async def book(amount: int) -> None:
        nonlocal balance
        read = balance
        await pause(0.1)
        balance = (balance if right else read) + amount

    def holds(trace: Trace[Any]) -> None:
        if not trace.replay.get("faults"):
            assert balance == 7, f"the balance is {balance}"

    both = flows.task(lambda *done: len(done), name="both")
    return both(book(3).out, book(4).out), holds


@planted("2 of 3 items are left")
def items_as_names(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    skus = ["tea", "pot", "tea"]
    reserve = flows.task(lambda sku: sku.upper(), name="reserve")

    @flows.task(name="pack")
    def pack(stock: list[str]) -> int:
        return len(stock) if right else len(dict(zip(skus, stock, strict=True)))

    def holds(trace: Trace[Any]) -> None:
        packed = trace.results.get("pack", 3)
        assert packed == 3, f"{packed} of 3 items are left"

    return pack(each(reserve, skus).out), holds
