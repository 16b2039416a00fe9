"""What the standing of what a customer bought means for a call: it passes, or how it is answered. Pure.

The one table of these answers, in English and Chinese; docs/answers.md shows it. After its expiry an
instance may still be renewed for 15 days, unusable meanwhile (spec §2.15); then it is released.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from metering.entitlement import EntitledInstance, InstanceStatus

GRACE_MS: Final = 15 * 86_400_000


class Standing(StrEnum):
    """How what was bought stands at a moment."""

    ACTIVE = "active"
    TRIAL = "trial"
    CREATING = "creating"
    FROZEN = "frozen"
    IN_GRACE = "in_grace"  # expired, and may be renewed
    TRIAL_OVER = "trial_over"  # the same of what was not paid for
    RELEASED = "released"
    NOT_BOUGHT = "not_bought"
    USED_UP = "used_up"  # of a package that stops before excess


class Answer(NamedTuple):
    """How a call is refused; after `retry_after_s` it may be worth another try, 0 for hardly."""

    status: int
    code: str
    text: str
    text_zh: str
    retry_after_s: int = 0


REFUSALS: Final[Mapping[Standing, Answer]] = {
    Standing.CREATING: Answer(
        403,
        "instance_not_ready",
        "Your instance is still being created. Try again in a moment.",
        "您的实例正在开通，请稍后重试。",
        5,
    ),
    Standing.FROZEN: Answer(
        403,
        "instance_frozen",
        "Your instance is frozen. Renew it, or settle what is due, to go on.",
        "您的实例已被冻结，请续费或结清欠款后继续使用。",
    ),
    Standing.IN_GRACE: Answer(
        403,
        "instance_expired",
        "Your instance has expired. Renew it within 15 days of that to go on with it.",
        "您的实例已到期，请在到期后15天内续费以继续使用。",
    ),
    Standing.TRIAL_OVER: Answer(
        403,
        "trial_over",
        "Your trial is over. Buy the product to go on.",
        "您的试用已结束，请购买商品后继续使用。",
    ),
    Standing.RELEASED: Answer(
        403,
        "instance_released",
        "Your instance has been released. Buy the product again to go on.",
        "您的实例已被释放，请重新购买商品后继续使用。",
    ),
    Standing.NOT_BOUGHT: Answer(
        403,
        "not_entitled",
        "You have not bought a product that is sold here.",
        "您尚未购买此处提供的商品。",
    ),
    Standing.USED_UP: Answer(
        402,
        "package_used_up",
        "Your package is used up. Buy another one to go on.",
        "您的套餐包已用完，请购买新的套餐包后继续使用。",
    ),
}
"""`ACTIVE` and `TRIAL` are not in it: those calls pass."""

_PASSING: Final = (Standing.ACTIVE, Standing.TRIAL)
# Of several instances of one product the customer is told about the one that is nearest to use.
_NEAREST: Final = (
    Standing.FROZEN,
    Standing.IN_GRACE,
    Standing.TRIAL_OVER,
    Standing.CREATING,
    Standing.RELEASED,
)
# What would go unpaid beside other products; a released one was given up, one to come costs nothing.
STOPPING: Final = frozenset({Standing.FROZEN, Standing.IN_GRACE, Standing.TRIAL_OVER})


def standing_of(instance: EntitledInstance, now_ms: int) -> Standing:
    """How an instance stands now (UTC ms)."""
    expired = 0 < instance.expires <= now_ms
    if instance.status is InstanceStatus.RELEASED or (
        expired and instance.expires + GRACE_MS <= now_ms
    ):
        return Standing.RELEASED
    if instance.status is InstanceStatus.CREATING:
        return Standing.CREATING
    if expired:
        return Standing.TRIAL_OVER if instance.trial else Standing.IN_GRACE
    if instance.status is InstanceStatus.FROZEN:
        return Standing.FROZEN
    return Standing.TRIAL if instance.trial else Standing.ACTIVE


def passes(standing: Standing) -> bool:
    """Whether calls are served that are charged to what stands so."""
    return standing in _PASSING


def nearest(standings: set[Standing]) -> Standing:
    """Which of the standings that refuse is said; without any nothing was bought."""
    return next((each for each in _NEAREST if each in standings), Standing.NOT_BOUGHT)
