"""What a call of the joint-operation Kit says, of either version (spec §5). Pure."""

from dataclasses import dataclass, field
from enum import StrEnum

from billing_sync.kit_marks import Flag


class Sync(StrEnum):
    """The five interfaces, which are the last parts of their paths."""

    TENANT = "tenantSync"
    APPLICATION = "applicationSync"
    AUTH = "authSync"
    ONE_ORG = "singleOrgSync"
    ALL_ORGS = "allOrgSync"


@dataclass(frozen=True, slots=True)
class TenantTold:
    """An enterprise; `code` belongs to an addition, a modification leaves it."""

    code: str
    name: str
    domain_name: str
    order_id: str


@dataclass(frozen=True, slots=True)
class AppTold:
    """An application. `secret` is as the marketplace encrypted it, and in the store as we sealed it."""

    app_id: str
    client_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class UserTold:
    """A person, as far as it is kept."""

    user_name: str
    name: str
    org_code: str
    role: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class UsersTold:
    """People of one application."""

    app_id: str
    users: tuple[UserTold, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class OrgTold:
    """A department; `parent_code` is empty on top."""

    org_code: str
    name: str
    parent_code: str


@dataclass(frozen=True, slots=True)
class TreeTold:
    """Every department of a tenant: those that are not listed are gone."""

    orgs: tuple[OrgTold, ...] = field(repr=False)


Told = TenantTold | AppTold | UsersTold | OrgTold | TreeTold


@dataclass(frozen=True, slots=True)
class KitCall:
    """One call that was read. `at` is its own time in UTC ms, by which calls are put in order."""

    sync: Sync
    instance_id: str
    tenant_id: str
    flag: Flag  # ADD for allOrgSync, which has none
    at: int
    told: Told
    test: bool = False
