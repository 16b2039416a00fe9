"""What the events of a WebSocket session say of its usage. Pure.

OpenAI's realtime protocol announces each response of a session by `response.created` and ends it by
`response.done`, which holds the usage of that response alone; over a socket of the Responses API
the last event is `response.completed`, `.incomplete` or `.failed`. So usages are added up, and the
last one never replaces the others. A custom meter is added up over all messages that state it.
"""

from collections import Counter
from typing import Final

import msgspec

from gateway import amounts, lenient, usage_fields
from gateway.tap import UsagePlan
from metering.usage import MAX_QUANTITY, Grade, Quantity

_TOKENS: Final = frozenset({"tokens_in", "tokens_out", "tokens_total"})
_CREATED: Final = "response.created"
_ENDS: Final = frozenset(
    {
        "response.done",
        "response.completed",
        "response.incomplete",
        "response.failed",
        "response.cancelled",
    }
)
# One of these stands in every event that is looked at; the others are not decoded.
_MARKS: Final = (f'"{_CREATED}"', '"usage"')


class _Response(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw(b"null")


class _Event(msgspec.Struct):
    type: str = ""
    response: _Response | None = None


_EVENT: Final = msgspec.json.Decoder(_Event)


class Responses:
    """Takes the messages of the upstream and adds up what they report. Never raises."""

    def __init__(self, plan: UsagePlan) -> None:
        self._dialect = plan.dialect
        self._reads = plan.dialect in ("auto", "openai")
        self._expected = plan.expected | (_TOKENS if plan.dialect == "openai" else frozenset())
        self._paths = {meter: (f'"{path.keys[-1]}"', path) for meter, path in plan.paths.items()}
        self._sums: Counter[str] = Counter()
        self._open = 0  # announced, and not ended yet
        self._silent = False  # a response ended without saying what it used
        self._heard = False
        self._understood = False

    def see(self, message: str | bytes) -> None:
        """Look at one message; binary ones are passed over."""
        first, self._heard = not self._heard, True
        if isinstance(message, bytes):
            return
        for meter, (mark, path) in self._paths.items():
            if mark in message:
                self._add(meter, lenient.quantity_at(message.encode(), *path))
        if self._reads and (first or any(mark in message for mark in _MARKS)):
            self._read(message.encode())

    def _read(self, document: bytes) -> None:
        event = lenient.decode(_EVENT, document)
        if event is None:
            return
        # A session that begins in this language and reports nothing has used nothing.
        self._understood = self._understood or event.type.startswith(("session.", "response."))
        if event.type == _CREATED:
            self._open += 1
        elif event.type in _ENDS:
            self._open = max(0, self._open - 1)
            self._ended(event.response or _Response())

    def _ended(self, response: _Response) -> None:
        stated = usage_fields.of_usage(response.usage, self._dialect)
        read = amounts.meters(stated, self._dialect)
        self._silent = self._silent or not read
        for meter, value in read.items():
            if meter not in self._paths:  # a custom meter outranks a built-in one
                self._add(meter, value)

    def _add(self, meter: str, value: int | None) -> None:
        if value is not None and self._sums[meter] + value <= MAX_QUANTITY:
            self._sums[meter] += value

    def so_far(self) -> dict[str, Quantity]:
        """What was reported since the last `take`, which this does not count as."""
        return {meter: Quantity(value) for meter, value in self._sums.items()}

    def take(self, *, last: bool) -> dict[str, Quantity]:
        """What was reported since the last time, and the expected meters nobody can vouch for.

        `last`: the session is over; a response that is still open then will never report.
        """
        sums, self._sums = self._sums, Counter()
        cut = (last and self._open > 0) or self._silent
        self._silent = False
        grade = Grade.PARTIAL if cut else Grade.EXACT
        read = {meter: Quantity(value, grade) for meter, value in sums.items()}
        if cut or read or (self._heard and not self._understood):
            missing = Quantity(0, Grade.MISSING)
            return read | dict.fromkeys(self._expected - read.keys(), missing)
        return read
