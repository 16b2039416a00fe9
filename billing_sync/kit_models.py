"""The tables of the joint-operation Kit (spec §5): tenants, applications, users, organisations.

Nobody is stored as there or not there. A row holds the newest time at which it was added (`granted`),
deleted or cancelled (`revoked`), and told about (`told`, see kit_marks): calls may come late, twice and
crossed, and leave the same rows. Times are the calls' own, UTC ms; `instance_id` is empty while the
seller applies for credentials.
"""

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel


def _big(default: int = 0) -> int:
    field: int = Field(default=default, sa_type=BigInteger)
    return field


class KitTenant(SQLModel, table=True):
    """An enterprise of an instance; whoever changes anything below it locks this row.

    `orgs_since` is the newest allOrgSync's time, `changes` counts the calls that were stored.
    """

    __tablename__ = "kit_tenant"  # type: ignore[mutable-override]  # SQLModel types it so

    instance_id: str = Field(primary_key=True)
    tenant_id: str = Field(primary_key=True, index=True)
    granted: int = _big()
    revoked: int = _big()
    told: int = _big()
    orgs_since: int = _big()
    changes: int = _big()
    code: str = ""  # login domain code
    name: str = ""
    domain_name: str = ""  # of its authorization centre, as it was told
    order_id: str = ""


class KitApp(SQLModel, table=True):
    """An application of a tenant, as whose client its people sign in."""

    __tablename__ = "kit_app"  # type: ignore[mutable-override]  # SQLModel types it so

    instance_id: str = Field(primary_key=True)
    tenant_id: str = Field(primary_key=True)
    app_id: str = Field(primary_key=True)
    granted: int = _big()
    revoked: int = _big()
    told: int = _big()
    client_id: str = ""
    sealed_secret: str = ""


class KitUser(SQLModel, table=True):
    """Who may use an application. Of what is told only what decides and what is shown is kept."""

    __tablename__ = "kit_user"  # type: ignore[mutable-override]  # SQLModel types it so

    instance_id: str = Field(primary_key=True)
    tenant_id: str = Field(primary_key=True)
    app_id: str = Field(primary_key=True)
    user_name: str = Field(primary_key=True)
    granted: int = _big()
    revoked: int = _big()
    told: int = _big()
    name: str = ""
    org_code: str = ""
    role: str = ""  # user | admin
    enabled: bool = False


class KitOrg(SQLModel, table=True):
    """A department of a tenant."""

    __tablename__ = "kit_org"  # type: ignore[mutable-override]  # SQLModel types it so

    instance_id: str = Field(primary_key=True)
    tenant_id: str = Field(primary_key=True)
    org_code: str = Field(primary_key=True)
    granted: int = _big()
    revoked: int = _big()
    told: int = _big()
    name: str = ""
    parent_code: str = ""
