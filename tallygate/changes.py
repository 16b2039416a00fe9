"""What differs between two configurations, and which of it a running installation can take over. Pure."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeVar

from pydantic import BaseModel

from billing_sync.settings import KooGallerySettings
from tallygate.config_schema import Config

AGENTS: Final = frozenset(
    f"koogallery.{name}"
    for name in ("agent_apps", "jwt_header", "jwt_tolerance", "constant_header")
)
AT_ONCE: Final = frozenset(
    {
        "routes",
        "meters",
        "products",
        "customers",
        "limits.default",
        "limits.customers",
        "limits.keys",
        "limits.routes",
        "limits.shadow",
        "gateway.trusted_proxies",
        "gateway.trusted_peers",
    }
    | AGENTS
)
# Those of the control plane, which is started anew by a supervisor: nothing is served there that a
# second's pause breaks.
OF_CONTROL: Final = frozenset(
    {"products", "customers", "billing", "alerts", "gateway.public_url"}
    | {f"control.{name}" for name in ("public_url", "admin_token", "links", "sign_in")}
    | {
        f"limits.{name}" for name in ("default", "customers", "shadow")
    }  # as customers are shown them
    | ({f"koogallery.{name}" for name in KooGallerySettings.model_fields} - AGENTS)
)
# Where the two planes meet: neither may go on alone with another one.
_SHARED: Final = frozenset({"data_dir", "redis", "database", "partitions", "secret_key"})

_Model = TypeVar("_Model", bound=BaseModel)


class Change(NamedTuple):
    """What differs between the configuration that runs and the one that was read. Names of keys."""

    names: frozenset[str]

    @property
    def at_once(self) -> frozenset[str]:
        """What gateway workers take over."""
        return self.names & AT_ONCE

    @property
    def renews_control(self) -> bool:
        """Whether the control plane needs a new process for it, and may have one."""
        return bool(self.names & OF_CONTROL) and not self.names & _SHARED

    def waits(self, *, supervised: bool) -> list[str]:
        """What is left as it was until a restart."""
        done = AT_ONCE | (OF_CONTROL if supervised and self.renews_control else frozenset())
        return sorted(self.names - done)


def difference(running: Config, read: Config) -> Change:
    """What is not the same. Pure."""
    return Change(frozenset(_differing(running, read, "")))


def _differing(one: BaseModel, other: BaseModel, prefix: str) -> Iterator[str]:
    for name in type(one).model_fields:
        before, now = getattr(one, name), getattr(other, name)
        if before == now:
            continue
        place = f"{prefix}{name}"
        if not prefix and isinstance(before, BaseModel) and place not in OF_CONTROL:
            yield from _differing(before, now, f"{place}.")
        else:
            yield place


def merged(running: Config, read: Config, names: frozenset[str]) -> Config:
    """The running configuration with what was read for these keys. Pure."""
    return _merged(running, read, names, "")


def _merged(running: _Model, read: _Model, names: frozenset[str], prefix: str) -> _Model:
    update: dict[str, Any] = {}
    for name in type(running).model_fields:
        place = f"{prefix}{name}"
        if place in names:
            update[name] = getattr(read, name)
        elif any(each.startswith(f"{place}.") for each in names):
            update[name] = _merged(getattr(running, name), getattr(read, name), names, f"{place}.")
    return running.model_copy(update=update)
