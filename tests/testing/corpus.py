"""Flows of every shape, each of which must survive whatever strikes at any of its moments."""

import ast
import functools
from pathlib import Path
from typing import Any

import flows
from flows import Backoff, Job, Opts
from flows.testing._drawn_flows import POLICIES, DrawnEdge, DrawnJob, built
from tests.testing import shop

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def defined(example: str, name: str) -> Any:
    """A flow of an example, made of what it imports and defines; its tasks are the calling test's."""
    tree = ast.parse((EXAMPLES / f"{example}.py").read_text("utf-8"))
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    tree.body = [
        node for node in tree.body if isinstance(node, kinds) or (isinstance(node, ast.Assign) and not _runs(node))
    ]
    names: dict[str, Any] = {"__name__": f"corpus_{example}"}
    exec(compile(tree, f"{example}.py", "exec"), names)
    return flows.Flow.of(names[name])


def _runs(node: ast.Assign) -> bool:
    called = {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute)}
    named = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
    return bool(called & {"execute", "submit", "plan", "events"} or named & {"run", "runs", "events"})


@flows.task(name="corpus-broken", attempts=2, backoff=Backoff.fixed("10s"))
def broken(inputs: list[Any]) -> int:
    raise ConnectionError("never")


@flows.task(name="corpus-sum")
def total(inputs: list[Any], children: flows.Children = flows.INJECTED) -> int:
    return len(inputs) + len(children.failures)


@flows.task(name="corpus-shelves")
def shelves(count: int) -> list[list[int]]:
    return [[shelf] * 2 for shelf in range(count)]


@flows.task(name="corpus-twice")
async def twice(number: int) -> int:
    return 2 * number


@flows.flow
def nested() -> Job[Any]:
    return flows.each(lambda shelf: flows.each(lambda item: twice(item), shelf, limit=1), shelves(2).out, limit=2)


@flows.flow
def two_roots() -> tuple[Job[Any], Job[Any]]:
    first = twice(1)
    return twice.using(id="left")(first.out), twice.using(id="right")(first.out)


@flows.flow
def shared_key() -> Job[Any]:
    one = twice.using(id="one", idempotency_key="corpus-key")(4)
    two = twice.using(id="two", idempotency_key="corpus-key")(4)
    return total([one.out, two.out])


@flows.flow
def slow_ones() -> Job[Any]:
    return total([shop.nap.using(id=f"nap-{length}", timeout="90s")(length).out for length in (1.0, 20.0, 70.0)])


def failing(policy: str) -> Any:
    options: Any = {"on_failure": policy}
    good, bad = twice(1), broken.using(**options)([])
    return total.using(id="after")([good.out, bad.out])


def rows(shape: str) -> Any:
    plain = DrawnJob()
    edges = lambda *children: tuple(DrawnEdge(child) for child in children)  # noqa: E731
    return built(
        {
            "chain": [plain, *(DrawnJob(edges(number), is_async=number % 2 == 0) for number in range(4))],
            "star": [*[plain] * 5, DrawnJob(edges(*range(5)))],
            "layered": [plain, plain, *(DrawnJob(edges(0, 1)) for _ in range(3)), DrawnJob(edges(2, 3, 4))],
            "waits": [DrawnJob(options=(("delay", 5.0),)), DrawnJob(edges(0), (("priority", 2),)), plain],
            "when": [plain, DrawnJob(edges(0), condition=False), DrawnJob((DrawnEdge(1, "order"), DrawnEdge(0)))],
            "empty list": [plain, DrawnJob(edges(0), items=0), DrawnJob(edges(1))],
        }[shape]
    )


literal = Job(
    "corpus-sum",
    data={"inputs": []},
    children=[Job("corpus-twice", id=str(n), data={"number": n}, opts=Opts(attempts=2)) for n in range(3)],
)

CORPUS: dict[str, Any] = {
    "shop": shop.order_flow,
    "literal": literal,
    "nested lists": nested,
    "two roots": two_roots,
    "a shared key": shared_key,
    "slow ones": slow_ones,
    **{f"a failure that they {policy}": failing(policy) for policy in POLICIES},
    **{shape: rows(shape) for shape in ("chain", "star", "layered", "waits", "when", "empty list")},
    "examples/order_literal": functools.partial(defined, "order_literal", "order_flow"),
    "examples/diamond": functools.partial(defined, "diamond", "diamond"),
    "examples/failure_policies": functools.partial(defined, "failure_policies", "one_edge"),
}
