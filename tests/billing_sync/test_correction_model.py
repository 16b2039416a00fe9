"""Any sequence of usage, adjustments, assignments, closes and cuts, on a real Valkey and real SQL.

Per instance, values × unit × 10,000 + remainder = (used + assigned + adjusted) × 10,000; suspense and
what was charged are the total; nothing is assigned twice.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import anyio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing_sync.correcting import Corrector
from billing_sync.correction_models import Adjustment, Assignment, Suspense
from billing_sync.corrections import AdjustmentAsked, AssignmentAsked
from billing_sync.drain import Drainer
from billing_sync.errors import CorrectionRefused
from billing_sync.models import UsageWindow
from metering.connection import connect_one
from metering.counters import Counters
from metering.deltas import DeltaKey
from metering.protocol import Batch
from metering.usage import Grade
from metering.windows import Window, window_of
from tests.billing_sync.books import METER, Books
from tests.billing_sync.correcting import SELLING
from tests.billing_sync.pushing import log_of
from tests.databases import new_ledger

UNIT = 1000
INSTANCES = ("i", "j")
CUSTOMER = {"i": "cust-1", "j": "cust-2"}
SIZES = st.integers(1, 5000)

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("use"), st.sampled_from(INSTANCES), SIZES, st.booleans()),
        st.tuples(st.just("drain"), st.just(""), st.just(0), st.booleans()),
        st.tuples(
            st.just("adjust"), st.sampled_from(INSTANCES), st.integers(-8000, 8000), st.booleans()
        ),
        st.tuples(
            st.just("assign"), st.sampled_from(INSTANCES), st.integers(0, 4000), st.booleans()
        ),
        st.tuples(st.just("cut"), st.just(""), st.just(0), st.booleans()),
        st.tuples(st.just("close"), st.just(""), st.just(0), st.booleans()),
    ),
    max_size=25,
)
Step = tuple[str, str, int, bool]


class Shop:
    """A gateway, a control plane and a person at a desk."""

    def __init__(self, folder: Path, url: str) -> None:
        self.engine = new_ledger(folder / "ledger.db")
        self.books = Books(self.engine, SELLING)
        self.redis = connect_one(url)
        self.counters = Counters(self.redis)
        self.drainer = Drainer(
            self.engine, self.counters, SELLING, self.books.clock, self.books.ids
        )
        self.corrector = Corrector(self.engine, log_of(self.engine), SELLING, 1, self.books.clock)
        self.place = ("", 0)
        self.served: dict[str, int] = {}
        self.numbers = 0
        for instance_id in INSTANCES:
            self.books.buy(instance_id, customer_id=CUSTOMER[instance_id])

    async def play(self, steps: list[Step]) -> None:
        await self.redis.flushall()
        await self.drainer.drain(0)
        for what, instance_id, quantity, flag in steps:
            if what == "use":
                await self.use(instance_id, quantity, charged=flag)
            elif what == "drain":
                await self.drainer.drain(0)
            else:
                self.act(what, instance_id, quantity, flag)
            self.audit()
        await self.drainer.drain(0)
        self.act("close", "", 0, True)
        self.audit()
        self.audit_total()
        await self.redis.aclose()
        self.engine.dispose()

    async def use(self, instance_id: str, quantity: int, *, charged: bool) -> None:
        """A call, applied as the gateway does: its total and its charge at once."""
        customer = CUSTOMER[instance_id]
        window = Window(window_of(self.books.clock.now_ms()))
        used = {
            DeltaKey(window, customer, each, "chat", METER, Grade.EXACT): quantity
            for each in (["", instance_id] if charged else [""])
        }
        status = ""
        while status != "ok":
            epoch, position = self.place
            batch = Batch(0, epoch, "lane", position, position + 1, used)
            status, epoch, position, _ = await self.counters.apply(batch)
            self.place = (epoch, position)
        self.served[customer] = self.served.get(customer, 0) + quantity

    def act(self, what: str, instance_id: str, quantity: int, flag: bool) -> None:
        self.numbers += 1
        if what == "cut":
            self.books.clock.advance(seconds=30)
            self.books.cut()
        elif what == "close":
            self.books.to_the_next_hour()
            self.books.close()
        elif what == "adjust" and quantity:
            self.twice(
                lambda: (
                    self.corrector.adjust(
                        AdjustmentAsked(
                            f"a{self.numbers}", instance_id, "li", "r", quantity=quantity
                        )
                    ).repeated
                ),
                flag,
            )
        elif what == "assign":
            asked = AssignmentAsked(
                f"s{self.numbers}",
                CUSTOMER[instance_id],
                instance_id,
                "li",
                "r",
                quantity=quantity or None,
            )
            self.twice(lambda: self.corrector.assign(asked).repeated, flag)

    def twice(self, correct: Callable[[], bool], again: bool) -> None:
        """The second time nothing happens; what is not there is refused."""
        try:
            assert not correct()
        except CorrectionRefused:
            return
        assert not again or correct()

    def audit(self) -> None:
        for instance_id in INSTANCES:
            rows = [r for r in self.books.all(UsageWindow) if r.instance_id == instance_id]
            adjusted = sum(
                r.quantity for r in self.books.all(Adjustment) if r.instance_id == instance_id
            )
            assigned = sum(r.quantity for r in rows if r.mark == "assigned")
            recorded = sum(r.recorded for r in rows)
            billed, carry = billed_and_carried(self.books, instance_id)
            assert billed + carry == (recorded + adjusted) * 10_000
            assert assigned == sum(
                r.quantity for r in self.books.all(Assignment) if r.instance_id == instance_id
            )
        for row in self.books.all(Suspense):
            assert 0 <= row.assigned <= row.quantity

    def audit_total(self) -> None:
        """Everything is drained and closed."""
        for instance_id, customer in CUSTOMER.items():
            rows = [r for r in self.books.all(UsageWindow) if r.instance_id == instance_id]
            assert all(r.recorded == r.quantity for r in rows)
            charged = sum(r.quantity for r in rows if r.mark != "assigned")
            there = [r for r in self.books.all(Suspense) if r.customer_id == customer]
            assert charged + sum(r.quantity for r in there) == self.served.get(customer, 0)
            assert sum(r.assigned for r in there) == sum(
                r.quantity for r in rows if r.mark == "assigned"
            )


def billed_and_carried(books: Books, instance_id: str) -> tuple[int, int]:
    """In ten-thousandths of a meter unit."""
    from billing_sync.models import Carry

    billed = sum(int(r.value.replace(".", "")) * UNIT for r in books.records(instance_id))
    carry = sum(r.quantity for r in books.all(Carry) if r.instance_id == instance_id)
    return billed, carry


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_every_sequence_balances(valkey_url: str, steps: list[Step]) -> None:
    """To the smallest unit, after every step."""
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(Shop(Path(folder), valkey_url).play, steps)
