"""A ledger whose route `chat` sells tokens by two products, calls, and one that others charge; and who
corrects it."""

from typing import Any

from sqlalchemy import Engine

from billing_sync.correcting import Corrector, Taken
from billing_sync.correction_models import Adjustment, Assignment, Suspense
from billing_sync.corrections import AdjustmentAsked, AssignmentAsked
from billing_sync.models import Carry
from billing_sync.records import SCALE
from metering.catalogue import Catalogue, Product, catalogue
from metering.deltas import DeltaKey
from metering.usage import Grade
from metering.windows import Window, window_of
from tests.billing_sync.books import METER, Books, package
from tests.billing_sync.pushing import log_of

ROUTES = ["chat"]
SELLING = catalogue(
    [
        Product(product_id="TOKENS", routes=ROUTES, meter=METER, unit=1000),
        Product(product_id="CALLS", routes=["chat", "plain"], meter="requests"),
        Product(product_id="THEIRS", routes=ROUTES, meter="images", charged_by="agents_gateway"),
        package("PACK", 10),
        package("STOP", 10, stop=True),
    ]
)


class Desk:
    """Books of what is sold, and the person who corrects them."""

    def __init__(self, engine: Engine, products: Catalogue = SELLING) -> None:
        self.books = Books(engine, products)
        self.corrector = Corrector(engine, log_of(engine), products, 1, self.books.clock)

    def adjust(self, quantity: int, *, id: str = "a1", **said: Any) -> Taken[Adjustment]:
        """An adjustment of instance `i` in meter units."""
        given = {"instance_id": "i", "author": "li", "reason": "because"} | said
        return self.corrector.adjust(AdjustmentAsked(id, quantity=quantity, **given))

    def assign(self, quantity: int | None = None, **said: Any) -> Taken[Assignment]:
        """Suspense of `cust-1` is charged to instance `i`."""
        given = {"customer_id": "cust-1", "instance_id": "i", "author": "li", "reason": "his"}
        given["id"] = self.books.ids()
        return self.corrector.assign(AssignmentAsked(quantity=quantity, **(given | said)))

    def serve(self, quantity: int, *charged: str, **key: Any) -> None:
        """A drain with so much usage of the customer, charged to these instances."""
        given = {"customer_id": "cust-1", "route": "chat", "meter": METER, "grade": Grade.EXACT}
        window = Window(key.pop("window", window_of(self.books.clock.now_ms())))
        given |= key
        self.books.drain(
            {
                DeltaKey(window, instance_id=instance_id, **given): quantity  # type: ignore[arg-type]
                for instance_id in ("", *charged)
            }
        )

    def suspense(self) -> dict[tuple[str, str, int], tuple[int, int]]:
        """Quantity and what is assigned of it, by customer, product and hour."""
        found: dict[tuple[str, str, int], tuple[int, int]] = {}
        for row in self.books.all(Suspense):
            place = (row.customer_id, row.product_id, row.origin)
            quantity, assigned = found.get(place, (0, 0))
            found[place] = (quantity + row.quantity, assigned + row.assigned)
        return found

    def carry(self, instance_id: str = "i") -> int:
        """The remainder of its plain records."""
        return sum(
            row.quantity
            for row in self.books.all(Carry)
            if (row.instance_id, row.package_id) == (instance_id, "")
        )

    def billed(self, instance_id: str = "i", unit: int = 1000) -> int:
        """What its records say, times 10,000 and the unit: exact, in the remainder's own size."""
        return sum(
            int(record.value.replace(".", "")) * unit for record in self.books.records(instance_id)
        )

    def owed(self, quantity: int) -> int:
        """So many meter units in the same size."""
        return quantity * SCALE
