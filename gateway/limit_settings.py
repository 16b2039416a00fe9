"""What limits are configured: per customer, per API key, per route. Pure.

Of a customer's or key's own limit only what it states takes the place of the default; null lifts it.
"""

import math
from fractions import Fraction
from typing import Annotated, Final

from pydantic import Field

from metering.catalogue import Identifier, Strict

_FINEST: Final = 1000  # so many seconds a call is the slowest rate
_EACH: Final = "default"


class Limit(Strict):
    """Null or left out is unlimited. `burst`: requests that may come at once, else those of a second."""

    requests_per_second: Annotated[float, Field(ge=0.001, le=1e6)] | None = None
    burst: Annotated[int, Field(ge=1, le=10**6)] | None = None
    tokens_per_minute: Annotated[int, Field(ge=1, le=10**9)] | None = None
    concurrent: Annotated[int, Field(ge=1, le=10**6)] | None = None

    def over(self, default: "Limit") -> "Limit":
        """What this one states, and for the rest the default."""
        stated = {name: getattr(self, name) for name in self.model_fields_set}
        return default.model_copy(update=stated)

    def request_rate(self) -> tuple[int, int, int] | None:
        """Units, the period in ms they are for, and how many may come at once."""
        if self.requests_per_second is None:
            return None
        rate = Fraction(str(self.requests_per_second)).limit_denominator(_FINEST)
        burst = self.burst or max(1, math.ceil(rate))
        return rate.numerator, 1000 * rate.denominator, burst


UNLIMITED: Final = Limit()


class Limits(Strict):
    """`default` is each customer's, over all keys and routes; `keys` are by id, `default` among them
    for each key. `shadow`: exceeding them is counted, nothing is refused.
    """

    default: Limit = UNLIMITED
    customers: dict[Identifier, Limit] = Field(default_factory=dict)
    keys: dict[Identifier, Limit] = Field(default_factory=dict)
    routes: dict[Identifier, Limit] = Field(default_factory=dict)
    shadow: bool = False

    def of_customer(self, customer_id: str) -> Limit:
        """The limit of a customer."""
        own = self.customers.get(customer_id)
        return self.default if own is None else own.over(self.default)

    def of_key(self, key_id: str) -> Limit:
        """The limit of an API key."""
        default = self.keys.get(_EACH, UNLIMITED)
        own = self.keys.get(key_id)
        return default if own is None else own.over(default)


NO_LIMITS: Final = Limits()
