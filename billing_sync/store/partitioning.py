"""How many partitions this ledger was made with, and so which one a customer belongs to."""

from sqlmodel import Session

from billing_sync.models import Meta


def partition_count(session: Session) -> int:
    """The number of partitions; 1 before the ledger was set up."""
    row = session.get(Meta, "partitions")
    return int(row.value) if row else 1
