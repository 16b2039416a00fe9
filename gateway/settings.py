"""What the data plane is told: listeners, routes, and how usage is read on each route."""

import ipaddress
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BeforeValidator,
    ByteSize,
    Discriminator,
    Field,
    SecretStr,
    Tag,
    field_validator,
    model_validator,
)

from gateway.amounts import Dialect
from gateway.onlooker_settings import AccessLogSettings
from metering.catalogue import Identifier, Strict
from metering.keys import sha256_hex

KEY_TEXT: Final = "<key>"  # how a key may be written; stands in the places pydantic names
KEY_SECTION: Final = "<key section>"
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Tls(Strict):
    """PEM files of a listener."""

    cert: str
    key: str


class JournalSettings(Strict):
    """How durable the journal is and how long its audit trail is kept."""

    fsync: Literal["interval", "always", "never"] = "interval"
    retention_days: Annotated[int, Field(ge=1)] = 35
    retention_bytes: ByteSize = ByteSize(10 << 30)
    segment_bytes: Annotated[ByteSize, Field(ge=1 << 20, le=1 << 30)] = ByteSize(8 << 20)


class WebSocketSettings(Strict):
    """Bounds of WebSockets. Seconds; without `max_duration` a session may last for ever.

    One that lasts is recorded every `record_every` seconds and not only at its end.
    """

    max_message_bytes: Annotated[ByteSize, Field(ge=1024, le=1 << 30)] = ByteSize(16 << 20)
    record_every: Annotated[float, Field(gt=0)] = 600.0
    max_duration: Annotated[float, Field(gt=0)] | None = None


class MetricsSettings(Strict):
    """What `/-/metrics` shows. `exemplars` name a request id for each bucket of request times, to
    those who ask for OpenMetrics."""

    exemplars: bool = False


QuotaPath = Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]*[A-Za-z0-9_~-])+$", max_length=256)]


class GatewaySettings(Strict):
    """The data plane's listeners and policies."""

    listen: str = "127.0.0.1:8080"
    admin_listen: str = "127.0.0.1:8083"
    public_url: str | None = None
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    shell: Literal["linerate", "portable"] = "linerate"
    tls: Tls | None = None
    trusted_proxies: list[str] = []
    trusted_peers: list[str] = []
    on_store_down: Literal["allow", "deny"] = "allow"
    entitlements_stale_after: Annotated[float, Field(ge=1)] = 30.0
    on_entitlements_stale: Literal["allow", "deny"] = "allow"
    streams_on_stop: Literal["finish", "cut"] = "finish"
    quota_path: QuotaPath | None = "/-/quota"
    max_head_bytes: Annotated[int, Field(ge=1024, le=1_048_576)] = 65_536
    drain_timeout: Annotated[float, Field(ge=0)] = 30.0
    websocket: WebSocketSettings = WebSocketSettings()
    metrics: MetricsSettings = MetricsSettings()
    access_log: AccessLogSettings = AccessLogSettings()
    journal: JournalSettings = JournalSettings()

    @field_validator("trusted_proxies", "trusted_peers")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for network in value:
            ipaddress.ip_network(network)
        return value


class Timeouts(Strict):
    """Seconds: to connect, to the end of the reply's head, between two pieces of its body."""

    connect: Annotated[float, Field(gt=0)] = 5
    head: Annotated[float, Field(gt=0)] = 300
    idle: Annotated[float, Field(gt=0)] = 300


class PoolSettings(Strict):
    """A worker's connections to each upstream of a route. Times in seconds."""

    max_connections: Annotated[int, Field(ge=1, le=65_536)] = 1024
    max_waiting: Annotated[int, Field(ge=0, le=65_536)] = 1024
    keepalive: Annotated[float, Field(gt=0)] = 3
    dns_ttl: Annotated[float, Field(ge=1)] = 30
    ca_file: str | None = None


class HealthSettings(Strict):
    """When one of several upstreams gets no calls: after how many failures, for how many seconds.

    `statuses` of a reply that count as failures too.
    """

    failures: Annotated[int, Field(ge=1)] = 3
    eject: Annotated[float, Field(gt=0)] = 5
    max_eject: Annotated[float, Field(gt=0)] = 60
    statuses: list[Literal[502, 503, 504]] = []


class UsageSettings(Strict):
    """How usage is read from the replies of a route."""

    dialect: Dialect = "auto"
    inject_stream_usage: Literal["auto", "never"] = "auto"
    normalize: bool = False
    on_disconnect: Literal["drain", "abort"] = "drain"
    missing: Literal["zero"] = "zero"

    @model_validator(mode="after")
    def _normal(self) -> "UsageSettings":
        if self.normalize and self.dialect == "none":
            raise ValueError("normalize needs the usage that dialect none does not read")
        return self


class Route(Strict):
    """One path prefix and where it goes. The longest matching prefix wins."""

    name: Identifier
    path: Annotated[str, Field(pattern=r"^/")]
    upstream: Annotated[list[str], Field(min_length=1)]
    strip_prefix: bool = False
    identity: list[Literal["api_key", "koogallery", "trusted"]] = [
        "api_key",
        "koogallery",
        "trusted",
    ]
    forward_authorization: bool = False
    timeouts: Timeouts = Timeouts()
    pool: PoolSettings = PoolSettings()
    health: HealthSettings = HealthSettings()
    usage: UsageSettings = UsageSettings()

    @field_validator("upstream")
    @classmethod
    def _http(cls, value: list[str]) -> list[str]:
        for url in value:
            if not url.startswith(("http://", "https://", "http+unix:///")):
                raise ValueError(f"{url!r} is not an http://, https:// or http+unix:/// URL")
        return value


class Meter(Strict):
    """A custom meter: where in the JSON of a reply its number stands, as `$.usage.pages`.

    `times`: as many are counted for 1, such as 1000 of milliseconds where seconds are said. Of a
    request also the bytes or characters of a text are counted.
    """

    path: Annotated[str, Field(pattern=r"^\$(\.[A-Za-z0-9_-]+)+$")]
    of: Literal["reply", "request"] = "reply"
    count: Literal["value", "bytes", "characters"] = "value"
    times: Annotated[int, Field(ge=1, le=1_000_000_000)] = 1

    @model_validator(mode="after")
    def _fits(self) -> "Meter":
        if self.count != "value" and self.of == "reply":
            raise ValueError(f"count {self.count} is of requests; add `of: request`")
        if self.count != "value" and self.times != 1:
            raise ValueError("times belongs to numbers; remove it or count")
        return self


class StaticInstance(Strict):
    """An instance that the configuration itself declares."""

    id: Identifier
    product: Identifier


def _moment(given: Any) -> datetime:
    """YAML reads unquoted times by itself; one without a zone is UTC, a day begins at midnight."""
    try:
        if isinstance(given, str):
            given = datetime.fromisoformat(given)
        elif isinstance(given, date) and not isinstance(given, datetime):
            given = datetime.combine(given, time())
    except ValueError:
        given = None
    if not isinstance(given, datetime):
        raise ValueError("write a time such as 2027-01-31T00:00:00Z")  # noqa: TRY004  (pydantic's way)
    try:
        return given.astimezone(UTC) if given.tzinfo else given.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError("beyond all calendars; leave it out for never") from None


class StaticKey(Strict):
    """An API key that the configuration declares, or its SHA-256 in hex.

    It is good until `expires`, for these `routes` or, without any, for all.
    """

    key: SecretStr | None = None
    hash: Sha256 | None = None
    name: Annotated[str, Field(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    expires: Annotated[datetime, BeforeValidator(_moment)] | None = None
    routes: list[Identifier] = []

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.key is None) == (self.hash is None):
            raise ValueError("write key, or hash in its place")
        return self

    @property
    def sha256(self) -> str:
        """Of the key, in hex."""
        return self.hash or sha256_hex(self.key.get_secret_value() if self.key else "")

    @property
    def expires_ms(self) -> int:
        """UTC; 0 for never, which no time is."""
        return max(1, int(self.expires.timestamp() * 1000)) if self.expires else 0


def _form(given: Any) -> str:
    return KEY_SECTION if isinstance(given, dict | StaticKey) else KEY_TEXT


class Customer(Strict):
    """A static customer: for merchants without a marketplace, and for tests."""

    id: Identifier
    name: str = ""
    keys: list[
        Annotated[
            Annotated[SecretStr, Tag(KEY_TEXT)] | Annotated[StaticKey, Tag(KEY_SECTION)],
            Discriminator(_form),
        ]
    ] = []
    key_hashes: list[Sha256] = []
    instances: list[StaticInstance] = []

    def declared_keys(self) -> list[StaticKey]:
        """All of them, in whatever form they are written."""
        written = [k if isinstance(k, StaticKey) else StaticKey(key=k) for k in self.keys]
        return [*written, *(StaticKey(hash=each) for each in self.key_hashes)]


Meters = Mapping[str, Meter]
