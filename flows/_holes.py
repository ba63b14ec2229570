"""Holes: values that a failure policy may take away must go to places that can do without them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows import _registry
from flows._binding import Arguments, Pick, compile_value
from flows._task import call_arguments
from flows.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flows._planner import Planner

REMOVING = ("ignore", "remove", "continue")
"""Policies by which a dependent runs without the job's result."""


def holes(planner: Planner) -> list[DefinitionError]:
    """What is wrong in a plan whose edges are laid; arguments that may fall away are bound by name from now on."""
    plan = planner.plan
    removing = {job for job, one in enumerate(plan.settings) if one.on_failure in REMOVING}
    exposed = {dependent for child in removing for dependent in plan.dependents[child]}
    return [problem for position in sorted(exposed) for problem in _holes_of(planner, position, removing)]


def _holes_of(planner: Planner, position: int, removing: set[int]) -> Iterator[DefinitionError]:
    plan, job = planner.plan, planner.order[position]
    task = job.task or _registry.find(job.name, plan.queues_of[position])
    if task is None or job in planner.broken:
        return  # a handler that is not known here; a missing parameter will fail the job with its name
    releasing = planner.released_early(position)
    named = call_arguments(task, job.args, job.kwargs) if job.task else job.kwargs
    compiled = {name: compile_value(value, planner.index, planner.spot(position)) for name, value in named.items()}
    parameters = task.signature.parameters
    for name, value in compiled.items():
        if type(value) is Pick and not value.optional and (releasing or value.child in removing):
            parameter = parameters.get(name)
            if parameter is not None and parameter.default is parameter.empty:
                yield _hole(planner, position, f"parameter {name!r}", value.child)
    for value in plan.conditions.get(position, ()):
        if type(value) is Pick and (releasing or value.child in removing):
            yield _hole(planner, position, "its condition", value.child)
    plan.bindings[position] = Arguments((), compiled, by_name=True)


def _hole(planner: Planner, position: int, place: str, child: int) -> DefinitionError:
    policy = planner.plan.settings[child].on_failure
    why = (
        f"has on_failure={policy!r}, so there may be no value"
        if policy in REMOVING
        else "may still be running when a dependency with on_failure='continue' releases the job"
    )
    return DefinitionError(
        f"{planner.spot(position)}: {place} takes the result of {planner.plan.ids[child]!r}, which {why}; "
        "pass flows.optional(job.out), give the parameter a default, take flows.Children, or use .after()"
    )
