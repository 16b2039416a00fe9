"""The tables of what somebody may have to look into: findings, and what Redis held at a reset."""

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel


class FindingRow(SQLModel, table=True):
    """What no count can explain (metering.findings.Finding), each once."""

    __tablename__ = "finding"  # type: ignore[mutable-override]  # SQLModel types it so

    id: int | None = Field(default=None, primary_key=True)
    identity: str = Field(unique=True)
    kind: str
    lane: str = Field(index=True)
    host: str
    at: int = Field(sa_type=BigInteger)
    request_id: str = ""
    customer_id: str = ""
    route: str = ""
    started: int = Field(default=0, sa_type=BigInteger)
    partition: int = -1
    first: int = Field(default=0, sa_type=BigInteger)
    last: int = Field(default=0, sa_type=BigInteger)
    detail: str = ""


class Salvage(SQLModel, table=True):
    """What Redis held when a partition was reset."""

    id: int | None = Field(default=None, primary_key=True)
    partition: int = Field(index=True)
    at: int = Field(sa_type=BigInteger)
    reason: str
    content: str  # JSON
