"""A limit as a customer is told of it; whoever composes the control plane knows which hold. Pure."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias

Kind: TypeAlias = Literal["requests_per_second", "tokens_per_minute", "concurrent"]


class ShownLimit(NamedTuple):
    """`value` as decimal text: requests a second, tokens a minute, or calls at once."""

    kind: Kind
    value: str


# The limits of a customer, over all his keys and routes.
LimitsOf: TypeAlias = Callable[[str], Sequence[ShownLimit]]


def no_limits(customer_id: str) -> Sequence[ShownLimit]:  # noqa: ARG001  (nobody's)
    """Nobody is limited."""
    return []
