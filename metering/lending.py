"""What is said between a gateway worker and the bank in Redis that lends it parts of a limit. Pure.

A lease only brakes: what is deducted and billed is the ledger's business alone. Units are the meter's
smallest unit for packages, calls for slots, and whatever a rate is of for rates.

A worker never says what changed but what is: how much it holds of an account by now. So a message may
be repeated, lost or late. `turn` grows with every message of a lane; an older one changes nothing.

What a worker must do, so that no more is lent than the ledger has:
* `held` is reckoned with the checkpoint that came with the epoch it names, and both are named.
* A lease is used no longer than `Lent.life_ms` from when the message was sent that was answered.
* When a partition has a new epoch, or it is told "settling", it sends one message with `whole`: all
  packages it holds there, though there be none. Until every lane has, nothing is lent.
* When Redis comes back it presents what it holds within SETTLE_MS.
"""

from typing import Final, Literal, NamedTuple, TypeAlias

PACKAGE_LIFE_MS: Final = 30_000  # longer than a dead worker's lane takes to be adopted and drained
SLOT_LIFE_MS: Final = 5_000
RENEW_PART: Final = 4  # a lease is renewed when this part of its life is over
# An expired lease is kept so long, from when it is first noticed: whoever is alive presents his again
# meanwhile, also after an outage, at the end of which a breaker may pause for 4 s.
SETTLE_MS: Final = 6_000


def account_of(customer_id: str, item: str) -> str:
    """The account of a customer's stop-before-excess packages for one billing item."""
    return f"{customer_id}\x1f{item}"


def customer_of(account: str) -> str:
    """Whose account it is. Billing items hold no control characters."""
    return account.rpartition("\x1f")[0]


class PackageAsk(NamedTuple):
    """More of a prepaid package. `held`: at hand, reserved by open calls, and used by records that
    the ledger does not hold yet (those after the lane's checkpoint). `least`: less is of no use.
    """

    account: str
    held: int
    want: int
    least: int


class SlotsAsk(NamedTuple):
    """More of `most` calls that may be open at once; `held`: open ones and spare slots."""

    name: str
    held: int
    want: int
    most: int


class RateAsk(NamedTuple):
    """More of a rate of `units` per `period_ms`, of which `burst` may come at once (GCRA).

    `owed`: what was used beyond what was granted; below zero what is given back.
    """

    name: str
    units: int
    period_ms: int
    burst: int
    owed: int
    want: int


Ask: TypeAlias = PackageAsk | SlotsAsk | RateAsk

State: TypeAlias = Literal[
    "ok",  # `granted` of it, which may be 0
    "settling",  # Redis lost something: nothing is lent until who holds leases has said so
    "epoch",  # of another life of the partition: read the epoch again
    "unknown",  # the ledger has not told the bank of the account yet
    "late",  # a newer message of this lane was there before
]


class Lent(NamedTuple):
    """The answer to one ask. `left`: what nobody holds after it, below zero where too much is used.

    `wanted`: another worker was refused for what we may have to spare. `retry_ms`: when to ask again
    where nothing was granted, 0 where nobody can say. `life_ms`: so long what is held may be used,
    from when the ask was sent; shorter than usual where a package expires, 0 for rates.
    """

    state: State
    granted: int
    left: int
    wanted: bool = False
    retry_ms: int = 0
    life_ms: int = PACKAGE_LIFE_MS


class Part(NamedTuple):
    """One package of an account: `quota` it had, `left` of it in the ledger. `expires` UTC ms, 0 never."""

    package_id: str
    quota: int
    left: int
    expires: int


class Balance(NamedTuple):
    """What the ledger says of an account. Of two the one with the higher `version` is newer."""

    account: str
    version: int
    as_of: int  # UTC ms
    parts: tuple[Part, ...]


class Settling(NamedTuple):
    """After a reset nothing is lent for `least` ms, and then until `lanes` have said what they hold,
    but not for longer than `most` ms. `now` in UTC ms takes the place of Redis' own time.
    """

    lanes: frozenset[str]
    most: int = PACKAGE_LIFE_MS
    least: int = SETTLE_MS
    now: int = 0


NOBODY: Final = Settling(frozenset(), 0, 0)  # when there cannot be a lease yet
EVERYBODY: Final = Settling(frozenset("*"))  # when nobody knows who may hold one
