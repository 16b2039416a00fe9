"""Licences that were asked for, and authorization codes: what the marketplace remembers. Pure, bounded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from .directory import keep
from .errors import NotFound
from .findings import Finding
from .uploads import Upload

MAX_WISHES: Final = 10_000
MAX_CODES: Final = 10_000


@dataclass
class Wish:
    """One application for a licence; `fields` go out unchanged however often it is repeated."""

    event_id: str
    instance_id: str
    fields: Mapping[str, object]
    uploads: list[Upload] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)

    @property
    def delivered(self) -> bool:
        return bool(self.uploads)

    def as_json(self) -> dict[str, object]:
        return {
            "event_id": self.event_id,
            "instance_id": self.instance_id,
            "device_fingerprint": self.fields.get("deviceFingerprint"),
            "answers": self.answers,
            "delivered": self.delivered,
            "licenses": [upload.as_json() for upload in self.uploads],
        }


class CodeState(StrEnum):
    """Of an authorization code (spec §4.2)."""

    NORMAL = "NORMAL"
    FROZEN = "FROZEN"
    RELEASED = "RELEASED"


@dataclass
class Code:
    """An authorization code that a buyer has."""

    license: str
    expires_ms: int
    state: CodeState = CodeState.NORMAL
    activated_ms: int | None = None
    heartbeats: int = 0

    def as_json(self) -> dict[str, object]:
        return {
            "license": self.license,
            "state": self.state.value,
            "expires_ms": self.expires_ms,
            "activated_ms": self.activated_ms,
            "heartbeats": self.heartbeats,
        }


class LicenseBook:
    """All of one seller."""

    def __init__(self) -> None:
        self.wishes: dict[str, Wish] = {}
        self.codes: dict[str, Code] = {}

    def ask(self, wish: Wish) -> Wish:
        """Takes an application in; one with a known eventId is that one again. Raises BadRequest."""
        if (known := self.wishes.get(wish.event_id)) is not None:
            return known
        keep(self.wishes, wish.event_id, wish, MAX_WISHES)
        return wish

    def deliver(self, wish: Wish, upload: Upload) -> Finding | None:
        """One more upload; of one application every licence must be the same (§4.1)."""
        first = wish.uploads[0] if wish.uploads else upload
        if upload not in wish.uploads:
            wish.uploads.append(upload)
            del wish.uploads[10:]
        if upload.content == first.content:
            return None
        return Finding("license-changed", "the same application got another licence", wish.event_id)

    def add_code(self, code: Code) -> None:
        """Raises BadRequest when there are too many."""
        keep(self.codes, code.license, code, MAX_CODES)

    def code(self, license_id: str) -> Code:
        if license_id not in self.codes:
            raise NotFound(f"code {license_id!r} is unknown; POST /_sim/codes makes one")
        return self.codes[license_id]
