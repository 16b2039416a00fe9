"""What the control plane is told: listeners, the marketplace, and when to bill."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, field_validator

from billing_sync.people_settings import LinkSettings, SignInSettings
from metering.catalogue import Strict


class Tls(Strict):
    """PEM files of a listener."""

    cert: str
    key: str


class MetricsSettings(Strict):
    """How many customers and package quotas `/metrics` names one by one; all others are one sum."""

    customers: Annotated[int, Field(ge=0, le=1000)] = 50
    packages: Annotated[int, Field(ge=0, le=1000)] = 50


class ControlSettings(Strict):
    """The control plane's listeners. `public_url` is told to KooGallery and to buyers."""

    listen: str = "127.0.0.1:8081"
    admin_listen: str = "127.0.0.1:8082"
    public_url: str | None = None
    admin_token: SecretStr | None = None
    tls: Tls | None = None
    links: LinkSettings = LinkSettings()
    sign_in: SignInSettings = SignInSettings()
    metrics: MetricsSettings = MetricsSettings()


class HoldSettings(Strict):
    """Which new records wait for a person before they are pushed. Off unless `times` or
    `estimated_share` is given.

    `times`: a value of more than so many times the median of the instance's last `baseline` records.
    `above`: smaller values, in billing units, are never compared with it. `estimated_share`: more than
    this share of the usage behind the record is of grade `estimated`.
    """

    times: Annotated[Decimal, Field(gt=1)] | None = None
    above: Annotated[Decimal, Field(ge=0)] = Decimal(0)
    estimated_share: Annotated[Decimal, Field(ge=0, lt=1)] | None = None
    baseline: Annotated[int, Field(ge=3, le=1000)] = 24

    @property
    def is_on(self) -> bool:
        """Whether any record can be held by rule."""
        return self.times is not None or self.estimated_share is not None


class BillingSettings(Strict):
    """When windows close and records are pushed.

    `push_by`: until when a held record waits, 00:MM past each hour, so that it still makes the
    collection at minute 15 (spec §7.2, rule 5).
    """

    grace: Annotated[str, Field(pattern=r"^\d+s$")] = "120s"
    push_by: Annotated[str, Field(pattern=r"^00:(0\d|1[0-4])$")] = "00:12"
    day_zone: str | None = None  # IANA name; see zones.py for the default
    hold: HoldSettings = HoldSettings()

    @property
    def grace_ms(self) -> int:
        return int(self.grace[:-1]) * 1000

    @property
    def push_by_ms(self) -> int:
        """After the full hour."""
        return int(self.push_by[3:]) * 60_000


# A field that a server reads itself, or that every caller may set, proves nothing.
_NO_PROOF = frozenset(
    [
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "forwarded",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-customer-id",
        "x-customer-name",
        "x-request-id",
    ]
)


def _proving(name: str) -> str:
    if name.lower() in _NO_PROOF or name.lower().startswith("x-forwarded-"):
        raise ValueError(f"{name} has another meaning; choose another header")
    return name


HeaderName = Annotated[
    str,
    Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$"),
    AfterValidator(_proving),
]


def _not_empty(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value():
        raise ValueError("is empty: anybody could prove to be the Agents gateway")
    return secret


Secret = Annotated[SecretStr, AfterValidator(_not_empty)]


class AgentApp(Strict):
    """An APP key pair of the Agents gateway (spec §1.5).

    While the secret changes, the key may be listed with both.
    """

    app_key: Annotated[str, Field(min_length=1, max_length=256)]
    app_secret: Secret


class ConstantHeader(Strict):
    """The self-defined alternative to the JWT (spec §1.5): who sends it is the Agents gateway."""

    name: HeaderName
    value: Secret

    @field_validator("value")
    @classmethod
    def _legible(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if text != text.strip() or not text.isascii() or not text.isprintable():
            raise ValueError("must be printable ASCII without blanks around it")
        return value


class LicenceSettings(Strict):
    """Who makes licences, and how long that may take (spec §4).

    `maker` is `package.module:function`, or a URL that is posted to; `secrets` sign what is posted,
    as webhooks are. `app_key` and `app_secret`: APP authentication for authorization codes, in place
    of `ak` and `sk`. `unknown_codes`: what a call about a code is answered that nobody activated here.
    """

    maker: Annotated[str | None, Field(max_length=2048, repr=False)] = None  # may hold a token
    secrets: Annotated[list[SecretStr], Field(max_length=8)] = []
    timeout: Annotated[float, Field(gt=0, le=600)] = 30.0
    answer_within: Annotated[float, Field(ge=0, le=4)] = 2.0
    app_key: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    app_secret: SecretStr | None = None
    unknown_codes: Literal["refuse", "accept"] = "refuse"

    @property
    def is_hook(self) -> bool:
        """Whether the maker is asked over HTTP."""
        return self.maker is not None and "://" in self.maker


class KooGallerySettings(Strict):
    """Keys and hosts of the marketplace."""

    site: Literal["cn", "intl", "eu"] = "cn"
    base_url: str | None = None
    access_key: SecretStr | None = None
    kit_key: SecretStr | None = None
    ak: SecretStr | None = None
    sk: SecretStr | None = None
    push_auth: Literal["signature", "aksk", "both"] = "both"
    push_interface: Literal["new", "old"] = "new"  # spec §7.1 and §7.4
    create_per: Literal["line", "product"] = "line"
    agent_apps: list[AgentApp] = []
    jwt_header: HeaderName = "Authorization"
    jwt_tolerance: Annotated[str, Field(pattern=r"^\d{1,5}s$")] = "60s"  # between the clocks
    constant_header: ConstantHeader | None = None
    private_key_file: str | None = None
    licence: LicenceSettings = LicenceSettings()
    encrypt_bits: Literal[128, 256] = 256  # V1.0, as chosen when the product was published
    # Buyers' data of released instances; the frozen period before the release is 15 days (spec §2.15).
    keep_released_days: Annotated[int, Field(ge=0, le=36500)] = 15
    v1_max_age: Annotated[str, Field(pattern=r"^[1-9]\d{0,7}s$")] = "86400s"

    @property
    def jwt_tolerance_ms(self) -> int:
        return int(self.jwt_tolerance[:-1]) * 1000

    @property
    def v1_max_age_ms(self) -> int:
        """How old the `timeStamp` of a V1.0 call may be: the marketplace states no bound, and a
        call that is repeated changes nothing."""
        return int(self.v1_max_age[:-1]) * 1000

    @property
    def keep_released_ms(self) -> int:
        """How long buyers' data outlive the release of their instance."""
        return self.keep_released_days * 86_400_000

    @property
    def host(self) -> str:
        """Base URL of the open APIs (spec §7)."""
        return self.hosts[0]

    @property
    def hosts(self) -> tuple[str, ...]:
        """The same, and the fallback where the site has one."""
        return (self.base_url.rstrip("/"),) if self.base_url else _HOSTS[self.site]


_HOSTS = {
    "cn": ("https://mkt.myhuaweicloud.com", "https://mkt.myhuaweicloud.cn"),
    "intl": ("https://mkt-intl.myhuaweicloud.com", "https://mkt.myhuaweicloud.cn"),
    "eu": ("https://mkt.myhuaweicloud.eu",),
}
