"""A payment that is charged once whatever happens: retries, crashes after the effect, second submits, two flows."""

import flows
from flows import Backoff, Job


class Psp:
    """A payment provider that honours idempotency keys, as real ones do."""

    def __init__(self) -> None:
        self.charges: dict[str, int] = {}
        self.calls = 0

    def charge(self, cents: int, key: str) -> str:
        self.calls += 1
        self.charges.setdefault(key, cents)  # the same key again: the same charge
        return f"charge {list(self.charges).index(key) + 1} of {self.charges[key]} cents"


psp = Psp()
mails: list[str] = []


@flows.task(attempts=5, backoff=Backoff.fixed("5ms"))
def charge(cents: int) -> str:
    # The key stays the same in every attempt, after crashes and retries, and on every executor.
    receipt = psp.charge(cents, flows.current().idempotency_key)
    if flows.current().attempt < 3:
        raise ConnectionError("the answer was lost: the card is charged, and we do not know it")
    return receipt


@flows.task
def confirm(receipt: str) -> str:
    mails.append(receipt)
    return receipt


@flows.flow
def order(cents: int = 1250) -> Job[str]:
    return confirm(charge(cents).out)


# 1. Three attempts reach the provider, one charge is made. A second submit of the key finds the run and runs nothing.
first = flows.execute(order, key="order:123")
again = flows.execute(order, key="order:123")
print(first.value, f"after {psp.calls} calls under {list(psp.charges)}")
assert (first.id, first.value) == (again.id, again.value)
assert psp.charges == {"order:123/charge": 1250}
assert (psp.calls, len(mails)) == (3, 1)

# 2. Another order under the same key is no second try but a mistake, and is refused.
try:
    flows.execute(order(9900), key="order:123")
except flows.IdempotencyConflictError as error:
    print("refused:", error)
assert len(psp.charges) == 1

# 3. Two flows that must not both charge: the job has a key of its own, and the second takes the result of the first.
invoice = charge.using(idempotency_key="invoice:9")


@flows.flow
def dunning() -> Job[str]:
    return confirm.using(id="remind")(invoice(4000).out)


runs = [flows.submit(confirm(invoice(4000).out)), flows.submit(dunning)]
values = {run.wait().value for run in runs}
attempts = sorted(len(run.jobs["charge"].attempts) for run in runs)
print(values, f"attempts of each run: {attempts}")
assert values == {"charge 2 of 4000 cents"}
assert psp.charges == {"order:123/charge": 1250, "invoice:9": 4000}
assert attempts == [0, 3]
