"""Lets go of the ledger's own history, a little at a time, so that no transaction is long.

Drains and epochs are looked up only for a Redis that was set back: one that comes back from further
in the past counts as unknown, which stops billing until somebody has looked. A week is longer than
a forgotten replica lives, and short enough for a ledger that drains every second.
"""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from sqlalchemy import delete
from sqlmodel import Session, col, select

from billing_sync.finding_models import Salvage
from billing_sync.models import Drain, Epoch, PushClaim
from billing_sync.store import ledger

DAY_MS: Final = 86_400_000
CHAIN_MS: Final = 7 * DAY_MS
# Only the push log's newest claim is ever looked up; it is younger than the log's oldest file, or
# nothing was pushed since.
CLAIMS_MS: Final = 124 * DAY_MS
SALVAGE_MS: Final = 62 * DAY_MS
BATCH: Final = 500


class Most(NamedTuple):
    """How many rows are kept, however young or old: drains and salvage of a partition, claims."""

    drains: int = 50_000  # fourteen hours at one a second
    salvage: int = 100  # two masters that take turns would fill the disk
    claims: int = 1000  # kept for certain; age decides about the others


MOST: Final = Most()


class Old(NamedTuple):
    """The ids of rows that may go, at most a batch of each kind."""

    drains: list[str]
    epochs: list[str]
    salvage: list[int]
    claims: list[str]


def old(
    session: Session, partition: int, now_ms: int, batch: int = BATCH, most: Most = MOST
) -> Old:
    """What may go of a partition's history, and of the claims, which belong to none.

    Never where the partition stands, nor what its last drain followed.
    """
    place = ledger.place(session, partition)
    drains = _since(session, Drain, most.drains, now_ms - CHAIN_MS, Drain.partition == partition)
    salvage = _since(
        session, Salvage, most.salvage, now_ms - SALVAGE_MS, Salvage.partition == partition
    )
    claims = min(now_ms - CLAIMS_MS, _since(session, PushClaim, most.claims, 0))
    return Old(
        _ids(
            session,
            batch,
            Drain,
            Drain.partition == partition,
            Drain.at < drains,
            Drain.id != place.last,
        ),
        _ids(
            session,
            batch,
            Epoch,
            Epoch.partition == partition,
            Epoch.at < now_ms - CHAIN_MS,
            Epoch.id != place.epoch,
            Epoch.reason != ledger.FIRST_START,
        ),
        _ids(session, batch, Salvage, Salvage.partition == partition, Salvage.at < salvage),
        _ids(session, batch, PushClaim, PushClaim.at < claims),
    )


def let_go(session: Session, gone: Old) -> None:
    """Delete the rows."""
    tables: Iterable[Any] = (Drain, Epoch, Salvage, PushClaim)
    for table, ids in zip(tables, gone, strict=True):
        session.execute(delete(table).where(table.id.in_(ids)))


def _since(session: Session, table: Any, most: int, since: int, *where: Any) -> int:
    """When the `most` newest rows begin, or `since` if that is later."""
    query = select(table.at).where(*where).order_by(col(table.at).desc())
    oldest = session.exec(query.offset(most - 1).limit(1)).first()
    return max(since, oldest or 0)


def _ids(session: Session, batch: int, table: Any, *where: Any) -> list[Any]:
    return list(session.exec(select(table.id).where(*where).limit(batch)))
