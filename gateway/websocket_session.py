"""One admitted WebSocket from its handshake to its usage records, without IO. Pure.

A session is recorded when it ends. One that lasts is recorded in stretches, so that its usage does
not wait for its end: each has a request id (`ID`, `ID.1`, `ID.2`, …), a slot and a record of its
own, and only the first counts as a request.
"""

from collections.abc import Mapping
from typing import Final

from gateway.admitted import Admitted
from gateway.passage import Passage
from gateway.websocket_usage import Responses
from metering.board import Open
from metering.usage import Outcome, Quantity, UsageRecord

SWITCHED: Final = 101
_CLIENT_LEFT_UNANSWERED: Final = 499


def size_of(message: str | bytes) -> int:
    """Bytes of payload."""
    if isinstance(message, bytes) or message.isascii():
        return len(message)
    return len(message.encode())


class Session:
    """Counts one session. Times are ms UTC; `now_s` is seconds of a clock that never steps."""

    def __init__(self, passage: Passage, request_id: str) -> None:
        self.request_id = request_id  # of the present stretch
        self._first_id = request_id
        self._stretch = 0
        self._route = passage.route.name
        self._admitted = passage.admitted
        self._recent = passage.recent
        self._responses = Responses(passage.route.plan)
        self._status = 0
        self._accepted_s = 0.0
        self._told_ms = 0  # of its duration, in records so far
        self._clear()

    def _clear(self) -> None:
        self._messages_in = self._messages_out = self._bytes_in = self._bytes_out = 0

    def opening(self, time_ms: int) -> Open:
        """What the journal notes before the present stretch begins."""
        return Open(self.request_id, self._admitted.customer_id, self._route, time_ms)

    @property
    def answered(self) -> bool:
        """Whether the upstream answered the handshake in any way."""
        return self._status != 0

    @property
    def accepted(self) -> bool:
        """Whether messages may pass."""
        return self._status == SWITCHED

    def accept(self, now_s: float) -> None:
        """The upstream took the handshake, and so does the client's side."""
        self._status, self._accepted_s = SWITCHED, now_s

    def refuse(self, status: int) -> None:
        """The upstream answered the handshake with this status instead."""
        self._status = status

    def message_in(self, message: str | bytes) -> int:
        """A message of the client is handed to the upstream; its bytes."""
        size = size_of(message)
        self._messages_in += 1
        self._bytes_in += size
        return size

    def message_out(self, message: str | bytes) -> int:
        """A message of the upstream is handed to the client; its bytes."""
        size = size_of(message)
        self._messages_out += 1
        self._bytes_out += size
        self._responses.see(message)
        return size

    def so_far(self, now_s: float) -> Mapping[str, Quantity]:
        """What the present stretch has used until now."""
        counted = self._counted(round((now_s - self._accepted_s) * 1000) - self._told_ms)
        return counted | self._responses.so_far()

    def record(
        self, outcome: Outcome, time_ms: int, now_s: float, *, last: bool = True
    ) -> UsageRecord | None:
        """The record of the present stretch; None for a handshake nobody answered.

        A handshake that was refused, or whose client left meanwhile, is recorded and uses nothing.
        """
        status = self._status
        if not status and outcome is Outcome.CLIENT_LEFT:
            status = _CLIENT_LEFT_UNANSWERED
        if not status:
            return None
        account = self._admitted.account
        return UsageRecord(
            request_id=self.request_id,
            time_ms=time_ms,
            account=account if self.accepted else account.uncharged(),
            status=status,
            outcome=outcome,
            quantities=self._quantities(now_s, last=last) if self.accepted else {},
            repeat=self._comes_again(time_ms),
        )

    def _comes_again(self, time_ms: int) -> bool:
        """Later stretches have ids of ours."""
        if self._recent is None or self._stretch or not self.accepted:
            return False
        return self._recent.comes_again(self._first_id, time_ms)

    def go_on(self, admitted: Admitted) -> None:
        """The present stretch is recorded; the next one begins, charged as is said now."""
        self._stretch += 1
        self.request_id = f"{self._first_id}.{self._stretch}"
        self._admitted = admitted
        self._clear()

    def _quantities(self, now_s: float, *, last: bool) -> dict[str, Quantity]:
        until_now_ms = round((now_s - self._accepted_s) * 1000)
        duration_ms, self._told_ms = until_now_ms - self._told_ms, until_now_ms
        return self._counted(duration_ms) | self._responses.take(last=last)

    def _counted(self, duration_ms: int) -> dict[str, Quantity]:
        counted = {
            "requests": int(self._stretch == 0),
            "bytes_in": self._bytes_in,
            "bytes_out": self._bytes_out,
            "messages_in": self._messages_in,
            "messages_out": self._messages_out,
            "duration_ms": duration_ms,
        }
        return {meter: Quantity(value) for meter, value in counted.items()}
