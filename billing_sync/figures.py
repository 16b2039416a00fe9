"""The cumulative figures that queryInstance shows, as the marketplace's side asks for them. Pure.

Not to be confused with usage records, which are pushed: a figure is a sum over an instance's life.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol


@dataclass(frozen=True, slots=True)
class UsageFigure:
    """One entry of `usageInfo` (spec §2.7).

    `value` is in billing units, rounded down to at most four decimals: everything used so far, or
    what a package has given. `related_instance_id` is the pay-per-use instance a package gave to.
    """

    related_instance_id: str | None
    value: Decimal
    at_ms: int


class UsageFigures(Protocol):
    """Where figures come from. May be slow and may raise; the caller bounds both."""

    async def for_instances(
        self, instance_ids: Sequence[str]
    ) -> Mapping[str, Sequence[UsageFigure]]: ...
