"""The tables of how people get to their pages: revoked links, and sessions of tenants' users.

Times are UTC ms. No id of a session and no token stands here in the clear.
"""

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel


def _big(default: int | None = None) -> int:
    field: int = Field(default=default, sa_type=BigInteger)
    return field


class LinkRevision(SQLModel, table=True):
    """How often all links of a customer were revoked; no row is never."""

    __tablename__ = "link_revision"  # type: ignore[mutable-override]  # SQLModel types it so

    customer_id: str = Field(primary_key=True)
    revision: int
    at: int = _big()


class PersonSession(SQLModel, table=True):
    """A tenant's user who is signed in. `id` is the keyed digest of what his browser holds.

    `sealed` are the tenant's tokens, encrypted; the access token is good until `renew_at`. What he may
    see is not kept here: it is looked up with every request.
    """

    __tablename__ = "person_session"  # type: ignore[mutable-override]  # SQLModel types it so

    id: str = Field(primary_key=True)
    tenant_id: str = Field(index=True)
    app_id: str
    user_name: str
    created: int = _big()
    seen: int = _big()
    ends: int = Field(sa_type=BigInteger, index=True)
    sealed: str
    renew_at: int = _big()
