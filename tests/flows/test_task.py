"""Tasks: which functions can be one, what a call of one places, what `using` changes."""

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import flows
from flows import Opts, Queue
from flows._task import call_arguments
from flows.errors import DefinitionError

untyped: Any = flows


@flows.task
def plain(a: int, b: int = 2, *, c: int = 3) -> int:
    return a + b + c


@flows.task(name="task-named", queue="maths", attempts=3)
async def named(a: int) -> int:
    return a


class Doubler:
    def __call__(self, number: int) -> int:
        return 2 * number

    def method(self, number: int) -> int:
        return 3 * number

    async def async_method(self) -> None: ...

    @classmethod
    def of_class(cls, number: int) -> int:
        return 4 * number

    @staticmethod
    def static(number: int) -> int:
        return 5 * number


class AsyncCallable:
    async def __call__(self) -> int:
        return 1


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


async def coroutine() -> None: ...


def test_a_task_has_the_function_s_name_and_the_default_queue() -> None:
    assert (plain.name, plain.queue, plain.fn(1), repr(plain)) == (
        "plain",
        "default",
        6,
        "<task 'plain' on queue 'default'>",
    )


def test_name_queue_and_options_are_given_to_the_decorator() -> None:
    assert (named.name, named.queue, named.opts, named.is_async) == ("task-named", "maths", Opts(attempts=3), True)


def test_a_queue_object_gives_the_queue() -> None:
    mail = Queue("mail", attempts=7)
    assert flows.task(lambda: None, name="task-mail", queue=mail).queue == "mail"


def test_calling_a_task_places_a_job_and_runs_nothing() -> None:
    calls: list[int] = []
    job = flows.task(calls.append, name="task-append")(1)
    assert isinstance(job, flows.Job)
    assert (job.name, job.args, calls) == ("task-append", (1,), [])


@pytest.mark.parametrize(
    ("fn", "is_async"),
    [
        (lambda number: number, False),
        (functools.partial(lambda a, b: (a, b), 1), False),
        (functools.partial(coroutine), True),
        (Doubler(), False),
        (Doubler().method, False),
        (Doubler.of_class, False),
        (Doubler.static, False),
        (Doubler().async_method, True),
        (AsyncCallable(), True),
        (functools.lru_cache(lambda number: number), False),
        (len, False),
        ("x".join, False),
    ],
    ids=range(12),
)
def test_anything_callable_can_be_a_task_if_it_is_given_a_name(fn: Callable[..., Any], is_async: bool) -> None:
    name = f"task-any-{getattr(fn, '__module__', 'builtins')}"
    task = flows.task(fn, name=name)
    assert (task.name, task.is_async, task.fn) == (name, is_async, fn)


def test_a_callable_object_runs() -> None:
    doubler = flows.task(Doubler(), name="task-doubler")
    assert flows.execute(doubler(flows.task(Doubler().method, name="task-tripler")(5).out)).value == 30


@pytest.mark.parametrize("name", [None, "task-wrong"])
@pytest.mark.parametrize(
    ("fn", "said"),
    [
        (int, "it is a class; wrap the call in a function"),
        (Doubler, "it is a class"),
        (generator, "it is a generator function; return a list instead"),
        (async_generator, "it is a generator function; return a list instead"),
        (functools.partial(generator), "it is a generator function"),
        (42, "it is not callable"),
        ("plain", "it is not callable"),
        (plain, "it is a task already; task.using(...)"),
    ],
    ids=lambda given: None,
)
def test_what_is_no_handler_is_refused(fn: Any, said: str, name: str | None) -> None:
    with pytest.raises(DefinitionError) as caught:
        flows.task(fn, name=name)
    assert said in str(caught.value)


def test_a_coroutine_object_is_refused_and_closed() -> None:
    made = coroutine()
    with pytest.raises(DefinitionError, match="it is a coroutine: leave out the call"):
        flows.task(made)  # type: ignore[call-overload]
    with pytest.raises(RuntimeError, match="reuse"):
        made.send(None)


@pytest.mark.parametrize("fn", [lambda: None, functools.partial(print), Doubler(), AsyncCallable()], ids=range(4))
def test_what_has_no_name_must_be_given_one(fn: Callable[..., Any]) -> None:
    with pytest.raises(DefinitionError, match="no name that workers could find it by; give it one"):
        flows.task(fn)


@pytest.mark.parametrize("fn", [max, dict.get, print], ids=range(3))
def test_a_builtin_is_taken_or_refused_by_whether_its_parameters_can_be_read(fn: Callable[..., Any]) -> None:
    try:
        task = flows.task(fn, name=f"task-builtin-{fn.__qualname__}")
    except DefinitionError as error:
        assert "wrap it in a function" in str(error)  # noqa: PT017 - which builtins have signatures differs by version
    else:
        assert task.signature.parameters


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": ""}, "task name '': is empty"),
        ({"name": "a\x00"}, "task name 'a\\x00': control character U+0000"),
        ({"name": "x" * 129}, "129 characters"),
        ({"name": 7}, "task name 7: is of type int"),
        ({"queue": ""}, "queue '': is empty"),
        ({"queue": None}, "queue None: is of type NoneType"),
        ({"queue": "a:b"}, "U+003A"),
        ({"retires": 3}, "did you mean attempts?"),
        ({"atempts": 3}, "did you mean attempts?"),
        ({"attempts": 0}, "option attempts 0: is out of range"),
        ({"timeout": "soon"}, "option timeout 'soon'"),
    ],
)
def test_wrong_names_queues_and_options_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        flows.task(lambda: None, **{"name": "task-option", **options})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "keywords", "said"),
    [
        ((), {}, "missing a required argument: 'a'"),
        ((1, 2, 3), {}, "too many positional arguments"),
        ((1,), {"d": 1}, "unexpected keyword argument 'd'"),
        ((1,), {"a": 1}, "multiple values for argument 'a'"),
    ],
)
def test_a_call_that_does_not_fit_names_the_task_and_its_parameters(
    arguments: tuple[Any, ...], keywords: dict[str, Any], said: str
) -> None:
    with pytest.raises(DefinitionError, match=r"^task 'plain': ") as caught:
        plain(*arguments, **keywords)
    assert said in str(caught.value)
    assert "plain(a: int, b: int = 2, *, c: int = 3) -> int" in str(caught.value)


@pytest.mark.parametrize("hint", [flows.Children, flows.Context, "Children", "flows.Context"], ids=range(4))
def test_a_parameter_for_the_library_to_fill_in_needs_its_default_in_typed_calls(hint: Any) -> None:
    def handler(value: int, filled: Any) -> None: ...

    handler.__annotations__["filled"] = hint
    with pytest.raises(DefinitionError, match=r"give 'filled' the default flows\.INJECTED"):
        untyped.task(handler, name="task-filled")(1)


def test_a_call_with_the_wrong_number_of_required_arguments_is_refused_on_the_short_way_too() -> None:
    pair = flows.task(lambda a, b: None, name="task-pair")
    assert pair(1, 2).args == (1, 2)
    for arguments in ((1,), (1, 2, 3)):
        with pytest.raises(DefinitionError, match="task 'task-pair'"):
            pair(*arguments)


def test_using_gives_the_same_task_with_other_options() -> None:
    other = named.using(queue="elsewhere", id="me", priority=4).using(priority=5, delay="1s")
    job = other(1)
    assert (other.name, other.fn, other.queue, named.queue) == ("task-named", named.fn, "elsewhere", "maths")
    assert (job.id, job.queue, job.opts) == ("me", "elsewhere", Opts(priority=5, delay=1))
    assert (named(1).id, named(1).queue, named(1).opts) == (None, None, None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"id": ""}, "job id '': is empty"),
        ({"id": 7}, "job id 7"),
        ({"queue": "a b"}, "space U+0020"),
        ({"attemps": 1}, "did you mean attempts?"),
        ({"on_failure": "ignored"}, "did you mean 'ignore'?"),
    ],
)
def test_using_refuses_what_is_wrong(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        plain.using(**changes)
    assert said in str(caught.value)


def test_arguments_by_name_put_the_variadic_ones_in_their_places() -> None:
    def all_kinds(a: int, /, b: int, *rest: int, c: int = 3, **others: int) -> None: ...

    task = flows.task(all_kinds, name="task-kinds")
    named = call_arguments(task, (1, 2, 8, 9), {"c": 4, "x": 5})
    assert named == {"a": 1, "b": 2, "rest": [8, 9], "c": 4, "x": 5}


def test_an_injected_parameter_cannot_be_passed() -> None:
    @flows.task
    def informed(order: int, children: flows.Children = flows.INJECTED) -> int:
        return order

    for call in (lambda: informed(1, flows.Children({}, {})), lambda: informed(1, children=flows.Children({}, {}))):
        with pytest.raises(flows.DefinitionError, match="'informed': parameter 'children' is filled in at run time"):
            call()
