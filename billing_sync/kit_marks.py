"""Who of a tenant is there, from the times at which the marketplace said so (spec §5). Pure.

Only the newest time of each kind counts, so any order and number of calls ends in the same state: that
of the same calls in the order of their own times. In one millisecond a deletion outweighs an addition,
and a modification the addition's data.
"""

from dataclasses import dataclass, replace
from enum import IntEnum


class Flag(IntEnum):
    """What a call of the Kit does. Cancelling takes the authorization, as deleting does."""

    DELETE = 0
    ADD = 1
    MODIFY = 2
    CANCEL = 3

    @property
    def revokes(self) -> bool:
        """Whether it takes something away; then nobody checks that the instance exists."""
        return self in (Flag.DELETE, Flag.CANCEL)


@dataclass(frozen=True, slots=True)
class Marks:
    """The newest times of one row, UTC ms; 0 is never.

    `told` is twice the time of the newest data, and one more where they came as a modification. Data of
    a modification are kept until an addition comes; alone they let nobody in.
    """

    granted: int = 0
    revoked: int = 0
    told: int = 0

    @property
    def newest(self) -> int:
        """When this row was last spoken of."""
        return max(self.granted, self.revoked, self.told // 2)

    @property
    def holds_data(self) -> bool:
        """False where whoever comes back brings newer ones, so that these need not be kept."""
        return self.told // 2 > self.revoked

    def is_alive(self, floor: int = 0) -> bool:
        """Whether it is there; `floor` is when what it belongs to was last taken away."""
        return self.granted > max(self.revoked, floor)

    def after(self, flag: Flag, at: int) -> "Marks":
        """With one call more."""
        if flag.revokes:
            return replace(self, revoked=max(self.revoked, at))
        granted = max(self.granted, at) if flag is Flag.ADD else self.granted
        return replace(self, granted=granted, told=max(self.told, told(flag, at)))

    def takes_data(self, flag: Flag, at: int) -> bool:
        """Whether the call's data are the newest; of two equal calls the later one's count."""
        return not flag.revokes and told(flag, at) >= self.told and at > self.revoked


def told(flag: Flag, at: int) -> int:
    """The mark of a call's data."""
    return 2 * at + (flag is Flag.MODIFY)
