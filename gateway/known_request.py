"""What a request's head amounts to, and what heads have in common whose deciding lines are the same."""

from typing import Final, NamedTuple

from gateway import framing, parsing
from gateway.admitted import Admitted
from gateway.decisive import Apart
from gateway.framing import CHUNKED
from gateway.headers import values_of
from gateway.known_replies import Replies
from gateway.passage import Outgoing, Passage, RequestHead, Way
from gateway.raw_heads import RawRequest
from gateway.recent_ids import RecentIds
from gateway.wire import AskedHead, asked_head, injected_head, with_passing
from metering.usage import Account

_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
_NO_HEAD: Final = RequestHead("", b"", [], "", "")
_NOBODY: Final = Admitted(Account("", ""), "")


class Customers(dict[bytes, Admitted]):
    """Whose calls are let in, by the lines of a head that say who calls."""

    def __repr__(self) -> str:
        return f"<{len(self)} customers>"  # the lines hold their keys


class KnownRequest(NamedTuple):
    """What a request's head amounts to, whatever its Content-Length and whoever sends it.

    `asked` are the heads for the route's upstreams, with the body as the client frames it, without
    the lines about the customer. `customers` are those whose calls with this head may pass.
    `request_id` is the caller's own, of one who is believed, and `recent` tells whether it came before.
    """

    way: Way
    customers: Customers
    framing: int  # where its length is not as usual
    keep_alive: bool
    modern: bool  # HTTP/1.1: the client reads chunks and interim replies
    expects: bool  # 100 Continue before it sends the body
    wants_trailers: bool
    idempotent: bool  # RFC 9110 §9.2.2
    asked: tuple[AskedHead, ...]
    replies: Replies
    replies_injected: Replies
    request_id: str | None = None
    recent: RecentIds | None = None

    @property
    def injected(self) -> tuple[AskedHead, ...]:
        """The heads with a body that was collected and changed."""
        return tuple([injected_head(each) for each in self.asked])


def known_of(
    passage: Passage, said: RawRequest, kinds: tuple[Replies, Replies], customers: Customers
) -> KnownRequest:
    """What a head amounts to that was read and let in."""
    headers, version = said.headers, said.http_version
    body = framing.request_framing(headers, version)
    modern = version == "1.1"
    way = passage.way
    sized = way.has_body and body != CHUNKED
    return KnownRequest(
        let_go(way),
        customers,
        framing=body,
        keep_alive=parsing.stays_open(headers, version),
        modern=modern,
        expects=modern and bool(values_of(headers, b"expect")),
        wants_trailers=modern and b"trailers" in b",".join(values_of(headers, b"te")).lower(),
        idempotent=said.method in _IDEMPOTENT,
        asked=tuple([asked_head(way.outgoing, each, sized=sized) for each in way.route.upstreams]),
        replies=kinds[0],
        replies_injected=kinds[1],
        request_id=passage.request_id,
        recent=passage.recent,
    )


def let_go(way: Way) -> Way:
    """Without the head, which holds the customer's key and much memory."""
    return way._replace(outgoing=Outgoing(_NO_HEAD, b"", way.route, _NOBODY, []))


def is_apart(known: KnownRequest, parts: Apart) -> bool:
    """Whether the fields that only pass are those that were told apart."""
    return all(each.passing == b"\r\n" + parts.passing for each in known.asked)


def quickly(first: KnownRequest, passing: bytes) -> KnownRequest:
    """What a request amounts to whose deciding lines are those of the first."""
    (
        way,
        customers,
        body,
        stays,
        modern,
        expects,
        trailers,
        idempotent,
        asked,
        plain,
        injected,
        *_,
    ) = first
    return KnownRequest(
        way,
        customers,
        body,
        stays,
        modern,
        expects,
        trailers,
        idempotent,
        tuple([with_passing(each, passing) for each in asked]),
        plain,
        injected,
    )
