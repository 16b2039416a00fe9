"""The limits that brake a call, in the order in which they are taken. Pure."""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

from gateway.errors import Fields
from gateway.estimates import Mean, is_always_guessed, needed_to_say
from gateway.purse import PackagePurse, Purse, RatePurse, SlotsPurse
from metering.usage import Quantity

Kind: TypeAlias = Literal["concurrent", "requests", "tokens", "package"]

_TOGETHER: Final = 128
_TOGETHER_S: Final = 0.005
TOKENS: Final = "tokens_total"  # what tokens_per_minute counts


class Brake(NamedTuple):
    """One limit. `limit` is whose it is: customer, key, route or package.

    `meter` is what it counts. `stops`: a stream ends in the middle when it is used up. `mean` is of
    what calls use that have to be guessed.
    """

    purse: Purse
    kind: Kind
    limit: str
    meter: str = "requests"
    shadow: bool = False
    stops: bool = False
    mean: Mean | None = None

    @property
    def name(self) -> str:
        """What it is called in RateLimit headers."""
        return self.limit if self.kind == "requests" else f"{self.limit}-{self.kind}"


class LetIn(Protocol):
    """Something calls are let in by; each ends with one `settle` or one `release`."""

    @property
    def brakes(self) -> "Brakes": ...

    def settle(self, used: Mapping[str, Quantity], number: int) -> None:
        """The call ended with record `number`, which holds what it used."""

    def release(self) -> None:
        """It ended without a record, and used nothing."""


class Several(LetIn, Protocol):
    """By which `left` more calls may be let in until `until_s`."""

    left: int
    until_s: float


class Brakes:
    """All limits of the calls of one caller on one route; at least one."""

    __slots__ = (
        "_lines",
        "_lines_s",
        "_policy",
        "_uses",
        "alike",
        "batch",
        "distinct",
        "each",
        "meter",
        "ones",
        "packages",
        "patience",
        "purses",
        "shown",
        "slots",
        "stops",
        "tokens",
    )

    def __init__(self, each: tuple[Brake, ...]) -> None:
        self.each = each
        self.purses = tuple(brake.purse for brake in each)
        self.stops = any(brake.stops for brake in each)
        self.ones = [1] * len(each)
        self.distinct = len(set(self.purses)) == len(self.purses)
        # Where what a call uses is known at its end.
        means = [brake.mean or Mean(brake.meter) for brake in each]
        self.tokens = tuple(
            (at, b.purse, b.meter, means[at])
            for at, b in enumerate(each)
            if isinstance(b.purse, RatePurse) and b.kind == "tokens"
        )
        self.packages = tuple(
            (at, b.purse, b.meter, means[at], needed_to_say(b.meter))
            for at, b in enumerate(each)
            if isinstance(b.purse, PackagePurse)
        )
        self.slots = tuple(p for p in self.purses if isinstance(p, SlotsPurse))
        # Whether calls can be let in together (batches.py): one number says what they used.
        guessed = all(is_always_guessed(meter) for _, _, meter, _, _ in self.packages)
        of_tokens = {meter for _, _, meter, _ in self.tokens}
        meters = sorted(of_tokens.union(meter for _, _, meter, _, _ in self.packages))
        self.alike = self.distinct and guessed and not (self.slots or self.stops or meters[1:])
        self.meter = meters[0] if meters else ""
        self.batch: Several | None = None
        self.patience = 0  # so many calls before the next attempt
        self._lines, self._lines_s, self._uses = b"", 0.0, 0
        self.shown = tuple(b for b in each if b.kind != "package" and not b.shadow)
        self._policy = ", ".join(_policy(brake) for brake in self.shown).encode()

    def headers(self) -> Fields:
        """RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10), as of now."""
        if not self.shown:
            return ()
        state = ", ".join([_state(brake) for brake in self.shown]).encode()
        return ((b"ratelimit-policy", self._policy), (b"ratelimit", state))

    def lines(self, now_s: float) -> bytes:
        """The same, as lines of a head; for many calls in a moment they are written once."""
        uses = self._uses
        if uses > 0 and now_s < self._lines_s:
            self._uses = uses - 1
            return self._lines
        self._uses, self._lines_s = _TOGETHER, now_s + _TOGETHER_S
        self._lines = b"".join([b"%s: %s\r\n" % each for each in self.headers()])
        return self._lines


def _policy(brake: Brake) -> str:
    purse = brake.purse
    if isinstance(purse, SlotsPurse):
        return f'"{brake.name}";q={purse.most};qu="concurrent-requests"'
    if isinstance(purse, PackagePurse):
        return ""
    # `burst` may come at once; in the long run it takes the window until they may again.
    window_s = max(1, -(-purse.burst * purse.period_ms // (purse.units * 1000)))
    unit = ';qu="tokens"' if brake.kind == "tokens" else ""
    return f'"{brake.name}";q={purse.burst}{unit};w={window_s}'


def _state(brake: Brake) -> str:
    purse = brake.purse
    if isinstance(purse, RatePurse):
        return f'"{brake.name}";r={purse.remaining};t={purse.reset_s()}'
    return f'"{brake.name}";r={purse.remaining}' if isinstance(purse, SlotsPurse) else ""
