"""What may be lent of customers' stop-before-excess packages, in the words of metering.lending.

An account is a customer's packages for one billing item. Ordinary packages that deduct before or after
one that stops are a part of it. What waits for a package (policy `next_package`) is as good as used.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from sqlmodel import Session

from billing_sync import packages
from billing_sync.store import balance_versions, waiting
from billing_sync.store.packages import balances, naming_of
from metering.catalogue import Catalogue
from metering.lending import Balance, Part, account_of

_MOST_PARTS: Final = 100  # of an account; those that give anything first


def of_customers(
    session: Session, customer_ids: Collection[str], catalogue: Catalogue, now_ms: int
) -> dict[str, list[Balance]]:
    """The balance of each account of the customers, by customer. The session is one snapshot."""
    versions = balance_versions.versions(session, sorted(customer_ids))
    held = balances(session, customer_ids, catalogue, now_ms)
    waits = waiting.outstanding(session, customer_ids)
    found: dict[str, list[Balance]] = {each: [] for each in customer_ids}
    for place in naming_of(session, customer_ids, catalogue):
        customer_id, item = place
        parts = _parts(held.get(place, ()), waits.get(place, 0), now_ms)
        account = account_of(customer_id, item)
        found[customer_id].append(Balance(account, versions[customer_id], now_ms, parts))
    return found


def _parts(held: Iterable[packages.Balance], waits: int, now_ms: int) -> tuple[Part, ...]:
    """None of them where no package stops any more."""
    there = [balance for balance in held if balance.is_held(now_ms)]
    if not any(balance.stop_before_excess for balance in there):
        return ()
    parts = []
    for balance in there:
        left = max(balance.left, 0) if _is_thawed(balance, now_ms) else 0
        taken = min(left, waits) if balance.stop_before_excess else 0
        waits -= taken
        parts.append(Part(balance.package_id, balance.quota, left - taken, balance.expires))
    return _bounded(parts)


def _is_thawed(balance: packages.Balance, now_ms: int) -> bool:
    """Its expiry stands in the part and takes effect by itself; a freeze is told when it comes."""
    return not any(span.begin <= now_ms < span.end for span in balance.frozen)


def _bounded(parts: Sequence[Part]) -> tuple[Part, ...]:
    if len(parts) <= _MOST_PARTS:
        return tuple(parts)
    return tuple(sorted(parts, key=lambda part: not part.left)[:_MOST_PARTS])
