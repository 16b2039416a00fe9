"""Reads the usage records for `whatif`, some instances at a time, and prices them."""

from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from typing import Final

from sqlalchemy import Engine

from billing_sync.store import revenue as store
from billing_sync.store.engine import reading
from billing_sync.store.revenue import Buyer
from tallygate.whatif.repricing import LONGEST_PERIOD_MS, Line, Scheme, reprice

_FIRST: Final = Buyer("", "")


def lines(
    engine: Engine, scheme: Scheme, customer_id: str | None = None, at_once: int = store.AT_ONCE
) -> Iterator[Line]:
    """What every instance brings, customer by customer. Raises SQLAlchemyError."""
    since = max(0, scheme.from_ms - LONGEST_PERIOD_MS)
    after = _FIRST
    while True:
        with reading(engine) as session:
            some = store.buyers(session, after, customer_id, at_once)
            ids = [buyer.instance_id for buyer in some]
            rows = store.sold(session, ids, from_ms=since, to_ms=scheme.to_ms)
            priced = {
                instance_id: list(made)
                for instance_id, made in groupby(rows, key=attrgetter("instance_id"))
            }
        for buyer in some:
            yield from reprice(buyer, priced.get(buyer.instance_id, ()), scheme)
        if len(some) < at_once:
            return
        after = some[-1]
