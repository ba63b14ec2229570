"""Everything the library raises, and the record that a failure leaves behind.

::

    FlowsError
    ├── DefinitionError (ValueError)      what was declared is wrong; nothing has been stored
    │   ├── CycleError
    │   ├── DuplicateJobError
    │   ├── DuplicateTaskError
    │   ├── UnknownTaskError
    │   └── DataError
    ├── RunError                          a run, or what was asked of it, came out badly
    │   ├── FlowFailedError
    │   ├── JobFailedError
    │   ├── DependencyFailedError
    │   ├── JobTimeoutError (TimeoutError)
    │   ├── WaitTimeoutError (TimeoutError)
    │   ├── RunCancelledError
    │   ├── NoValueError
    │   ├── ResultExpiredError
    │   ├── UnknownRunError (KeyError)
    │   └── IdempotencyConflictError
    └── ExecutorError                     the executor is unknown, unable or out of reach
        ├── UnknownExecutorError
        ├── MissingDependencyError (ImportError)
        ├── UnsupportedError
        ├── UnavailableError (ConnectionError)
        └── LeaseLostError

Outside the tree stand the signals by which a handler steers its own job: `GiveUp`, `RetryAfter`, `Skip`.
`Failed` is no exception; it is the plain record kept of one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flows._duration import Duration

PROBLEMS_LISTED = 20
MESSAGE_BYTES = 2 * 1024
TRACEBACK_BYTES = 8 * 1024

FailedState = Literal["failed", "skipped", "cancelled"]
_Error = TypeVar("_Error", bound="FlowsError")


class FlowsError(Exception):
    """The root of everything that the library raises by itself.

    Args:
        message: What happened, where, and what to do about it.
        **fields: Facts for programs, readable as attributes. Those that are plain data travel along when the
            error is pickled; live objects (a run, a connection) stay behind and then read as None.
    """

    _stored_by_ancestor: ClassVar[tuple[str, ...]] = ()

    def __init__(self, message: str, **fields: object) -> None:
        super().__init__(message)
        for name, value in fields.items():
            setattr(self, name, value)

    @property
    def message(self) -> str:
        """The text of the error, as `str` shows it."""
        return str(self.args[0]) if self.args else ""

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[type[Self], str, dict[str, object]]]:
        fields = {name: value if _is_data(value) else None for name, value in self._fields().items()}
        return _rebuild, (type(self), self.message, fields)

    def __copy__(self) -> Self:
        return _rebuild(type(self), self.message, self._fields())

    def _fields(self) -> dict[str, object]:
        return self.__dict__ | {name: getattr(self, name) for name in self._stored_by_ancestor}


def _rebuild(kind: type[_Error], message: str, fields: Mapping[str, object]) -> _Error:
    # Not kind(message): a subclass outside the library may take other arguments.
    error = kind.__new__(kind, message)
    FlowsError.__init__(error, message, **fields)
    return error


def _is_data(value: object, depth: int = 8) -> bool:
    if value is None or isinstance(value, (str, int, float, Failed)):
        return True
    if depth == 0:
        return False
    if isinstance(value, (tuple, list, frozenset, set)):
        return all(_is_data(item, depth - 1) for item in value)
    if isinstance(value, dict):
        return all(_is_data(key, depth - 1) and _is_data(item, depth - 1) for key, item in value.items())
    return False


class DefinitionError(FlowsError, ValueError):
    """What was declared cannot be: a name, an option, a flow, its data. Raised before anything is stored."""

    _collected: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """The message of each problem found; of a single one, its own."""
        return self._collected or (self.message,)

    @classmethod
    def of(cls, problems: Sequence[DefinitionError]) -> DefinitionError:
        """One error for all of *problems*: the only one itself, else one that lists them, a line each.

        It is of the class that they share, if they do, else a plain `DefinitionError`. The message lists the
        first 20 and counts the rest; `problems` holds them all.
        """
        if len(problems) == 1:
            return problems[0]
        texts = tuple(text for problem in problems for text in problem.problems)
        if not texts:
            raise ValueError("there is no error to raise: the list of problems is empty")
        lines = [f"{len(texts)} problems:", *(f"- {text}" for text in texts[:PROBLEMS_LISTED])]
        if len(texts) > PROBLEMS_LISTED:
            lines.append(f"… and {len(texts) - PROBLEMS_LISTED} more")
        kinds = {type(problem) for problem in problems}
        kind = kinds.pop() if len(kinds) == 1 else DefinitionError
        return _rebuild(kind, "\n".join(lines), {"_collected": texts})


class CycleError(DefinitionError):
    """Jobs depend on each other in a circle; the message names it."""

    cycle: tuple[str, ...] = ()


class DuplicateJobError(DefinitionError):
    """Two jobs of one flow were given the same id."""

    job: str | None = None


class DuplicateTaskError(DefinitionError):
    """Two source files register a task of one name on one queue."""


class UnknownTaskError(DefinitionError):
    """No handler of that name is registered where the job has to run."""

    job: str | None = None


class DataError(DefinitionError):
    """A job's data does not fit its handler, or cannot be stored; the message gives the path to the spot."""

    job: str | None = None


class RunError(FlowsError):
    """A run, or something asked of it, came out badly."""


class FlowFailedError(RunError):
    """The flow's root failed. `run` is the run, with every job's state, value and error."""

    run: Any = None


class JobFailedError(RunError):
    """A job failed for good; `job` is its id."""

    job: str | None = None


class DependencyFailedError(RunError):
    """A job could not start because one that it depends on failed; the message names the first cause."""

    job: str | None = None


class JobTimeoutError(RunError, TimeoutError):
    """An attempt ran longer than the job's `timeout`. It counts, and is retried, like any other failure."""

    job: str | None = None


class WaitTimeoutError(RunError, TimeoutError):
    """The time given for waiting is over; the run itself goes on."""

    run: Any = None


class RunCancelledError(RunError):
    """The run was cancelled, by someone or by its deadline; the message gives the reason."""

    run: Any = None


class NoValueError(RunError):
    """There is no value to read: the job or run has not ended yet, or ended without one."""


class ResultExpiredError(RunError):
    """The result is gone while its key is still held: the work has been done, and is not done again."""


class UnknownRunError(RunError, KeyError):
    """The executor knows no run of that id or key."""


class IdempotencyConflictError(RunError):
    """The key belongs to another flow, or to the same one with other data."""


class ExecutorError(FlowsError):
    """The executor is unknown, unable or out of reach."""


class UnknownExecutorError(ExecutorError):
    """No executor is registered for that URL scheme."""


class MissingDependencyError(ExecutorError, ImportError):
    """The executor needs a package that is not installed; the message says which, and how to get it."""

    # ImportError keeps these two in C slots, out of __dict__.
    _stored_by_ancestor = ("name", "path")


class UnsupportedError(ExecutorError):
    """The executor, or the server behind it, cannot do what was asked."""


class UnavailableError(ExecutorError, ConnectionError):
    """The executor's server cannot be reached."""


class LeaseLostError(ExecutorError):
    """The worker that held the job was lost, or the job was given to another in the meantime."""

    job: str | None = None


class GiveUp(Exception):
    """Raised by a handler: this job has failed for good, further attempts are of no use.

    Args:
        reason: Why; shown in the job's error.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class RetryAfter(Exception):
    """Raised by a handler: try again after *delay*, in place of the job's backoff. Counts as an attempt.

    Args:
        delay: Seconds, a `timedelta`, or text such as ``"30s"``.

    Attributes:
        seconds: The delay in seconds.

    Raises:
        DefinitionError: *delay* is no duration.
    """

    def __init__(self, delay: Duration) -> None:
        from flows._duration import seconds

        super().__init__(delay)
        self.seconds: float = seconds(delay, "RetryAfter")

    def __str__(self) -> str:
        return f"retry after {self.seconds:g} s"


class Skip(Exception):
    """Raised by a handler: there is nothing to do here, the job is `skipped`, and its dependents go by that.

    Args:
        reason: Why; shown with the job.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Failed:
    """What is kept of a job that did not complete: text only, never the exception nor what it held.

    Stands in the place of the job's value where a dependent runs all the same (`optional`, `"ignore"`).

    Attributes:
        type: The exception's class name.
        message: Its text, at most 2 KiB.
        traceback: The traceback's text, at most 8 KiB; if longer, its end. Left out of the `repr`.
        job: The job's id.
        state: ``"failed"``, ``"skipped"`` or ``"cancelled"``.
    """

    type: str
    message: str
    traceback: str = field(repr=False)
    job: str
    state: FailedState = "failed"

    def __str__(self) -> str:
        # Errors of this library name the job already.
        is_named = not self.job or self.message.startswith((f"{self.job}: ", f"job {self.job!r}: "))
        named = self.message if is_named else f"{self.job}: {self.message}"
        return f"{self.type}: {named}".removesuffix(": ")

    @classmethod
    def of(cls, exc: BaseException, job: str, state: FailedState = "failed") -> Failed:
        """The record of *exc*, whatever it is: of any size, and also when its `__str__` raises."""
        name: str = type.__dict__["__name__"].__get__(type(exc))  # past a metaclass that would raise
        text = _text_of(exc, name)
        message = _cut(text, MESSAGE_BYTES, keep_end=False)
        last_line = None if message == text else f"{name}: {message}"
        return cls(name, message, _trace_of(exc, last_line), job, state)


def _text_of(exc: BaseException, name: str) -> str:
    try:
        return "".join((str(exc),))  # a plain str, also where __str__ returns a subclass of it
    except Exception:
        return f"<unprintable {name}>"


def _trace_of(exc: BaseException, last_line: str | None) -> str:
    """The traceback's text. With *last_line* that stands for the message, which would push the frames out."""
    try:
        return _cut(_traceback_text()(exc, last_line), TRACEBACK_BYTES, keep_end=True)
    except Exception:
        return ""


@cache
def _traceback_text() -> Callable[[BaseException, str | None], str]:
    """What writes tracebacks, loaded with the first one; an import statement takes long also where there is one."""
    from flows._traceback_text import traceback_text

    return traceback_text


def _cut(text: str, limit: int, *, keep_end: bool) -> str:
    """*text* within *limit* bytes of UTF-8, an ellipsis where it was cut, lone surrogates escaped."""
    if len(text) <= limit and text.isascii():
        return text
    part = text[-limit:] if keep_end else text[:limit]
    raw = part.encode("utf-8", "backslashreplace")
    if len(part) == len(text) and len(raw) <= limit:
        return raw.decode()
    room = limit - len("…".encode())
    kept = (raw[-room:] if keep_end else raw[:room]).decode("utf-8", "ignore")
    return f"…{kept}" if keep_end else f"{kept}…"
