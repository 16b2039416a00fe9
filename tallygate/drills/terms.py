"""How a drill is run, and what is unusual about its installation. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tallygate.config_schema import Config


class DidNotBite(Exception):
    """The fault could not be done, or had no effect: the drill has shown nothing."""


def leaves(group: BaseExceptionGroup) -> list[BaseException]:
    """Every exception in the group and in the groups of it."""
    return [
        leaf
        for one in group.exceptions
        for leaf in (leaves(one) if isinstance(one, BaseExceptionGroup) else [one])
    ]


@dataclass(frozen=True)
class Terms:
    """`rate` is calls a second, `seconds` how long they come; `given` is the user's configuration.

    `patience_s` bounds the recovery, and then the time until everything has come to rest.
    """

    seconds: float
    rate: float
    seed: int
    given: Config | None = None
    patience_s: float = 40.0
    say: Callable[[str], None] = lambda _: None


@dataclass(frozen=True)
class Make:
    """What one drill's installation has of its own.

    `changes` go into its configuration, `environ` into its environment. `wrap` is a command that
    runs it inside a file system of its own.
    """

    changes: Mapping[str, Any] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    wrap: Sequence[str] = ()
