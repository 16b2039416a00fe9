"""Uploads a licence to the open API (spec §4.1): the multipart body is pure, the client only sends.

The same licence gives the same bytes at every attempt. The body is not signed
(`X-Sdk-Content-Sha256: UNSIGNED-PAYLOAD`): TLS and, for a file, its sha256 protect it.
"""

import hashlib
import json
from typing import Final, NamedTuple
from urllib.parse import quote

import httpx

from billing_sync.koogallery.aksk import CONTENT_HASH, UNSIGNED
from billing_sync.koogallery.attempting import attempt
from billing_sync.koogallery.client import Call, OpenApi, aksk_of
from billing_sync.koogallery.outcomes import Blame, Kind, PushOutcome
from billing_sync.licences import FILE, Made
from billing_sync.settings import KooGallerySettings
from metering.clock import Clock

PATH: Final = "/api/mkp-openapi-public/global/v1/market-event/{event_id}/file"
BUDGET_S: Final = 60.0
_JSON_PART: Final = "isvUpdateFileReq"


class Multipart(NamedTuple):
    """A body and its Content-Type."""

    content_type: str
    content: bytes


def multipart_of(made: Made) -> Multipart:
    """The body of an upload: the file, if it is one, and what is said of it."""
    boundary = _boundary(made)
    parts = [_part(f'name="{_JSON_PART}"', "application/json", _said(made))]
    if made.kind == FILE:
        named = f'name="file"; filename="{made.file_name}"'
        parts.insert(0, _part(named, "application/octet-stream", made.content))
    opening = f"--{boundary}\r\n".encode()
    body = b"".join(opening + part for part in parts) + f"--{boundary}--\r\n".encode()
    return Multipart(f"multipart/form-data; boundary={boundary}", body)


def _said(made: Made) -> bytes:
    if made.kind == FILE:
        fields = {"type": made.kind, "file_name": made.file_name, "sha256": made.sha256}
    else:
        fields = {"type": made.kind, "characters": made.content.decode()}
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def _part(disposition: str, content_type: str, content: bytes) -> bytes:
    head = f"Content-Disposition: form-data; {disposition}\r\nContent-Type: {content_type}\r\n\r\n"
    return head.encode() + content + b"\r\n"


def _boundary(made: Made) -> str:
    """A line that the licence does not hold, the same for the same licence."""
    seed = made.content
    while True:
        boundary = f"tallygate-{hashlib.sha256(seed).hexdigest()[:32]}"
        if boundary.encode() not in made.content:
            return boundary
        seed += b"."


class UploadClient:
    """Sends one licence. Never raises for what the network or the marketplace does."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        settings: KooGallerySettings,
        clock: Clock,
        budget_s: float = BUDGET_S,
    ) -> None:
        self._api = OpenApi(http, settings, clock, budget_s)
        self._auth = aksk_of(settings, clock)

    async def upload(self, event_id: str, made: Made) -> PushOutcome:
        """One attempt, signed now."""
        if self._auth is None:
            text = "needs koogallery.ak and koogallery.sk"
            return PushOutcome(Kind.PERMANENT, "configuration", text, blame=Blame.CALLER)
        body = multipart_of(made)
        call = Call(
            "POST",
            PATH.format(event_id=quote(event_id, safe="")),
            content=body.content,
            headers={"Content-Type": body.content_type, CONTENT_HASH: UNSIGNED},
        )
        return await attempt(self._api, call, self._auth)
