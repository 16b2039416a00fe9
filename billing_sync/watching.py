"""Watches the deadlines of what is not pushed: figures for whoever asks, and one warning each."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Final, NamedTuple

from sqlmodel import Session

from billing_sync.deadlines import HORIZONS, Deadline, deadline, due_until
from billing_sync.store import risks
from billing_sync.store.risks import Cutoffs, Waiting
from metering.catalogue import Catalogue

log = logging.getLogger("tallygate.push")

BEIJING: Final = timezone(timedelta(hours=8))  # spec §8, fact 7


class Risk(NamedTuple):
    """What waits under one class of deadline. `records` and `units` (billing units) are at risk;
    `passed` records are too late; `seconds` are left until the nearest deadline, None if none waits.
    """

    kind: Deadline
    records: int
    units: Decimal
    passed: int
    seconds: int | None
    money: dict[str, Decimal]  # by currency, where products have a fixed price


@dataclass(frozen=True)
class Terms:
    """By what products are billed, and in whose zone a day ends."""

    catalogue: Catalogue = field(default_factory=dict)
    zone: tzinfo = BEIJING

    @property
    def daily(self) -> list[str]:
        """The products whose billing cycle is a day."""
        return [product.product_id for product in self.catalogue.values() if product.cycle == "day"]


def risks_at(session: Session, terms: Terms, now_ms: int) -> list[Risk]:
    """Every class of deadline as it stands now."""
    return [_risk(session, terms, kind, now_ms) for kind in Deadline]


def _risk(session: Session, terms: Terms, kind: Deadline, now_ms: int) -> Risk:
    cutoffs = Cutoffs(
        due_until(kind, now_ms + HORIZONS[kind], terms.zone), due_until(kind, now_ms, terms.zone)
    )
    waiting = risks.waiting(session, kind, cutoffs, terms.daily)
    nearest = min((deadline(kind, each.nearest, terms.zone) for each in waiting), default=None)
    return Risk(
        kind,
        sum(each.records for each in waiting),
        sum((each.units for each in waiting), Decimal(0)),
        sum(each.passed for each in waiting),
        None if nearest is None else (nearest - now_ms) // 1000,
        _money(waiting, terms.catalogue),
    )


def _money(waiting: Iterable[Waiting], catalogue: Catalogue) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for each in waiting:
        product = catalogue.get(each.product_id)
        price = product.price if product else None
        if price and price.mode == "fixed" and price.unit_price is not None:
            money = each.units * price.unit_price
            found[price.currency] = found.get(price.currency, Decimal(0)) + money
    return found


class Warner:
    """Says once when records get near a deadline, once when they miss it, once when it is over."""

    def __init__(self) -> None:
        self._said: dict[Deadline, str] = {}

    def look(self, found: Iterable[Risk]) -> None:
        """Log what is new."""
        for risk in found:
            level = "missed" if risk.passed else "near" if risk.records else ""
            if level != self._said.get(risk.kind, ""):
                self._said[risk.kind] = level
                self._say(risk, level)

    def _say(self, risk: Risk, level: str) -> None:
        what = f"{risk.records} usage records ({', '.join(_amounts(risk))})"
        if level == "missed":
            log.error("%s deadline missed by %d of %s", risk.kind, risk.passed, what)
        elif level == "near":
            log.warning("%s deadline in %d s for %s not pushed", risk.kind, risk.seconds, what)
        else:
            log.warning("no usage record is near its %s deadline any more", risk.kind)


def _amounts(risk: Risk) -> Iterator[str]:
    yield f"{risk.units} billing units"
    for currency, money in sorted(risk.money.items()):
        yield f"{money.normalize():f} {currency}"
