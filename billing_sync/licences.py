"""What a licence maker is given and gives, and what may become of a licence. Pure.

A maker is a function of yours, `def make(request: LicenceRequest) -> str | LicenceFile`, named in
`koogallery.licence.maker`; docs/licences.md tells the rules.
"""

import hashlib
import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

MAX_CHARACTERS: Final = 1024  # spec §4.1
MAX_FILE: Final = 1024 * 1024  # [assumed]: the marketplace states no bound
MAX_NAME: Final = 255
CHARACTERS: Final = "CHARACTERS"
FILE: Final = "FILE"
_NAMESPACE: Final = uuid.UUID("3c6d7a1e-52f0-5b7c-8f43-0f6a1f0b9d52")
_MAX_REASON: Final = 200


class LicenceState(StrEnum):
    """Where a licence is."""

    MAKING = "making"
    UPLOADING = "uploading"  # made and stored: it will never be another one
    DELIVERED = "delivered"
    REFUSED = "refused"  # by the maker or by our rules; asked for again, it is looked at again
    REJECTED = "rejected"  # the marketplace will not have it: needs a person, `licences retry`


class Reason(StrEnum):
    """Why a licence is refused, by the result code it is answered with (spec §2.4, §4.1)."""

    QUOTA_USED_UP = "000900"
    OUTSIDE_VALIDITY = "000901"
    EXPIRY_NEEDED = "000902"
    FINGERPRINT_NEEDED = "000903"
    INTERNAL = "000005"


class LicenceRefused(Exception):
    """Raised by a maker that will not make this licence."""

    def __init__(self, reason: Reason, message: str = "") -> None:
        self.reason = Reason(reason)
        text = message or self.reason.name.lower().replace("_", " ")
        super().__init__(_printable(text)[:_MAX_REASON])


class NotYet(Exception):
    """Raised by a maker that will have the licence later; it is asked again."""

    def __init__(self, message: str = "not made yet", after_s: float = 0) -> None:
        self.after_s = after_s
        super().__init__(_printable(message)[:_MAX_REASON])


class MakerFailed(Exception):
    """A maker that broke, hung, or returned what is no licence; it is asked again."""


@dataclass(frozen=True, slots=True)
class LicenceRequest:
    """What a licence is for. Times are aware and in UTC; what is not known is empty or None.

    `id` stays the same however often this licence is asked for: a maker that counts, counts by it.
    `quantity` is how many the buyer chose of the product.
    """

    id: str
    event_id: str
    instance_id: str
    product_id: str
    order_id: str
    order_line_id: str
    customer_id: str
    customer_name: str
    charging_mode: str
    quantity: int
    effective: datetime
    expires: datetime | None
    fingerprint: str = field(repr=False)


class LicenceFile(NamedTuple):
    """A licence that is a file."""

    name: str
    content: bytes


class Made(NamedTuple):
    """A licence that passed the rules, as it is stored and uploaded."""

    kind: str
    file_name: str
    content: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def made_of(given: Any) -> Made:
    """What a maker returned. Raises MakerFailed, which says what is wrong with it."""
    if isinstance(given, str):
        if not 0 < len(given) <= MAX_CHARACTERS:
            raise MakerFailed(
                f"a licence of {len(given)} characters; 1 to {MAX_CHARACTERS}, or a LicenceFile"
            )
        return Made(CHARACTERS, "", _encoded(given))
    if not isinstance(given, tuple) or len(given) != 2:
        raise MakerFailed(f"returned {type(given).__name__}; a licence is a str or a LicenceFile")
    name, content = given
    if not isinstance(name, str) or not isinstance(content, bytes):
        raise MakerFailed("a LicenceFile is a name (str) and its content (bytes)")
    if not 0 < len(content) <= MAX_FILE:
        raise MakerFailed(f"a file of {len(content)} bytes; 1 to {MAX_FILE}")
    return Made(FILE, _name(name), content)


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise MakerFailed("a licence that cannot be written as UTF-8") from None


def _name(name: str) -> str:
    wrong = not 0 < len(name) <= MAX_NAME or not name.isprintable()
    if wrong or any(each in name for each in '/\\"') or name in (".", ".."):
        raise MakerFailed(f'a file name has 1 to {MAX_NAME} printable characters, no / \\ or "')
    return name


def licence_id(event_id: str, device: str) -> str:
    """The id of the licence of an event for a device, whoever asks and however often."""
    return f"lic_{uuid.uuid5(_NAMESPACE, json.dumps([event_id, device])).hex}"


def moment(time_ms: int) -> datetime | None:
    """A stored time as makers see it; None for 0."""
    if not time_ms:
        return None
    return datetime.fromtimestamp(time_ms // 1000, UTC).replace(microsecond=time_ms % 1000 * 1000)


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)
