"""The networkx view of a plan; the only module that imports networkx, which loads more slowly than most flows run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import networkx

from flows._state import EFFECTS, KIND, ORDER_ONLY

if TYPE_CHECKING:
    from flows._plan import Plan

_POLICIES = {code: policy for policy, code in EFFECTS.items()}


def digraph(plan: Plan[Any]) -> networkx.DiGraph[str]:
    """The plan as a `networkx.DiGraph` of job ids, edges child -> parent.

    Nodes have the attributes task and queue, edges policy and order_only.
    """
    graph: networkx.DiGraph[str] = networkx.DiGraph(name=plan.name)
    for job, job_id in enumerate(plan.ids):
        graph.add_node(job_id, task=plan.names[job], queue=plan.queues_of[job])
    for child, dependent, effect in plan.edges():
        order_only = bool(effect & ORDER_ONLY)
        if order_only and graph.has_edge(plan.ids[child], plan.ids[dependent]):
            continue
        graph.add_edge(plan.ids[child], plan.ids[dependent], policy=_POLICIES[effect & KIND], order_only=order_only)
    return graph
