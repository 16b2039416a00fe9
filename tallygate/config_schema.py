"""The configuration as models: the sections of both planes, composed. No rules across sections."""

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, SecretStr

from billing_sync.alert_settings import AlertSettings
from billing_sync.settings import BillingSettings, ControlSettings, KooGallerySettings
from gateway.limit_settings import Limits
from gateway.onlooker_settings import TracingSettings
from gateway.settings import Customer, GatewaySettings, Meter, Route
from metering.catalogue import Identifier, Product, Strict

EMBEDDED: Final = "embedded"


class LogSettings(Strict):
    """How processes write their log, and from which level on."""

    format: Literal["auto", "json", "pretty"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(Strict):
    """One installation, frozen. Paths are absolute once loaded; secrets stay hidden in every repr.

    `redis` and `database` are left out of the repr because a URL may hold a password.
    """

    data_dir: Path = Path("./var")
    redis: Annotated[str, Field(repr=False)] = EMBEDDED
    database: Annotated[str, Field(repr=False)] = EMBEDDED
    partitions: Annotated[int, Field(ge=1, le=4096)] = 64
    secret_key: SecretStr | None = None
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()
    gateway: GatewaySettings = GatewaySettings()
    control: ControlSettings = ControlSettings()
    routes: list[Route] = Field(default_factory=list)
    meters: dict[Identifier, Meter] = Field(default_factory=dict)
    products: list[Product] = Field(default_factory=list)
    billing: BillingSettings = BillingSettings()
    alerts: AlertSettings = AlertSettings()
    customers: list[Customer] = Field(default_factory=list)
    limits: Limits = Limits()
    koogallery: KooGallerySettings = KooGallerySettings()
