"""How a WebSocket session ends, and what each side is told of it. Pure.

| end                                   | outcome      | client         | upstream       |
|---------------------------------------|--------------|----------------|----------------|
| the client closes                     | complete     | its echo       | the same code  |
| the client breaks off, or the rules   | client_left  | 1002 1007 1009 | 1001           |
| the upstream closes                   | complete     | the same code  | its echo       |
| the upstream breaks off, or the rules | upstream_cut | 1011           | 1002 1007 1009 |
| nothing passed for `idle` seconds     | complete     | 1001           | 1001           |
| the session lasted `max_duration`     | complete     | 1001           | 1001           |
| the worker stops                      | complete     | 1001           | 1001           |
| the customer may not go on            | complete     | 1008           | 1001           |
| the next stretch cannot be noted      | complete     | 1013           | 1001           |
| the record cannot be written          | none         | cut            | 1011           |
| an error of ours                      | upstream_cut | 1011           | 1011           |
| the worker's drain time is over       | client_left  | cut            | cut            |

1005, 1006 and 1015 are never sent (RFC 6455 §7.4.1): a close without a code goes on as 1000.
"""

from typing import Final, NamedTuple

from gateway.errors import GatewayError, NotCounted
from metering.usage import Outcome

_NO_CODE: Final = 1005
_NOT_SENT: Final = frozenset({1004, 1006, 1015})


class Close(NamedTuple):
    """A close frame. `reason` is at most 123 bytes of UTF-8."""

    code: int
    reason: str = ""


class Ending(NamedTuple):
    """The first thing that ended a session; a side that is gone is told nothing."""

    outcome: Outcome
    to_client: Close | None
    to_upstream: Close | None


_AWAY: Final = Close(1001)

CLIENT_BROKE: Final = Ending(Outcome.CLIENT_LEFT, None, _AWAY)
CANCELLED: Final = Ending(Outcome.CLIENT_LEFT, None, None)
UPSTREAM_BROKE: Final = Ending(Outcome.UPSTREAM_CUT, Close(1011, "upstream broke off"), None)
FAILED: Final = Ending(Outcome.UPSTREAM_CUT, Close(1011), Close(1011))
IDLE: Final = Ending(Outcome.COMPLETE, Close(1001, "idle"), _AWAY)
REFUSED: Final = Ending(Outcome.COMPLETE, None, None)  # before anything was opened
UNCOUNTED: Final = Ending(Outcome.COMPLETE, None, Close(1011))
TOO_LONG: Final = Ending(Outcome.COMPLETE, Close(1001, "session limit"), _AWAY)
STOPPED: Final = Ending(Outcome.COMPLETE, Close(1001, "restarting"), _AWAY)


def client_closed(code: int, reason: str | None) -> Ending:
    """The client said so; without any reason, not even an empty one, its connection broke."""
    if reason is None or code in _NOT_SENT:
        return CLIENT_BROKE
    return Ending(Outcome.COMPLETE, None, _told(code, reason))


def upstream_closed(said: tuple[int, str] | None) -> Ending:
    """The upstream's connection is over, with this close frame or without any."""
    if said is None or said[0] in _NOT_SENT:
        return UPSTREAM_BROKE
    return Ending(Outcome.COMPLETE, _told(*said), None)


def not_let_on(refusal: GatewayError) -> Ending:
    """The next stretch of a session was refused."""
    code = 1013 if isinstance(refusal, NotCounted) else 1008
    return Ending(Outcome.COMPLETE, Close(code, refusal.code), _AWAY)


def _told(code: int, reason: str) -> Close:
    return Close(1000) if code == _NO_CODE else Close(code, reason)
