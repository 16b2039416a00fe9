"""Which wishes for a licence are refused, and with which code (spec §4.1). Pure."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from billing_sync.koogallery.codes import ResultCode
from billing_sync.koogallery.licence_fields import LicenceAsked
from metering.catalogue import Product
from metering.entitlement import InstanceStatus

PERIOD: Final = "PERIOD"
# Orders tell their expiry roughly, and in a zone that no page names [assumed].
SLACK_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Standing:
    """What of an instance decides about a licence for it. `devices` are those of its other licences,
    as digests; `product` None is one that is not configured."""

    status: InstanceStatus
    product_id: str
    product: Product | None
    charging_mode: str
    quantity: int
    expires: int
    devices: frozenset[str] = frozenset()


class Refusal(NamedTuple):
    """The code and the words of a no."""

    code: ResultCode
    text: str


def refusal(standing: Standing, asked: LicenceAsked, device: str) -> Refusal | None:
    """Why there is no licence; None where a maker may be asked. `device` is the fingerprint's digest."""
    terms = standing.product.licence if standing.product else None
    if terms is None or terms.kind != "made":
        what = f"product {standing.product_id} is not configured as a licence that is made here"
        return Refusal(ResultCode.INTERNAL, what)
    if standing.charging_mode == PERIOD and not asked.expires:
        return Refusal(ResultCode.EXPIRY_NEEDED, "a period licence needs expireTime")
    if terms.fingerprint == "required" and not asked.fingerprint and not asked.by_reply:
        return Refusal(ResultCode.FINGERPRINT_NEEDED, "this licence needs deviceFingerprint")
    if (outside := _outside(standing, asked)) is not None:
        return outside
    if terms.devices is not None and device not in standing.devices:
        most = terms.devices * standing.quantity
        if len(standing.devices) >= most:
            text = f"{most} devices have their licence already"
            return Refusal(ResultCode.QUOTA_USED_UP, text)
    return None


def _outside(standing: Standing, asked: LicenceAsked) -> Refusal | None:
    if standing.status is InstanceStatus.FROZEN:
        return Refusal(ResultCode.OUTSIDE_VALIDITY, "the instance is frozen")
    if not standing.expires:
        return None
    if asked.effective >= standing.expires or asked.expires > standing.expires + SLACK_MS:
        return Refusal(ResultCode.OUTSIDE_VALIDITY, "outside what the order is valid for")
    return None
