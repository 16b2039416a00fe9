"""What the simulator is told at its start. Keys never show in a repr."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from .schedule import BEIJING
from .usage import Rules

PushAuth = Literal["signature", "aksk", "both"]
PUSH_AUTHS: tuple[str, ...] = get_args(PushAuth)


@dataclass(frozen=True)
class SimulatorSettings:
    """Keys of one seller and the marketplace's patience, in seconds.

    `access_key` is the key bound to the base interface (spec §2.2, §7.1); `ak` and `sk` sign the
    open APIs (§7.6). `collect_at_minute` is 15 at the real marketplace (§7.2), and then daily
    products are collected at 01:00 of `zone`; None collects only on demand or every
    `collect_every` seconds. `validation_delay` is how long after its arrival a record is judged;
    `faults` are those at the start, as `Faults.set` takes them. `kit_key` signs the Kit's syncs,
    whose clientSecret is encrypted with the merchant's `public_key` (§5); `app_key` and `app_secret`
    may sign the calls about authorization codes in place of AK and SK (§4.2).
    """

    access_key: str = field(repr=False)
    ak: str = field(repr=False)
    sk: str = field(repr=False)
    production_url: str | None = None
    kit_key: str = field(default="", repr=False)
    public_key: RSAPublicKey | None = field(default=None, repr=False)
    app_key: str = ""
    app_secret: str = field(default="", repr=False)
    push_auth: PushAuth = "both"
    collect_every: float | None = None
    collect_at_minute: int | None = None
    zone: str = BEIJING
    validation_delay: float = 0.0
    refuse_frozen: bool = False
    faults: Mapping[str, object] = field(default_factory=dict)
    callback_timeout: float = 20.0  # spec §9 check 2
    create_attempts: int = 3
    create_interval: float = 0.25  # the marketplace waits an hour (§2.13)
    poll_attempts: int = 40
    poll_interval: float = 0.25

    @property
    def rules(self) -> Rules:
        return Rules(
            validation_delay_ms=round(self.validation_delay * 1000),
            collect_at_minute=self.collect_at_minute,
            zone=self.zone,
            refuse_frozen=self.refuse_frozen,
        )
