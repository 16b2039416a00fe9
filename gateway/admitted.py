"""The verdict on a call that may pass."""

from dataclasses import dataclass, field

from gateway.brakes import Brakes
from metering.entitlement import EntitlementSnapshot
from metering.usage import Account, Charge


@dataclass(slots=True)
class Admitted:
    """Who makes a call that may pass, and what it is charged to.

    `grounds` is what was known of the customer; None for one nobody has told us of. `key_id` is
    empty for callers without an API key; the verdict holds until `until_ms` (UTC), 0 is for ever.
    `proved`: by the Agents gateway.

    A verdict that is remembered (KnownHeads) has the `lines` by which the upstream is told of the
    customer, the directory's `generation` it is of, and its `turn` when it was last found to stand.
    """

    account: Account
    customer_name: str
    grounds: EntitlementSnapshot | None = field(default=None, repr=False, compare=False)
    key_id: str = ""
    until_ms: int = 0
    proved: bool = False
    brakes: Brakes | None = field(default=None, repr=False, compare=False)
    lines: bytes = field(default=b"", repr=False, compare=False)
    generation: int = field(default=0, repr=False, compare=False)
    turn: int = field(default=-1, repr=False, compare=False)

    @property
    def customer_id(self) -> str:
        """Who makes it."""
        return self.account.customer_id

    @property
    def charges(self) -> tuple[Charge, ...]:
        """What it is charged to; may be empty."""
        return self.account.charges

    def over(self, now_ms: int) -> bool:
        """Whether the verdict has to be found anew, whatever is known of the customer."""
        return 0 < self.until_ms <= now_ms
