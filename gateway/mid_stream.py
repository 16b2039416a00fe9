"""Ends a stream of events in the middle when its package is used up (`stop_mid_stream`). Pure.

Only what the upstream reported until then is looked at, and only between two events, so that the
client reads whole events to the end. Where more cannot be leased for GRACE_S, the last event is an
error in the language of the API.
"""

import json
from typing import Final

from gateway.decoding import is_event_stream
from gateway.desk import Desk
from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.holds import Hold
from gateway.package_purse import PackagePurse

GRACE_S: Final = 0.5
_EVENT_ENDS: Final = (b"\n\n", b"\r\n\r\n")


class MidStream:
    """Of one exchange."""

    def __init__(self, desk: Desk, hold: Hold, exchange: Exchange) -> None:
        self._desk = desk
        self._hold = hold
        self._exchange = exchange
        self._short_since_s: float | None = None

    def last_words(self, handed: bytes, now_s: float) -> tuple[bytes, GatewayError] | None:
        """The event that ends the stream after `handed`, and why; None where it goes on."""
        exchange = self._exchange
        if not handed.endswith(_EVENT_ENDS) or not is_event_stream(exchange.content_type):
            return None
        short = self._hold.covers(exchange.so_far(), now_s, streams=True)
        if short is None:
            self._short_since_s = None
            return None
        since_s = self._short_since_s = self._short_since_s or now_s
        purse = short.purse
        none_left = isinstance(purse, PackagePurse) and purse.told_s > since_s and purse.left <= 0
        if not none_left and now_s - since_s < GRACE_S:
            return None
        refusal = self._desk.refusal_of(self._hold)
        return error_event(refusal, exchange.way.path, exchange.request_id), refusal


def error_event(refusal: GatewayError, path: str, request_id: str) -> bytes:
    """As Anthropic writes it under /messages, as OpenAI does elsewhere."""
    error = {
        "type": refusal.code,
        "code": refusal.code,
        "message": str(refusal),
        "message_zh": refusal.text_zh,
        "request_id": request_id,
        **refusal.details,
    }
    if path.partition("?")[0].endswith("/messages"):
        content: dict[str, object] = {"type": "error", "error": error}
        return b"event: error\ndata: %b\n\n" % _json(content)
    return b"data: %b\n\n" % _json({"error": error})


def _json(content: dict[str, object]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
