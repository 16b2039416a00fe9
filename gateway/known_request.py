"""What a request's head amounts to, and what heads have in common whose deciding lines are the same."""

from typing import Final, NamedTuple

from gateway import framing, parsing
from gateway.admission import Admitted
from gateway.decisive import Apart
from gateway.errors import Headers
from gateway.framing import CHUNKED
from gateway.headers import identity, values_of
from gateway.known_replies import Replies
from gateway.passage import Outgoing, Passage, RequestHead
from gateway.raw_heads import RawRequest
from gateway.wire import (
    AskedHead,
    asked_head,
    injected_head,
    serialised,
    with_passing,
    without_passing,
)

_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
_NO_HEAD: Final = RequestHead("", b"", [], "", "")
_NOBODY: Final = Admitted("", "", ())


class KnownRequest(NamedTuple):
    """What a request's head amounts to, whatever its Content-Length.

    `asked` are the heads for the route's upstreams, with the body as the client frames it.
    """

    passage: Passage
    framing: int  # where its length is not as usual
    keep_alive: bool
    modern: bool  # HTTP/1.1: the client reads chunks and interim replies
    expects: bool  # 100 Continue before it sends the body
    wants_trailers: bool
    idempotent: bool  # RFC 9110 §9.2.2
    asked: tuple[AskedHead, ...]
    replies: Replies
    replies_injected: Replies
    generation: int

    @property
    def injected(self) -> tuple[AskedHead, ...]:
        """The heads with a body that was collected and changed."""
        return tuple([injected_head(each) for each in self.asked])


class Customer(NamedTuple):
    """Whose credentials came, as far as requests of one route are concerned."""

    admitted: Admitted
    generation: int
    lines: bytes  # that tell the upstream of it


class Shape(NamedTuple):
    """What requests have in common whose deciding lines are the same, whoever sends them."""

    known: KnownRequest  # the first of them
    asked: tuple[AskedHead, ...]  # with neither lines that pass nor lines about the customer
    route: str


def known_of(
    passage: Passage, said: RawRequest, kinds: tuple[Replies, Replies], generation: int
) -> KnownRequest:
    """What a head amounts to that was read and let in."""
    headers, version = said.headers, said.http_version
    body = framing.request_framing(headers, version)
    modern = version == "1.1"
    sized = passage.has_body and body != CHUNKED
    outgoing = passage.outgoing
    return KnownRequest(
        let_go(passage),
        framing=body,
        keep_alive=parsing.stays_open(headers, version),
        modern=modern,
        expects=modern and bool(values_of(headers, b"expect")),
        wants_trailers=modern and b"trailers" in b",".join(values_of(headers, b"te")).lower(),
        idempotent=said.method in _IDEMPOTENT,
        asked=tuple([asked_head(outgoing, each, sized=sized) for each in passage.route.upstreams]),
        replies=kinds[0],
        replies_injected=kinds[1],
        generation=generation,
    )


def let_go(passage: Passage) -> Passage:
    """Without the head, which holds the customer's key and much memory."""
    return passage._replace(outgoing=Outgoing(_NO_HEAD, b"", passage.route, _NOBODY, []))


def customer_of(admitted: Admitted, generation: int) -> Customer:
    """The customer of requests with this verdict."""
    about: Headers = identity("", admitted.customer_id, admitted.customer_name)
    return Customer(admitted, generation, serialised(b"", about))


def shape_of(known: KnownRequest, parts: Apart, customer: Customer) -> Shape | None:
    """What a request has in common with others; None where that cannot be told apart."""
    left: list[AskedHead] = []
    for each in known.asked:
        rest = without_passing(each, parts.passing)
        if rest is None or not rest.between.startswith(customer.lines):
            return None
        left.append(rest._replace(between=rest.between[len(customer.lines) :]))
    return Shape(known, tuple(left), known.passage.route.name)


def quickly(shape: Shape, customer: Customer, passing: bytes) -> KnownRequest:
    """What a request of this shape amounts to."""
    first = shape.known
    route, _, path, head_only, has_body, collects, _, outgoing, reads, _ = first.passage
    lines = passing + customer.lines
    return KnownRequest(
        Passage(
            route, customer.admitted, path, head_only, has_body, collects, None, outgoing, reads
        ),
        first.framing,
        first.keep_alive,
        first.modern,
        first.expects,
        first.wants_trailers,
        first.idempotent,
        tuple([with_passing(each, lines) for each in shape.asked]),
        first.replies,
        first.replies_injected,
        customer.generation,
    )
