"""The table of when each API key was last used, those of the configuration too."""

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel


class KeyUse(SQLModel, table=True):
    """`key_id` as gateways know it; `at` is within seconds of the last call that was let in."""

    __tablename__ = "key_use"  # type: ignore[mutable-override]  # SQLModel types it so

    key_id: str = Field(primary_key=True)
    at: int = Field(sa_type=BigInteger)
