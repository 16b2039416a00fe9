"""The SQL of usage that KooGallery's Agents gateway charges and that no instance was named for.

It stands under accounts in the place of instances (metering.catalogue.agents_account), makes no
records, and is named in bucket `agents_gateway` by the close of its hour.
"""

from typing import Final

from sqlalchemy import func, select
from sqlmodel import Session, SQLModel

from billing_sync.grouping import Unrecorded
from billing_sync.store.results import Results
from metering.catalogue import AGENTS_ACCOUNTS, AGENTS_GATEWAY

_USED: Final = SQLModel.metadata.tables["usage_window"]


def put_away(session: Session, partition: int, through: int, rows: int) -> bool:
    """Name what is not named yet of the hours up to `through`, so many rows at most.

    Whether there may be more.
    """
    key = (_USED.c.instance_id, _USED.c.window, _USED.c.meter, _USED.c.origin)
    query = (
        select(*key, func.sum(_USED.c.quantity - _USED.c.recorded))
        .where(
            _USED.c.partition == partition,
            _USED.c.quantity > _USED.c.recorded,
            _USED.c.window <= through,
            _USED.c.instance_id.startswith(AGENTS_ACCOUNTS, autoescape=True),
        )
        .group_by(*key)
        .limit(rows)
    )
    found = session.connection().execute(query).all()
    usage = [
        Unrecorded(account, window, meter, int(quantity), ((origin, int(quantity)),))
        for account, window, meter, origin, quantity in found
    ]
    results = Results(partition, {})
    results.put_in_bucket(usage, AGENTS_GATEWAY, sum(each.quantity for each in usage))
    results.recorded.extend(usage)
    results.write(session)
    return len(found) == rows
