"""The SQL of raising alerts: with the deduction that passes a threshold, and once.

An alert stands in the transaction of that deduction: both are there or neither is.
"""

from collections.abc import Sequence
from typing import Final

from sqlmodel import Session, col, select

from billing_sync.alert_models import Alert
from billing_sync.alerts import AlertTerms, Bought, Passed, Use, alerts_of
from billing_sync.models import Instance
from billing_sync.packages import OVERSHOOT, WAITING
from billing_sync.store import alert_deliveries, package_totals
from billing_sync.store.engine import in_parts, inserting
from billing_sync.store.packages import covered
from metering.catalogue import Catalogue

_NO_PACKAGES: Final = frozenset({OVERSHOOT, WAITING})


def raise_passed(session: Session, catalogue: Catalogue, terms: AlertTerms, now_ms: int) -> int:
    """Raise what the packages passed that gave in this transaction, each threshold once; how many.

    Call it after the deductions. What was raised is never raised again, whatever is given back.
    """
    gave = package_totals.gave(session) - _NO_PACKAGES
    if not gave or not terms.thresholds:
        return 0
    found = _passed(session, sorted(gave), catalogue, terms, now_ms)
    known = _known(session, [alert.id for alert in found])
    new = [alert for alert in found if alert.id not in known]
    if new:
        # An alert never keeps usage out of the ledger: one that is there already is no failure.
        statement = inserting(session, Alert).on_conflict_do_nothing()
        session.execute(statement, [alert._asdict() for alert in new])
    alert_deliveries.add(session, [alert.id for alert in new], terms.webhooks, now_ms)
    return len(new)


def _passed(
    session: Session, ids: Sequence[str], catalogue: Catalogue, terms: AlertTerms, now_ms: int
) -> list[Passed]:
    given = package_totals.by_item(session, ids)
    found: list[Passed] = []
    for some in in_parts(ids):
        for row in session.exec(select(Instance).where(col(Instance.id).in_(some))):
            uses = [
                Use(item, full.left, given.get((row.id, item), 0), catalogue[item].unit)
                for item, full in covered(row, catalogue)
            ]
            bought = Bought(row.id, row.customer_id, row.product_id, row.expires)
            found += alerts_of(bought, uses, terms.thresholds, now_ms)
    return found


def _known(session: Session, ids: Sequence[str]) -> set[str]:
    known: set[str] = set()
    for some in in_parts(ids):
        known.update(session.exec(select(Alert.id).where(col(Alert.id).in_(some))))
    return known
