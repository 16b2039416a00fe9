"""Decides which new records a person should see before they are pushed. Pure.

What was collected into a bill cannot be reversed (spec §7.2, rule 5), so a record that is far from
what its instance usually uses, or that rests on our own estimates, waits a few minutes.
"""

from collections.abc import Sequence
from decimal import Decimal
from statistics import median
from typing import Final, NamedTuple

from metering.windows import HOUR_MS

LEAST: Final = 3  # fewer records say nothing about what an instance usually uses
_SPARE_MS: Final = 180_000  # from a release to the deadline, for the push itself


class Rule(NamedTuple):
    """When to hold (settings.HoldSettings); None switches a rule off. `above` is in billing units."""

    times: Decimal | None
    above: Decimal
    estimated_share: Decimal | None


class Evidence(NamedTuple):
    """What is known about a record.

    `earlier` are the values of its instance's last records, `used` the usage behind it in meter
    units, `estimated` the part of that which was estimated.
    """

    value: Decimal
    earlier: Sequence[Decimal]
    used: int
    estimated: int


class Reason(NamedTuple):
    """Why a record is held: a word for programs, a sentence for people."""

    code: str
    text: str


def judge(rule: Rule, seen: Evidence) -> Reason | None:
    """Why the record is to be held; None when it may go."""
    return _far_from_usual(rule, seen) or _estimated(rule, seen)


def release_at(now_ms: int, *, push_by_ms: int, deadline_ms: int) -> int:
    """When a record that is held now goes by itself: at the next `push_by` of an hour, or early
    enough for its deadline, should that be sooner."""
    next_one = (now_ms - push_by_ms) // HOUR_MS * HOUR_MS + HOUR_MS + push_by_ms
    return max(min(next_one, deadline_ms - _SPARE_MS), now_ms)


def _far_from_usual(rule: Rule, seen: Evidence) -> Reason | None:
    if rule.times is None or len(seen.earlier) < LEAST or seen.value <= rule.above:
        return None
    usual = median(seen.earlier)
    if seen.value <= usual * rule.times:
        return None
    return Reason(
        "baseline",
        f"{seen.value} billing units are more than {rule.times} times {usual}, the median of the "
        f"instance's last {len(seen.earlier)} records",
    )


def _estimated(rule: Rule, seen: Evidence) -> Reason | None:
    if rule.estimated_share is None or seen.estimated <= seen.used * rule.estimated_share:
        return None
    return Reason(
        "estimated",
        f"{seen.estimated} of {seen.used} meter units were estimated, more than the share "
        f"{rule.estimated_share}",
    )
