"""Which requests the stub upstream answered, one by one, in bounded memory. Pure."""

from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Final

from tallygate.demo.replies import Reply

MOST: Final = 100_000
PAGE: Final = 5_000


@dataclass(slots=True)
class Answer:
    """One request with an id; `complete` once the reply was sent to its end."""

    number: int
    request_id: str
    customer_id: str
    tokens_in: int
    tokens_out: int
    complete: bool = False


class Answers:
    """The last answers. Requests without an id, which no gateway sent, are left out."""

    def __init__(self, most: int = MOST) -> None:
        self._kept: deque[Answer] = deque(maxlen=most)
        self._last = 0

    def begin(self, headers: Iterable[tuple[bytes, bytes]], reply: Reply) -> Answer | None:
        """Note a request that is about to be answered; the answer is to be completed."""
        fields = dict(headers)
        request_id = fields.get(b"x-request-id", b"").decode("latin-1")
        if not request_id:
            return None
        self._last += 1
        customer_id = fields.get(b"x-customer-id", b"").decode("latin-1")
        answer = Answer(self._last, request_id, customer_id, reply.tokens_in, reply.tokens_out)
        self._kept.append(answer)
        return answer

    def page(self, after: int) -> dict[str, Any]:
        """Those numbered above `after`, at most a page of them.

        `next` is what to ask for next, null at the end; `forgotten` is how many were let go of.
        """
        forgotten = self._kept[0].number - 1 if self._kept else 0
        start = max(after - forgotten, 0)
        found = list(islice(self._kept, start, start + PAGE))
        more = bool(found) and found[-1].number < self._last
        return {
            "requests": [asdict(answer) for answer in found],
            "next": found[-1].number if more else None,
            "forgotten": forgotten,
        }
