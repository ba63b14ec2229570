"""The error tree, pickling, collected problems, and the record kept of a failure."""

import copy
import inspect
import pickle
import socket
import subprocess
import sys
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import _traceback_text, errors
from flows.errors import (
    CycleError,
    DataError,
    DefinitionError,
    ExecutorError,
    Failed,
    FlowFailedError,
    FlowsError,
    GiveUp,
    JobTimeoutError,
    MissingDependencyError,
    RetryAfter,
    RunError,
    Skip,
    UnknownRunError,
)

CLASSES = sorted(
    (kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, FlowsError)),
    key=lambda kind: kind.__name__,
)
PARENTS = {
    "DefinitionError": (FlowsError, ValueError),
    "CycleError": (DefinitionError,),
    "DuplicateJobError": (DefinitionError,),
    "DuplicateTaskError": (DefinitionError,),
    "UnknownTaskError": (DefinitionError,),
    "DataError": (DefinitionError,),
    "RunError": (FlowsError,),
    "FlowFailedError": (RunError,),
    "JobFailedError": (RunError,),
    "DependencyFailedError": (RunError,),
    "JobTimeoutError": (RunError, TimeoutError),
    "WaitTimeoutError": (RunError, TimeoutError),
    "RunCancelledError": (RunError,),
    "NoValueError": (RunError,),
    "ResultExpiredError": (RunError,),
    "UnknownRunError": (RunError, KeyError),
    "IdempotencyConflictError": (RunError,),
    "ExecutorError": (FlowsError,),
    "UnknownExecutorError": (ExecutorError,),
    "MissingDependencyError": (ExecutorError, ImportError),
    "UnsupportedError": (ExecutorError,),
    "UnavailableError": (ExecutorError, ConnectionError),
    "LeaseLostError": (ExecutorError,),
    "FlowsError": (Exception,),
}


class HttpError(FlowsError):
    """A subclass outside the library, whose constructor takes something else than a message."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}", status=status)


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class WithoutTrace(Exception):
    @property
    def __cause__(self) -> BaseException:  # type: ignore[override]
        raise RuntimeError("no cause")


class ShoutingText(str):
    def __getitem__(self, key: object) -> str:
        raise RuntimeError("not sliced, please")


class OddText(Exception):
    def __str__(self) -> str:
        return ShoutingText("as it is")


def raised(error: BaseException) -> BaseException:
    secret_local = "a local variable"
    try:
        raise error
    except BaseException as caught:
        assert secret_local
        return caught


def test_the_tree_is_the_documented_one() -> None:
    assert {kind.__name__: kind.__bases__ for kind in CLASSES} == PARENTS
    for name in PARENTS:
        assert name in (errors.__doc__ or "")


@pytest.mark.parametrize("signal", [GiveUp, RetryAfter, Skip])
def test_signals_stand_outside_the_tree(signal: type[Exception]) -> None:
    assert not issubclass(signal, FlowsError)
    assert issubclass(signal, Exception)


@pytest.mark.parametrize("again", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_every_error_pickles_and_copies_with_message_fields_and_notes(again) -> None:
    for kind in CLASSES:
        check_copy(kind, again)


def check_copy(kind, again) -> None:
    error = kind("job 'a': no\nway", job="a", where=("x", 1, {"k": [None, 2.5]}), name="redis")
    error.add_note("seen at noon")
    back = again(error)
    assert type(back) is kind
    assert str(back) == error.message == back.message == "job 'a': no\nway"
    assert back.args == error.args
    assert (back.job, back.where, back.name) == ("a", ("x", 1, {"k": [None, 2.5]}), "redis")
    assert back.__notes__ == ["seen at noon"]


def test_live_objects_stay_behind_when_pickled_but_not_when_copied() -> None:
    with socket.socket() as connection:
        error = FlowFailedError("flow failed", run=connection, spare=[connection], job="a")
        back = pickle.loads(pickle.dumps(error))
        assert (back.run, back.spare, back.job) == (None, None, "a")
        assert copy.copy(error).run is connection
        assert copy.deepcopy(error).run is None


def test_data_is_told_from_live_objects_down_to_a_depth() -> None:
    nested: list[object] = []
    for _ in range(20):
        nested = [nested]
    assert pickle.loads(pickle.dumps(FlowFailedError("flow failed", deep=nested))).deep is None


def test_a_field_that_holds_the_error_itself_does_not_stop_pickling() -> None:
    error = FlowFailedError("flow failed")
    error.run = [error]
    assert pickle.loads(pickle.dumps(error)).run is None


def test_a_subclass_with_another_constructor_pickles() -> None:
    back = pickle.loads(pickle.dumps(HttpError(404)))
    assert (type(back), str(back), back.status) == (HttpError, "status 404", 404)


def test_an_unknown_run_is_a_key_error_that_reads_like_a_sentence() -> None:
    with pytest.raises(KeyError) as caught:
        raise UnknownRunError("no run 'r1' here; look with flows.get(key=...)")
    assert str(caught.value) == "no run 'r1' here; look with flows.get(key=...)"


def test_fields_have_defaults_so_that_they_can_be_read_from_any_error() -> None:
    assert FlowFailedError("x").run is None
    assert JobTimeoutError("x").job is None
    assert CycleError("x").cycle == ()
    assert MissingDependencyError("x", name="redis").name == "redis"


def test_one_problem_stays_itself() -> None:
    only = DataError("job 'a': bad")
    assert DefinitionError.of([only]) is only
    assert only.problems == ("job 'a': bad",)


def test_several_problems_are_listed_one_per_line() -> None:
    error = DefinitionError.of([DefinitionError("first"), DataError("second")])
    assert str(error) == "2 problems:\n- first\n- second"
    assert type(error) is DefinitionError
    assert error.problems == ("first", "second")
    assert pickle.loads(pickle.dumps(error)).problems == ("first", "second")


def test_problems_of_one_class_make_an_error_of_that_class() -> None:
    assert type(DefinitionError.of([DataError("first"), DataError("second")])) is DataError


def test_problems_of_problems_are_listed_flat() -> None:
    inner = DefinitionError.of([DefinitionError("a"), DefinitionError("b")])
    assert DefinitionError.of([inner, DefinitionError("c")]).problems == ("a", "b", "c")


def test_the_message_stops_after_twenty_problems_and_counts_the_rest() -> None:
    error = DefinitionError.of([DefinitionError(f"problem {n}") for n in range(23)])
    lines = str(error).splitlines()
    assert lines[0] == "23 problems:"
    assert lines[20:] == ["- problem 19", "… and 3 more"]
    assert len(error.problems) == 23


def test_no_problems_make_no_error() -> None:
    with pytest.raises(ValueError, match="empty"):
        DefinitionError.of([])


def test_retry_after_takes_durations_and_says_them() -> None:
    assert RetryAfter("1m30s").seconds == 90.0
    assert str(RetryAfter(30)) == "retry after 30 s"
    assert pickle.loads(pickle.dumps(RetryAfter("2s"))).seconds == 2.0


@pytest.mark.parametrize("delay", [-1, "soon", None, float("nan"), True])
def test_retry_after_refuses_what_is_no_duration(delay) -> None:
    with pytest.raises(DefinitionError, match="RetryAfter"):
        RetryAfter(delay)


@pytest.mark.parametrize("signal", [GiveUp("card declined"), Skip("card declined")])
def test_signals_carry_their_reason(signal) -> None:
    back = pickle.loads(pickle.dumps(signal))
    assert (back.reason, str(back)) == ("card declined", "card declined")
    assert type(signal)().reason == ""


def test_a_failure_is_text_only() -> None:
    failed = Failed.of(raised(ValueError("no funds")), "charge")
    assert (failed.type, failed.message, failed.job, failed.state) == (
        "ValueError",
        "no funds",
        "charge",
        "failed",
    )
    assert failed.traceback.startswith("Traceback (most recent call last):")
    assert failed.traceback.endswith("ValueError: no funds\n")
    assert "a local variable" not in failed.traceback.replace('secret_local = "a local variable"', "")
    assert pickle.loads(pickle.dumps(failed)) == failed


def test_a_failure_reads_type_job_message() -> None:
    assert str(Failed.of(ValueError("no funds"), "charge")) == "ValueError: charge: no funds"
    assert str(Failed.of(ValueError(), "charge")) == "ValueError: charge"
    assert repr(Failed.of(raised(ValueError("no funds")), "charge")) == (
        "Failed(type='ValueError', message='no funds', job='charge', state='failed')"
    )


def test_a_failure_whose_message_names_the_job_does_not_name_it_twice() -> None:
    failed = Failed.of(JobTimeoutError("charge: timeout of 30 s is over", job="charge"), "charge")
    assert str(failed) == "JobTimeoutError: charge: timeout of 30 s is over"
    failed = Failed.of(DataError("job 'charge': cents: Input should be a valid integer"), "charge")
    assert str(failed) == "DataError: job 'charge': cents: Input should be a valid integer"


def test_the_state_of_a_failure_can_be_given() -> None:
    assert Failed.of(Skip("not today"), "a", "skipped").state == "skipped"


def test_a_failure_is_frozen() -> None:
    failed = Failed.of(ValueError("x"), "a")
    with pytest.raises(AttributeError):
        failed.message = "y"  # type: ignore[misc]


def test_an_error_without_a_text_is_recorded_all_the_same() -> None:
    failed = Failed.of(raised(Unprintable()), "a")
    assert failed.message == "<unprintable Unprintable>"
    assert "in raised" in failed.traceback


def test_an_error_whose_traceback_cannot_be_written_is_recorded_all_the_same() -> None:
    failed = Failed.of(raised(WithoutTrace("but a text")), "a")
    assert (failed.message, failed.traceback) == ("but a text", "")


def test_an_odd_text_becomes_plain() -> None:
    message = Failed.of(OddText(), "a").message
    assert (message, type(message)) == ("as it is", str)


def test_a_huge_message_is_cut_and_does_not_push_out_the_frames() -> None:
    failed = Failed.of(raised(ValueError("x" * 10_000_000)), "a")
    assert failed.message == "x" * 2045 + "…"
    assert "in raised" in failed.traceback
    assert len(failed.traceback.encode()) <= 8192


def test_of_a_long_traceback_the_end_is_kept() -> None:
    def ping(n: int) -> None:  # two by turns: equal frames would be folded
        pong(n - 1)

    def pong(n: int) -> None:
        if n < 0:
            raise ValueError("at the bottom")
        ping(n - 1)

    with pytest.raises(ValueError, match="bottom") as caught:
        ping(300)
    failed = Failed.of(caught.value, "a")
    assert failed.traceback.startswith("…")
    assert failed.traceback.endswith("ValueError: at the bottom\n")
    assert 8000 < len(failed.traceback.encode()) <= 8192


def test_a_cause_is_part_of_the_traceback() -> None:
    with pytest.raises(ValueError, match="outer") as caught:
        raise ValueError("outer") from KeyError("inner")
    assert "KeyError: 'inner'" in Failed.of(caught.value, "a").traceback


def test_what_cannot_be_encoded_is_escaped() -> None:
    assert Failed.of(ValueError("a\ud800b"), "a").message == "a\\ud800b"


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=3000))
def test_whatever_the_message_the_record_is_small_and_can_be_encoded(text: str) -> None:
    failed = Failed.of(ValueError(text), "a")
    assert len(failed.message.encode()) <= 2048
    assert len(failed.traceback.encode()) <= 8192
    if len(text.encode("utf-8", "backslashreplace")) <= 2048:
        assert failed.message.encode() == text.encode("utf-8", "backslashreplace")


def test_these_modules_load_nothing_heavy() -> None:
    code = (
        "import sys, flows.errors, flows._names, flows._duration, flows._opts, flows._backoff, flows._retry;"
        "flows._opts.Opts(attempts=2, timeout='1s', backoff=flows._backoff.Backoff.fixed(1));"
        "heavy = {'tenacity', 'pydantic', 'networkx', 'asyncio', 'opentelemetry'} & set(sys.modules);"
        "sys.exit(f'loaded: {sorted(heavy)}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_traceback_reads_as_python_writes_it_and_the_same_place_again_too() -> None:
    def fail(how: int) -> None:
        if how == 1:
            raise ValueError("plain")
        if how == 2:
            try:
                fail(1)
            except ValueError as error:
                raise KeyError("caused") from error
        if how == 3:
            raise ExceptionGroup("two", [OSError("one"), ValueError("two")])
        noted = OSError("noted")
        noted.add_note("a note")
        raise noted

    for how in (1, 2, 3, 4) * 2:
        with pytest.raises(Exception) as caught:  # noqa: PT011
            fail(how)
        assert Failed.of(caught.value, "job").traceback == "".join(traceback.format_exception(caught.value))


def test_texts_of_many_places_are_not_kept_for_ever() -> None:
    for number in range(3 * _traceback_text.KEPT):
        with pytest.raises(ZeroDivisionError) as caught:
            exec(compile("1 / 0", f"place-{number}", "exec"))
        assert f"place-{number}" in Failed.of(caught.value, "job").traceback
    assert len(_traceback_text._kept) <= _traceback_text.KEPT
