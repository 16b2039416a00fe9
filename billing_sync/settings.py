"""What the control plane is told: listeners, the marketplace, and when to bill."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from metering.catalogue import Strict


class Tls(Strict):
    """PEM files of a listener."""

    cert: str
    key: str


class ControlSettings(Strict):
    """The control plane's listeners. `public_url` is told to KooGallery and to buyers."""

    listen: str = "127.0.0.1:8081"
    admin_listen: str = "127.0.0.1:8082"
    public_url: str | None = None
    admin_token: SecretStr | None = None
    tls: Tls | None = None


class BillingSettings(Strict):
    """When windows close and records are pushed."""

    grace: Annotated[str, Field(pattern=r"^\d+s$")] = "120s"
    push_by: Annotated[str, Field(pattern=r"^\d\d:\d\d$")] = "00:12"
    day_zone: str | None = None  # IANA name; see zones.py for the default
    hold: dict[str, object] = {}

    @property
    def grace_ms(self) -> int:
        return int(self.grace[:-1]) * 1000


class AgentApp(Strict):
    """An APP key pair of the Agents gateway (spec §1.5)."""

    app_key: str
    app_secret: SecretStr


class ConstantHeader(Strict):
    """The self-defined alternative to the JWT (spec §1.5)."""

    name: str
    value: SecretStr


class KooGallerySettings(Strict):
    """Keys and hosts of the marketplace."""

    site: Literal["cn", "intl", "eu"] = "cn"
    base_url: str | None = None
    access_key: SecretStr | None = None
    kit_key: SecretStr | None = None
    ak: SecretStr | None = None
    sk: SecretStr | None = None
    push_auth: Literal["signature", "aksk", "both"] = "both"
    create_per: Literal["line", "product"] = "line"
    agent_apps: list[AgentApp] = []
    jwt_header: str = "Authorization"
    constant_header: ConstantHeader | None = None
    private_key_file: str | None = None
    encrypt_bits: Literal[128, 256] = 256

    @property
    def host(self) -> str:
        """Base URL of the open APIs (spec §7)."""
        return (self.base_url or _HOSTS[self.site]).rstrip("/")


_HOSTS = {
    "cn": "https://mkt.myhuaweicloud.com",
    "intl": "https://mkt-intl.myhuaweicloud.com",
    "eu": "https://mkt.myhuaweicloud.eu",
}
