"""Decides which corrections are taken: what is asked, and whether it can be billed. Pure."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple, Protocol

from billing_sync.errors import CorrectionRefused
from billing_sync.records import MAX_STEPS, SCALE
from metering.catalogue import AGENTS_GATEWAY, Catalogue, Product
from metering.entitlement import InstanceStatus

MOST_UNITS: Final = 10**14  # meter units at once
MOST_CARRY: Final = (
    4 * 10**18
)  # of an instance's remainder, below what a column of the ledger takes
MOST_VALUE: Final = Decimal(MAX_STEPS).scaleb(-4)  # of one record (spec §7.1)
_LENGTHS: Final = {"id": 64, "instance": 64, "customer": 128, "author": 64, "reason": 500}
_OPPOSITE: Final = "to take one back, add another with the opposite sign under a new id"


class Bought(Protocol):
    """What must be known of an instance (models.Instance)."""

    customer_id: str
    product_id: str
    is_package: bool
    status: str
    source: str


class AdjustmentAsked(NamedTuple):
    """An adjustment as it is asked for: `quantity` in meter units or `value` in billing units."""

    id: str
    instance_id: str
    author: str
    reason: str
    quantity: int | None = None
    value: Decimal | None = None


class AssignmentAsked(NamedTuple):
    """Suspense to be charged to an instance: of one product (default: the instance's own), used in
    the windows [first, end), so much of it (default: all)."""

    id: str
    customer_id: str
    instance_id: str
    author: str
    reason: str
    product_id: str | None = None
    first: int | None = None
    end: int | None = None
    quantity: int | None = None


def check_adjustment(asked: AdjustmentAsked) -> None:
    """Raises CorrectionRefused for texts that are missing or endless, and for too much or too little
    said of the size."""
    _check_texts(id=asked.id, instance=asked.instance_id, author=asked.author, reason=asked.reason)
    if (asked.quantity is None) == (asked.value is None):
        raise CorrectionRefused(
            "say either a quantity in meter units or a value in billing units, and not both"
        )


def check_assignment(asked: AssignmentAsked) -> None:
    """The same for an assignment."""
    _check_texts(
        id=asked.id,
        instance=asked.instance_id,
        customer=asked.customer_id,
        author=asked.author,
        reason=asked.reason,
    )
    if asked.quantity is not None and not 0 < asked.quantity <= MOST_UNITS:
        raise CorrectionRefused(
            f"the quantity must be 1 to {MOST_UNITS} meter units; what was assigned by mistake is "
            "taken back by `tallygate adjust add` with a negative quantity"
        )


def adjustable(
    instance_id: str, instance: Bought | None, catalogue: Catalogue, *, unrecorded: bool
) -> Product:
    """The product whose records will carry the adjustment. Raises CorrectionRefused.

    `unrecorded` says whether the instance has usage that no record carries yet.
    """
    known, product = _billed(instance_id, instance, catalogue)
    if known.source != "koogallery":
        raise CorrectionRefused(
            f"instance {instance_id} is one of the configuration: nothing is billed for it"
        )
    if known.status == InstanceStatus.RELEASED and not unrecorded:
        raise CorrectionRefused(
            f"instance {instance_id} was released and has its last record: no later one can net an "
            "adjustment; settle it with the customer outside Tallygate"
        )
    return product


def assignable(asked: AssignmentAsked, instance: Bought | None, catalogue: Catalogue) -> Product:
    """The product of the instance that suspense may be assigned to. Raises CorrectionRefused."""
    known, product = _billed(asked.instance_id, instance, catalogue)
    if known.customer_id != asked.customer_id:
        raise CorrectionRefused(
            f"instance {asked.instance_id} belongs to another customer than {asked.customer_id}"
        )
    if known.status not in (InstanceStatus.ACTIVE, InstanceStatus.FROZEN):
        raise CorrectionRefused(
            f"instance {asked.instance_id} is {known.status}: only an active or a frozen one can "
            "still be billed"
        )
    return product


def meter_units(asked: AdjustmentAsked, product: Product) -> int:
    """The adjustment in whole meter units. Raises CorrectionRefused for a size that makes no sense."""
    quantity = asked.quantity
    if quantity is None:
        quantity = _of_value(asked.value or Decimal(0), product)
    if not quantity:
        raise CorrectionRefused("an adjustment of 0 changes nothing")
    if abs(quantity) > MOST_UNITS or abs(quantity) * SCALE > MAX_STEPS * product.unit:
        raise CorrectionRefused(
            f"an adjustment is at most {MOST_VALUE} billing units or {MOST_UNITS} meter units; "
            "is the unit right?"
        )
    return quantity


def check_carry(instance_id: str, carry: int) -> None:
    """Raises CorrectionRefused for a remainder that the ledger could not hold."""
    if abs(carry) > MOST_CARRY:
        raise CorrectionRefused(
            f"so much already waits to be netted for instance {instance_id} that no more fits"
        )


def refuse_other(correction_id: str, differing: Sequence[str]) -> None:
    """Raises CorrectionRefused where something else was asked for under the same id."""
    if differing:
        raise CorrectionRefused(
            f"id {correction_id} is taken by a correction with another {differing[0]}; {_OPPOSITE}"
        )


def _of_value(value: Decimal, product: Product) -> int:
    if not value.is_finite() or abs(value) > MOST_VALUE:
        raise CorrectionRefused(f"the value must lie between -{MOST_VALUE} and {MOST_VALUE}")
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -4:
        raise CorrectionRefused("a value has at most four decimals")
    quantity, rest = divmod(int(value.scaleb(4)) * product.unit, SCALE)
    if rest:
        raise CorrectionRefused(
            f"{value} billing units of {product.unit} {product.meter} are no whole number of "
            f"{product.meter}; give a quantity in {product.meter} instead"
        )
    return quantity


def _billed(
    instance_id: str, instance: Bought | None, catalogue: Catalogue
) -> tuple[Bought, Product]:
    if instance is None or not instance.customer_id:
        raise CorrectionRefused(
            f"no instance {instance_id} is known, or its buyer is not; `/api/v1/instances` lists them"
        )
    if instance.is_package:
        raise CorrectionRefused(
            f"instance {instance_id} is a package; name the pay-per-use instance that it gives to"
        )
    product = catalogue.get(instance.product_id)
    if product is None or product.meter is None:
        raise CorrectionRefused(
            f"product {instance.product_id or '?'} of instance {instance_id} is not configured"
        )
    if product.charged_by == AGENTS_GATEWAY:
        raise CorrectionRefused(
            f"product {product.product_id} is charged by the marketplace's own gateway, not by you"
        )
    return instance, product


def _check_texts(**texts: str) -> None:
    for name, text in texts.items():
        if not text.strip() or len(text) > _LENGTHS[name] or not text.isprintable():
            raise CorrectionRefused(
                f"{name} must be 1 to {_LENGTHS[name]} printable characters on one line"
            )
