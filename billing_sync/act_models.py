"""The table of what was decided about single usage records: append-only, with author and reason."""

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel


class RecordAct(SQLModel, table=True):
    """A person's act on a record, or a hold and release by rule (author `tallygate`)."""

    __tablename__ = "record_act"  # type: ignore[mutable-override]  # SQLModel types it so

    id: str = Field(primary_key=True)
    metering_sn: str = Field(index=True)
    act: str  # billing_sync.states.Act
    author: str
    reason: str
    at: int = Field(sa_type=BigInteger)
