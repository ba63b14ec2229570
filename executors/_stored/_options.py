"""Options of jobs as they are stored: what is data is written down, what is code is always the worker's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from flows._backoff import Backoff
from flows._bodies import bodies_of
from flows._opts import Opts, Queue, Settings, resolve
from flows.errors import DefinitionError

if TYPE_CHECKING:
    from flows._job import Job
    from flows._plan import Plan
    from flows._task import Task

_PLAIN: Final = ("timeout", "delay", "priority", "lifo", "on_failure", "idempotency_key", "run_in")
_CODE: Final = "code"
"""Stands for a backoff that is code."""
_FIXED: Final = ("delay", "priority", "lifo", "on_failure")
"""What has had its effect before a worker sees the job, so that its task can say nothing of it any more."""

_DEFAULTS: Final = Settings()


def settings_to(settings: Settings) -> dict[str, Any]:
    """Those of the resolved options that are data and not their defaults."""
    data = {name: value for name in _PLAIN if (value := getattr(settings, name)) != getattr(_DEFAULTS, name)}
    if settings.attempts != 1:
        data["attempts"] = settings.attempts
    if settings.backoff is not None:
        data["backoff"] = _backoff_to(settings.backoff)
    if settings.retry_parts:
        data["retry"] = sorted(settings.retry_parts)
    return data


def given_to(opts: Opts | None) -> dict[str, Any]:
    """Options as they were given, for a job whose task the producer does not know; code is left out."""
    if opts is None:
        return {}
    data = {name: value for name, value in opts.given.items() if name in _PLAIN or name == "attempts"}
    backoff = opts.given.get("backoff")
    if backoff is not None and _backoff_to(backoff) != _CODE:
        data["backoff"] = _backoff_to(backoff)
    return data


def settings_from(data: Mapping[str, Any], task: Task[Any, Any] | None, queue: str) -> Settings:
    """The options that count for a job: what was stored, and what its task here adds.

    Args:
        data: What `settings_to` wrote; for a job whose task the producer did not know with `given_to` of its queue
            and of itself under ``"given"``.
        task: The handler's, where it is known.
        queue: The job's.
    """
    own = task.home.opts if task is not None and isinstance(task.home, Queue) and task.home.name == queue else None
    task_opts = None if task is None else task.opts
    given = data.get("given")
    if given is not None:
        levels = [_given_from(one) for one in given]
        merged = resolve(own or levels[0], task_opts, levels[1])
        fixed = {name: data.get(name, getattr(_DEFAULTS, name)) for name in _FIXED}
        return _replaced(merged, fixed)
    code = resolve(own, task_opts, None)
    changes = {name: data[name] for name in _PLAIN if name in data}
    changes["attempts"] = data.get("attempts", 1)
    backoff = data.get("backoff")
    changes["backoff"] = code.backoff if backoff == _CODE else None if backoff is None else Backoff.from_dict(backoff)
    parts = frozenset(data.get("retry", ())) or code.retry_parts & {"retry"}
    if code.retry is not None and parts:
        changes |= {"retry": code.retry, "retry_parts": parts}
    return Settings(retry_on=code.retry_on, give_up_on=code.give_up_on, **changes)


def refuse_code(plan: Plan[Any]) -> None:
    """Refuse options of jobs that are code: a worker elsewhere could not have them.

    Raises:
        DefinitionError: Some jobs have such options; all in one error.
    """
    problems = []
    for part in (plan, *(body.plan for body in bodies_of(plan))):
        if any(_is_code(settings) for settings in part.distinct):
            problems += [
                DefinitionError(
                    f"job {part.ids[position]!r}: the option {name} is code, which cannot be stored with a job; give "
                    "it to the task, where workers find it"
                )
                for job, position in part._positions.items()
                if position < len(part)
                for name in _code_of(job)
            ]
    if problems:
        raise DefinitionError.of(problems)


def _is_code(settings: Settings) -> bool:
    return (
        settings.retry is not None
        or settings.retry_on != _DEFAULTS.retry_on
        or settings.give_up_on != ()
        or (settings.backoff is not None and _backoff_to(settings.backoff) == _CODE)
    )


def _code_of(job: Job[Any]) -> Iterator[str]:
    given = {} if job.opts is None else job.opts.given
    for name, value in given.items():
        if name in ("retry", "retry_on", "give_up_on"):
            yield name
        elif name == "backoff" and _backoff_to(value) == _CODE:
            yield "backoff=Backoff.custom(...)" if isinstance(value, Backoff) else "backoff (of tenacity)"


def _backoff_to(backoff: object) -> Any:
    return backoff.to_dict() if isinstance(backoff, Backoff) and backoff.kind != "custom" else _CODE


def _given_from(data: Mapping[str, Any]) -> Opts:
    given = dict(data)
    if "backoff" in given:
        given["backoff"] = Backoff.from_dict(given["backoff"])
    return Opts._of(given)


def _replaced(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    fields = {name: getattr(settings, name) for name in Settings.__slots__}
    return Settings(**(fields | dict(changes)))
