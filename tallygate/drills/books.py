"""What the customers of a drill keep: what each call brought, and what became of the others. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

# Without Retry-After a customer would not know that it is worth trying again.
RETRY_AFTER = "retry-after"


class Seen(NamedTuple):
    """A reply that its customer saw to the end: the words he sent and those he got."""

    customer_id: str
    tokens_in: int
    tokens_out: int


@dataclass
class Books:
    """One load's books. Everything is counted in calls."""

    complete: dict[str, Seen] = field(default_factory=dict)  # by request id
    refused: Counter[int] = field(default_factory=Counter)  # by status
    refused_ids: set[str] = field(default_factory=set)
    without_retry_after: int = 0
    begun: int = 0
    left: int = 0  # hung up on purpose
    cut: int = 0  # the connection broke before a reply came
    torn: int = 0  # the reply had begun and broke off
    unreachable: int = 0  # nobody took the connection
    repeated_ids: set[str] = field(default_factory=set)  # of two replies: never to be
    without_id: int = 0

    def saw(self, headers: Mapping[str, str], seen: Seen) -> None:
        """A reply was whole; `headers` have names in lower case."""
        request_id = headers.get("x-request-id")
        if request_id is None:
            self.without_id += 1
            return
        if request_id in self.complete:
            self.repeated_ids.add(request_id)
        self.complete[request_id] = seen

    def was_refused(self, status: int, headers: Mapping[str, str]) -> None:
        """The gateway answered with an error; `headers` have names in lower case."""
        self.refused[status] += 1
        if "x-request-id" in headers:
            self.refused_ids.add(headers["x-request-id"])
        if status == 503 and RETRY_AFTER not in headers:
            self.without_retry_after += 1
