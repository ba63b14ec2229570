"""A diamond: two jobs share a child, which runs once; the same job object under two parents is one job."""

import flows
from flows import Children, Job

downloads: list[str] = []


@flows.task
def download(url: str) -> list[int]:
    downloads.append(url)
    return [3, 1, 4, 1, 5, 9, 2, 6]


@flows.task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@flows.task
def largest(numbers: list[int]) -> int:
    return max(numbers)


@flows.task
def report(total: int, largest: int) -> str:
    return f"total {total}, largest {largest}"


@flows.flow
def diamond(url: str = "https://example.com/numbers") -> Job[str]:
    numbers = download(url)  # one job ...
    return report(total(numbers.out).out, largest(numbers.out).out)  # ... that two others take the result of


plan = flows.plan(diamond)
run = flows.execute(plan)
print(plan.explain(), f"{run.value} from {len(downloads)} download", sep="\n\n")

assert plan.levels == [["download"], ["total", "largest"], ["report"]]
assert run.value == "total 31, largest 9"
assert len(downloads) == 1


# The same shape as data: the job stands under two parents, and results arrive by job id.
@flows.task
def gather(children: Children) -> int:
    return sum(children.values.values())


@flows.task
def two() -> int:
    return 2


shared = Job("two")
root = Job("gather", children=[Job("gather", children=[shared]), Job("gather", children=[shared])])
literal = flows.execute(root)
print(f"{list(literal.jobs)} give {literal.value}")

assert list(literal.jobs) == ["two", "gather#2", "gather#3", "gather"]
assert literal.value == 4
