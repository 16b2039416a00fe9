"""How large a simulated month is, when it begins, and what takes part in it. Pure."""

from dataclasses import dataclass, field
from typing import Final

from metering.windows import HOUR_MS

START_MS: Final = 1_790_812_800_000  # 2026-10-01T00:00:00Z
DAY_MS: Final = 24 * HOUR_MS


@dataclass(frozen=True)
class Features:
    """What takes part besides hourly products and packages; each may be switched off."""

    daily: bool = True  # products that are billed by the day
    agents: bool = True  # products whose calls the marketplace's own gateway charges
    suspense: bool = True  # calls of people who bought nothing
    upgrades: bool = True  # by upgradeInstance; else by a renewal that changes the product


@dataclass(frozen=True)
class Terms:
    """Everything that decides a run: the same terms bring the same month."""

    customers: int
    days: int
    seed: int
    gateways: int = 3
    partitions: int = 8
    active: tuple[float, ...] = (
        0.02,
        0.05,
        0.1,
        0.2,
        0.5,
    )  # in which share of hours customers call
    features: Features = field(default_factory=Features)

    @property
    def end_ms(self) -> int:
        """The end of the last day."""
        return START_MS + self.days * DAY_MS

    @property
    def hours(self) -> range:
        """The begin of every hour, in ms."""
        return range(START_MS, self.end_ms, HOUR_MS)


def month(seed: int) -> Terms:
    """The month of `make prove`."""
    return Terms(customers=500, days=30, seed=seed, active=(0.01, 0.02, 0.05, 0.1, 0.3))


def three_days(seed: int) -> Terms:
    """Its small form: every kind of trouble, few customers."""
    return Terms(customers=30, days=3, seed=seed, gateways=2, partitions=2)
