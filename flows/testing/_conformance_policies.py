"""Conformance: the failure policies, per job and per edge, alone and against each other, under several parents."""

from __future__ import annotations

import random
from typing import Any, Final

import pytest

import flows
from flows._opts import Policy
from flows.testing._conformance_kit import PAUSE, Oops, Suite, Where, failing, needs, states
from flows.testing._conformance_results import give

QUEUE = "conformance-policies"

POLICIES: Final[tuple[Policy, ...]] = ("fail", "ignore", "continue", "remove", "skip")

TIMELESS: Final[tuple[Policy, ...]] = ("fail", "ignore", "remove", "skip")
"""Policies whose outcome does not hang on what ends first."""

Seen = tuple[dict[str, Any], dict[str, flows.Failed]]


@flows.task(name="conformance-see", queue=QUEUE)
def see(children: flows.Children = flows.INJECTED) -> Seen:
    """What its children came to."""
    return dict(children.values), dict(children.failures)


def seer(*children: flows.Job[Any], id: str = "seer") -> flows.Job[Any]:
    """A job that gives what it sees of *children*."""
    return flows.Job("conformance-see", queue=QUEUE, children=children, id=id)


def late(value: Any = "late", id: str = "late", delay: float = PAUSE) -> flows.Job[Any]:
    """A job that ends after those that are ready at once: its delay has to pass first."""
    return give.using(id=id, delay=delay)(value)


def broken(id: str = "broken", **options: Any) -> flows.Job[Any]:
    """A job that fails."""
    return failing(**options).using(id=id)()


def skipped(id: str = "skipped", **options: Any) -> flows.Job[Any]:
    """A job that skips itself."""

    def skip() -> None:
        raise flows.Skip("nothing to do")

    return flows.task(skip, name="skipper", queue=QUEUE).using(id=id, **options)()


class Policies(Suite):
    """`fail`, `ignore`, `continue`, `remove`, `skip`, `optional`, order-only edges."""

    def test_fail_fails_the_dependent_before_it_starts(self, executor: Where) -> None:
        run = flows.execute(seer(broken()), executor=executor, check=False)
        error = run.jobs["seer"].error
        assert error is not None
        assert (error.type, error.job, error.state) == ("DependencyFailedError", "seer", "failed")
        assert "'broken'" in error.message
        assert "Oops" in error.message
        assert "broken is broken" in error.message
        assert (states(run), list(run.jobs["seer"].attempts)) == ({"broken": "failed", "seer": "failed"}, [])

    @needs("delays")
    def test_ignore_lets_the_dependent_run_and_see_the_failure(self, executor: Where) -> None:
        values, failures = self._seen(executor, seer(broken(on_failure="ignore"), give.using(id="well")(None), late()))
        assert values == {"well": None, "late": "late"}
        assert list(failures) == ["broken"]
        failed = failures["broken"]
        assert (failed.type, failed.message, failed.job, failed.state) == (
            "Oops",
            "broken is broken",
            "broken",
            "failed",
        )
        assert "Oops: broken is broken" in failed.traceback

    @needs("delays")
    def test_remove_lets_the_dependent_run_as_if_the_job_had_never_been_there(self, executor: Where) -> None:
        seen = self._seen(executor, seer(broken(on_failure="remove"), give.using(id="well")(1), late()))
        assert seen == ({"well": 1, "late": "late"}, {})

    @needs("delays")
    def test_skip_skips_the_dependent_and_those_above(self, executor: Where) -> None:
        run = flows.execute(give(seer(broken(on_failure="skip"), late()).out), executor=executor)
        assert states(run) == {
            "broken": "failed", "late": "completed", "seer": "skipped", "conformance-give": "skipped",
        }  # fmt: skip
        assert run.state == "completed"
        with pytest.raises(flows.NoValueError, match="broken"):
            _ = run.value

    @needs("delays")
    def test_continue_runs_the_dependent_at_once_and_once(self, executor: Where) -> None:
        root = seer(give.using(id="well")(1), late(delay=self.pause), broken(on_failure="continue"))
        values, failures = self._seen(executor, root, {"late": "completed"})
        assert set(values) <= {"well"}
        assert list(failures) == ["broken"]

    @needs("delays")
    def test_continue_of_two_jobs_runs_the_dependent_once(self, executor: Where) -> None:
        calls: list[int] = []
        once = flows.task(lambda: calls.append(1), name="conformance-once", queue=QUEUE)
        children = [broken("one", on_failure="continue"), broken("two", on_failure="continue"), late()]
        flows.execute(flows.Job(once.name, queue=QUEUE, children=children), executor=executor)
        assert calls == [1]

    @needs("delays")
    def test_fail_does_not_wait_for_the_rest(self, executor: Where) -> None:
        rest = late(delay=max(0.5, self.pause))  # not to be settled together with the failure
        run = flows.execute(seer(broken(), rest), executor=executor, check=False)
        assert states(run) == {"broken": "failed", "late": "completed", "seer": "failed"}
        if "events" in self.capabilities:
            ends = [event.job for event in run.events() if event.kind in ("completed", "failed")]
            assert ends == ["broken", "seer", "late"]

    def test_fail_beats_skip_whichever_comes_first(self, executor: Where) -> None:
        for policies in (("fail", "skip"), ("skip", "fail")):
            children = [broken(policy, on_failure=policy) for policy in policies]
            run = flows.execute(seer(*children), executor=executor, check=False)
            assert run.jobs["seer"].state == "failed"

    def test_continue_releases_each_dependent_on_its_own(self, executor: Where) -> None:
        shared = broken(on_failure="continue")
        run = flows.execute(seer(seer(shared, id="a"), seer(shared, id="b"), id="root"), executor=executor)
        assert set(states(run).values()) == {"failed", "completed"}
        assert [list(run.jobs[job].value[1]) for job in ("a", "b")] == [["broken"], ["broken"]]

    @pytest.mark.parametrize("policy", POLICIES)
    def test_the_policy_acts_on_every_dependent(self, executor: Where, policy: str) -> None:
        shared = broken(on_failure=policy)
        run = flows.execute(
            seer(*(seer(shared, give.using(id=f"own-{name}")(name), id=name) for name in "abc"), id="root"),
            executor=executor,
            check=False,
        )
        wanted = {"fail": "failed", "skip": "skipped"}.get(policy, "completed")
        assert {run.jobs[job].state for job in ("a", "b", "c", "root")} == {wanted}

    def test_each_dependent_that_fails_acts_by_its_own_policy(self, executor: Where) -> None:
        inner = seer(broken(), id="inner").on_failure("ignore")
        values, failures = self._seen(executor, seer(inner, give.using(id="well")(1)))
        assert (values, list(failures)) == ({"well": 1}, ["inner"])
        assert failures["inner"].type == "DependencyFailedError"
        assert "broken is broken" in failures["inner"].message

    @needs("delays")
    def test_a_long_cascade_names_the_first_cause_at_its_top(self, executor: Where) -> None:
        job: flows.Job[Any] = broken()
        for level in range(1_200):
            job = give.using(id=f"level-{level}")(job.out)
        run = flows.execute(give.using(id="top")([job.out, late().out]), executor=executor, check=False)
        error = run.jobs["top"].error
        assert error is not None
        assert "broken is broken" in error.message
        assert len(error.message) < 500
        assert set(states(run).values()) == {"failed", "completed"}

    def test_optional_outranks_the_policy_for_its_edge_alone(self, executor: Where) -> None:
        job = broken()
        tolerant, strict = give.using(id="tolerant")(flows.optional(job.out)), give.using(id="strict")(job.out)
        run = flows.execute(seer(tolerant, strict.on_failure("ignore")), executor=executor)
        assert (run.jobs["tolerant"].state, run.jobs["strict"].state) == ("completed", "failed")
        assert (run.jobs["tolerant"].value.type, run.jobs["tolerant"].value.job) == ("Oops", "broken")

    def test_optional_gives_the_value_where_there_is_one(self, executor: Where) -> None:
        out = give({"a": [5]}).out
        assert flows.execute(give([flows.optional(out.a[0]), flows.optional(out)]), executor=executor).value == [
            5,
            {"a": [5]},
        ]

    def test_inside_a_list_optional_keeps_the_place_and_other_failures_leave_none(self, executor: Where) -> None:
        first, second, well = broken("first"), broken("second", on_failure="ignore"), give.using(id="well")(1)
        run = flows.execute(give([flows.optional(first.out), second.out, well.out]), executor=executor)
        assert [getattr(item, "job", item) for item in run.value] == ["first", 1]

    @pytest.mark.parametrize("policy", ["ignore", "remove", "continue"])
    def test_a_default_stands_in_for_a_value_that_is_missing(self, executor: Where, policy: str) -> None:
        @flows.task(queue=QUEUE)
        def fallback(first: int, second: str = "default", *, third: int = 3) -> list[Any]:
            return [first, second, third]

        job = fallback(1, broken("two", on_failure=policy).out, third=broken("three", on_failure=policy).out)
        assert flows.execute(job, executor=executor).value == [1, "default", 3]

    @pytest.mark.parametrize("policy", POLICIES)
    def test_an_order_only_edge_obeys_the_policy(self, executor: Where, policy: str) -> None:
        run = flows.execute(give("ran").after(broken(on_failure=policy)), executor=executor, check=False)
        wanted = {"fail": "failed", "skip": "skipped"}.get(policy, "completed")
        assert run.jobs["conformance-give"].state == wanted

    def test_an_order_only_edge_takes_a_skipped_job_for_done(self, executor: Where) -> None:
        assert flows.execute(give("ran").after(skipped()), executor=executor).value == "ran"

    @pytest.mark.parametrize("policy", POLICIES)
    def test_a_job_that_skips_itself_skips_its_dependents_unless_its_policy_lets_them_run(
        self, executor: Where, policy: str
    ) -> None:
        run = flows.execute(seer(skipped(on_failure=policy), give.using(id="well")(1)), executor=executor)
        if policy in ("fail", "skip"):
            assert states(run) == {"skipped": "skipped", "well": "completed", "seer": "skipped"}
            return
        values, failures = run.value
        assert values in ({"well": 1}, {})
        assert [failed.state for failed in failures.values()] == ([] if policy == "remove" else ["skipped"])

    @pytest.mark.parametrize("seed", range(12))
    def test_states_of_random_flows_follow_from_the_rules(self, executor: Where, seed: int) -> None:
        draw = random.Random(seed)
        jobs: list[flows.Job[Any]] = []
        edges: dict[str, list[tuple[str, bool]]] = {}
        fates: dict[str, tuple[str, str]] = {}
        for number in range(60):
            name, fate, policy = (
                f"job-{number}",
                draw.choice(("ok", "ok", "ok", "raise", "skip")),
                draw.choice(TIMELESS),
            )
            below = draw.sample(jobs, min(len(jobs), draw.randint(0, 3)))
            job = flows.Job(
                _fated(fate).name, queue=QUEUE, id=name, children=below[:2], opts=flows.Opts(on_failure=policy)
            )
            jobs.append(job.after(*below[2:]))
            edges[name] = [(child.id or "", position >= 2) for position, child in enumerate(below)]
            fates[name] = (fate, policy)
        flow: flows.Flow[Any] = flows.Flow("random", tuple(jobs), several=True)
        run = flows.execute(flow, executor=executor, check=False)
        assert states(run) == _by_the_rules(fates, edges)

    def _seen(self, executor: Where, root: flows.Job[Any], others: dict[str, str] | None = None) -> Seen:
        run = flows.execute(root, executor=executor)
        assert {job: run.jobs[job].state for job in others or {}} == (others or {})
        values, failures = run.value
        return values, failures


def _fated(fate: str) -> flows.Task[..., Any]:
    def act() -> None:
        if fate == "raise":
            raise Oops(fate)
        if fate == "skip":
            raise flows.Skip(fate)

    return flows.task(act, name=f"conformance-{fate}", queue=QUEUE)


def _by_the_rules(fates: dict[str, tuple[str, str]], edges: dict[str, list[tuple[str, bool]]]) -> dict[str, str]:
    """The states that the rules give a flow, told job by job."""
    ends: dict[str, str] = {}
    for name, (fate, _) in fates.items():
        acting = [(ends[child], fates[child][1], ordered) for child, ordered in edges[name]]
        bad = [(end, policy, ordered) for end, policy, ordered in acting if end != "completed"]
        dooms = any(end == "failed" and policy == "fail" for end, policy, _ in bad)
        skips = any(
            (policy == "skip" and end == "failed") or (policy in ("fail", "skip") and end == "skipped" and not ordered)
            for end, policy, ordered in bad
        )
        ends[name] = (
            "failed" if dooms else "skipped" if skips else {"raise": "failed", "skip": "skipped"}.get(fate, "completed")
        )
    return ends
