"""What a debug case is: a call of either version, and which result codes are right for it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from .checks import SUCCESS
from .info_checks import Asked

ONLY_SUCCESS: Final = frozenset({SUCCESS})


class Version(StrEnum):
    """Which guide an interface is of: POST and JSON, or GET and query parameters (spec §2-5)."""

    V2 = "V2.0"
    V1 = "V1.0"
    LICENSE = "License"
    KIT_V2 = "Kit V2"
    KIT_V1 = "Kit V1"


class Style(StrEnum):
    """How a body is written, where the guide leaves a choice that a verifier must bear."""

    PLAIN = "compact, keys ascending"
    UNSORTED = "keys in another order"
    LOWER = "signature in small letters"


@dataclass(frozen=True)
class DebugCase:
    """One call. The marketplace's own cases are right ones: only success passes (spec §9, check 6).

    `line` names the order line of a newInstance: its replies must all give one instanceId.
    `raw` goes out in place of `fields`, as the body of a POST. `real` calls carry no testFlag, or
    in the Kit one of 0.
    """

    version: Version
    activity: str
    title: str
    fields: Mapping[str, object] = field(default_factory=dict)
    tamper: str = "none"
    accepted: frozenset[str] = ONLY_SUCCESS
    line: str = ""
    asked: tuple[Asked, ...] = ()
    raw: bytes | None = None
    real: bool = False
    style: Style = Style.PLAIN

    @property
    def is_right(self) -> bool:
        """Whether it must succeed, however often, in whatever order and beside whatever else."""
        return self.tamper == "none" and self.accepted == ONLY_SUCCESS


Ids = Mapping[str, str]
"""The instanceIds that creations gave, by order line."""


def id_of(ids: Ids, line: str) -> str:
    """The id of an order line; a made-up one where its creation gave none."""
    return ids.get(line) or f"debug-{line}"[:64]
