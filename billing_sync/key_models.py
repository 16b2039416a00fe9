"""The tables of API keys, and of when each was last used, those of the configuration too."""

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel


class ApiKey(SQLModel, table=True):
    """A customer's key: its keyed digest, and the sealed copy that appInfo hands over.

    `shown` is its beginning, `expires` 0 for never, `routes` a JSON list of those it is for, `[]` for
    all. A rotated key names the one in its place. `source` is who made it: the first purchase, or
    an operator.
    """

    __tablename__ = "api_key"  # type: ignore[mutable-override]  # SQLModel types it so

    id: int | None = Field(default=None, primary_key=True)
    customer_id: str = Field(index=True)
    digest: str = Field(unique=True)
    sealed: str = ""
    created: int = Field(sa_type=BigInteger)
    revoked: int = Field(default=0, sa_type=BigInteger)
    expires: int = Field(default=0, sa_type=BigInteger)
    replaced_by: int | None = None
    name: str = ""
    shown: str = ""
    routes: str = "[]"
    source: str = "koogallery"


class KeyUse(SQLModel, table=True):
    """`key_id` as gateways know it; `at` is within seconds of the last call that was let in."""

    __tablename__ = "key_use"  # type: ignore[mutable-override]  # SQLModel types it so

    key_id: str = Field(primary_key=True)
    at: int = Field(sa_type=BigInteger)
