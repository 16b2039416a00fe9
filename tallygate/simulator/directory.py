"""A company at the marketplace: tenants with their apps, people and departments. Pure, bounded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from .errors import BadRequest, NotFound

MAX_TENANTS: Final = 100
MAX_OF_TENANT: Final = 20_000
ADMIN: Final = "admin"
Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Org:
    """A department; `parent_code` is empty for one at the top."""

    code: str
    name: str
    parent_code: str = ""


@dataclass(frozen=True)
class Person:
    """A user of the tenant; `more` are the optional fields of spec §5 by their names."""

    user_name: str
    name: str
    org_code: str
    role: str = "user"
    enabled: bool = True
    more: Mapping[str, object] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class App:
    """What the merchant signs people in with. The secret never shows in a repr."""

    app_id: str
    client_id: str
    client_secret: str = field(repr=False)
    redirect_uris: tuple[str, ...] = ()


@dataclass
class Tenant:
    """A company. `domain_name` is the address of its sign-in, with its scheme."""

    tenant_id: str
    tenant_code: str
    name: str
    domain_name: str
    instance_id: str
    order_id: str
    apps: dict[str, App] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)
    orgs: dict[str, Org] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """Without the secrets of the apps."""
        return {
            "tenant_id": self.tenant_id,
            "name": self.name,
            "domain_name": self.domain_name,
            "instance_id": self.instance_id,
            "apps": {app.app_id: app.client_id for app in self.apps.values()},
            "people": {person.user_name: person.role for person in self.people.values()},
            "orgs": {org.code: org.name for org in self.orgs.values()},
        }


class Directory:
    """All tenants of one seller."""

    def __init__(self) -> None:
        self.tenants: dict[str, Tenant] = {}

    def put(self, tenant: Tenant) -> None:
        """A new one, or the same one changed: its people stay. Raises BadRequest."""
        known = self.tenants.get(tenant.tenant_id)
        if known is not None:
            tenant.apps, tenant.people, tenant.orgs = known.apps, known.people, known.orgs
        keep(self.tenants, tenant.tenant_id, tenant, MAX_TENANTS)

    def tenant(self, tenant_id: str) -> Tenant:
        """Raises NotFound."""
        if tenant_id not in self.tenants:
            raise NotFound(f"tenant {tenant_id!r} is unknown; PUT /_sim/tenants/ID makes one")
        return self.tenants[tenant_id]

    def app_of(self, client_id: str) -> tuple[Tenant, App] | None:
        """Whose client this is."""
        return next(
            (
                (tenant, app)
                for tenant in self.tenants.values()
                for app in tenant.apps.values()
                if app.client_id == client_id
            ),
            None,
        )


def keep(kept: dict[str, Kept], name: str, value: Kept, most: int = MAX_OF_TENANT) -> bool:
    """Adds or replaces; whether it was new. Raises BadRequest when there are too many."""
    is_new = name not in kept
    if is_new and len(kept) >= most:
        raise BadRequest(f"there are {most} already; delete some first")
    kept[name] = value
    return is_new
