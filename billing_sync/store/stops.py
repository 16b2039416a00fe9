"""The SQL of stopped billing: while the ledger is behind what was pushed, nothing is recorded or pushed.

Records cut now would have other intervals than those the marketplace already has. Every transaction
that makes or claims records asks `may_bill` first; `tallygate recover` lifts the stop.
"""

import json
from typing import Final, NamedTuple

from sqlalchemy import delete, select
from sqlmodel import Session, col

from billing_sync.models import Meta, PushClaim
from billing_sync.store.engine import inserting

PARTITIONS: Final = "partitions"  # the fact that every ledger has from its first start on
_KEY: Final = "billing stopped"


class Stop(NamedTuple):
    """Why billing is stopped, and since when (UTC ms)."""

    reason: str
    at: int


def alone(session: Session) -> None:
    """Until the transaction ends nobody else stops billing, lifts a stop or starts a control plane.

    Who locks partitions too locks them first.
    """
    session.execute(select(Meta.key).where(col(Meta.key) == PARTITIONS).with_for_update())  # type: ignore[call-overload]


def stopped(session: Session) -> Stop | None:
    """The stop, if there is one."""
    row = session.get(Meta, _KEY)
    return Stop(**json.loads(row.value)) if row else None


def stop(session: Session, reason: str, at: int) -> None:
    """Stop billing; the first reason stands."""
    row = inserting(session, Meta).values(key=_KEY, value=json.dumps(Stop(reason, at)._asdict()))
    session.execute(row.on_conflict_do_nothing())


def lift(session: Session) -> None:
    """Billing goes on."""
    session.execute(delete(Meta).where(col(Meta.key) == _KEY))


def knows(session: Session, claim: str) -> bool:
    """Whether this ledger made the claim; the claim "" is none."""
    query = select(PushClaim.id).where(col(PushClaim.id) == claim)  # type: ignore[call-overload]
    return not claim or session.execute(query).first() is not None


def may_bill(session: Session, newest_claim: str, now_ms: int) -> bool:
    """Whether records may be made and claimed in this transaction.

    `newest_claim` is the push log's. A ledger that has never seen it was set back: then billing is
    stopped by this same transaction.
    """
    if stopped(session) is not None:
        return False
    if knows(session, newest_claim):
        return True
    alone(session)  # a recovery may be about to put that batch back
    if knows(session, newest_claim):
        return True
    stop(session, "the push log holds batches that the ledger has never seen", now_ms)
    return False
