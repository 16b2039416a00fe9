"""Heads that were seen before, and what they amounted to: read, checked and decided once.

What is kept is a pure function of the bytes of the head, of who sent it, and of what is known of
the customer; the last is looked at anew each time, and so is the time where a key expires. A request's Content-Length is cut out first, so
that calls which differ only in what they say are one head. A head is kept when it comes a second
time: heads that are unique to their call would only push the others out.

Of a head that is not kept only the lines that decide anything are looked up: those that say what is
asked for, and those that say who asks. Where both are known the rest just passes.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from gateway import parsing
from gateway.admission import Admitted, Directory
from gateway.credentials import CREDENTIAL_HEADERS
from gateway.decisive import Apart, only_usual_options, request_apart, request_kinds
from gateway.errors import Headers, UnknownRoute
from gateway.known_replies import Replies
from gateway.known_request import (
    Customer,
    KnownRequest,
    Shape,
    customer_of,
    known_of,
    let_go,
    quickly,
    shape_of,
)
from gateway.passage import Passage, RequestHead
from gateway.raw_heads import RawRequest
from gateway.recent_ids import RecentIds
from gateway.routing import ServedRoute
from gateway.strictness import MAX_REQUEST_FIELDS, origin_form
from gateway.websocket_head import is_asked_for

MAX_BYTES: Final = 24 << 20  # of all heads that are kept
_MAX_HEAD: Final = 4096  # longer ones are not kept
_SEEN: Final = 16_384
_MAX_SHAPES: Final = 1024
_MAX_CUSTOMERS: Final = 16_384
_LENGTHS: Final = (b"\r\nContent-Length: ", b"\r\ncontent-length: ")
_LENGTH_BYTES: Final = 18
_DIGITS: Final = 18  # no honest length has more; those that do are read each time
_OVERHEAD: Final = 640  # of the objects around the bytes of one head
_ONE_IN: Final = 7  # heads that come again, where another has to go for it


class Believing(Protocol):
    """Decides on somebody who may prove for whom he calls; gate.Gate does."""

    @property
    def recent(self) -> RecentIds: ...

    def believed(self, route: ServedRoute, headers: Headers) -> tuple[Admitted, str | None] | None:
        """The verdict, and the request's id; None where nothing is proved. Raises GatewayError."""
        ...


class Caller(NamedTuple):
    """The client of one connection: an IP address, and `http` or `https`."""

    peer: str
    scheme: str
    key: bytes


class NotProxied(Exception):
    """A request that is for others in this process; `head` is its head."""

    def __init__(self, head: RawRequest) -> None:
        super().__init__("not proxied")
        self.head = head


class KnownHeads:
    """Of one worker. `passage` decides on a head (Gate.passage); `now_ms` tells the time (UTC).

    `credentials` are the fields by which a caller may say who it is, as the gate reads them;
    `believing` decides on somebody who may prove for whom he calls (Gate), with each call.
    """

    def __init__(
        self,
        passage: Callable[[RequestHead], Passage],
        directory: Directory,
        now_ms: Callable[[], int],
        max_bytes: int = MAX_BYTES,
        credentials: frozenset[bytes] = CREDENTIAL_HEADERS,
        believing: Believing | None = None,
    ) -> None:
        self._passage = passage
        self._believing = believing
        self._kinds = request_kinds(credentials)
        self._directory = directory
        self._now_ms = now_ms
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: dict[bytes, KnownRequest] = {}
        self._seen: set[int] = set()
        self._turn = 0
        self._shapes: dict[bytes, Shape] = {}  # by deciding lines and caller
        self._customers: dict[tuple[bytes, str], Customer] = {}  # by credentials and route
        self._replies: dict[tuple[bool, bool, bool], Replies] = {}

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes_kept(self) -> int:
        """What they take, at most."""
        return self._bytes

    def serve(
        self, directory: Directory, credentials: frozenset[bytes] = CREDENTIAL_HEADERS
    ) -> None:
        """Forget everything: the routes have changed, and these are the customers from now on."""
        self._directory = directory
        self._kinds = request_kinds(credentials)
        self._bytes = 0
        self._kept.clear()
        self._seen.clear()
        self._shapes.clear()
        self._customers.clear()
        self._replies.clear()

    def request(self, raw: bytes, caller: Caller) -> tuple[KnownRequest, int]:
        """What a whole head amounts to, and its framing. Raises GatewayError or NotProxied."""
        start = raw.find(_LENGTHS[0])
        if start < 0:
            start = raw.find(_LENGTHS[1])
        if start < 0:
            length = 0
            key = raw + caller.key
        else:
            start += _LENGTH_BYTES
            end = raw.find(b"\r", start)
            digits = raw[start:end]
            # What is no plain number is read again each time, and refused each time.
            length = int(digits) if digits.isdigit() and end - start <= _DIGITS else -1
            key = raw[:start] + raw[end:] + caller.key
        known = self._kept.get(key)
        if known is not None and length >= 0:
            directory, admitted = self._directory, known.passage.admitted
            grounds = admitted.grounds
            if (
                known.generation == directory.generation
                and grounds is not None
                and directory.get(grounds.customer_id) is grounds  # as `stands`, for every call
                and not (admitted.until_ms and admitted.over(self._now_ms()))
            ):
                directory.used.add(admitted.key_id)
                return known, length if start >= 0 else known.framing
            self._forget(key)
        known = self._known(raw, key, caller) if length >= 0 else self._read(raw, caller)[0]
        return known, length if start >= 0 and length >= 0 else known.framing

    def _known(self, raw: bytes, key: bytes, caller: Caller) -> KnownRequest:
        """What a head amounts to that is not kept; `key` holds it without its length."""
        parts = None
        if len(key) <= _MAX_HEAD:
            head = key[: -len(caller.key)]
            parts = request_apart(head, caller.key, MAX_REQUEST_FIELDS, self._kinds)
        known = self._quickly(parts) if parts is not None else None
        if known is None:
            known, usual = self._read(raw, caller)
            if parts is not None and usual:
                self._learn(parts, known)
        self._keep(key, known)
        return known

    def _read(self, raw: bytes, caller: Caller) -> tuple[KnownRequest, bool]:
        """What a head amounts to, and whether Connection takes no unusual field out of it."""
        said = parsing.read_request(raw)
        target = origin_form(said.method, said.target, said.headers)
        if target == b"*" or is_asked_for(said.method.encode(), said.http_version, said.headers):
            raise NotProxied(said)
        peer, scheme = caller.peer, caller.scheme
        head = RequestHead(
            said.method, target, said.headers, peer, scheme, said.http_version, checked=True
        )
        try:
            passage = self._passage(head)
        except UnknownRoute:
            raise NotProxied(said) from None
        kept = let_go(passage)
        kinds = (self._replies_to(kept, injected=False), self._replies_to(kept, injected=True))
        known = known_of(passage, said, kinds, self._directory.generation)
        return known, only_usual_options(said.headers)

    def _quickly(self, parts: Apart) -> KnownRequest | None:
        """What a head amounts to, if all that decides it is known."""
        shape = self._shapes.get(parts.shape)
        if shape is None:
            return None
        if parts.claims:
            return self._believed(parts, shape, parts.claims)
        customer = self._customers.get((parts.credentials, shape.route))
        directory = self._directory
        if (
            customer is None
            or customer.generation != directory.generation
            or not directory.stands(customer.admitted)
            or customer.admitted.over(self._now_ms())
        ):
            return None
        directory.used.add(customer.admitted.key_id)
        return quickly(shape, customer, parts.passing)

    def _believed(self, parts: Apart, shape: Shape, claims: Headers) -> KnownRequest | None:
        """Nothing of a proof is remembered: it stands in the head, and says how long it holds."""
        believing = self._believing
        if believing is None:
            return None
        verdict = believing.believed(shape.known.passage.route, claims)
        if verdict is None:
            return None
        admitted, request_id = verdict
        customer = customer_of(admitted, self._directory.generation)
        known = quickly(shape, customer, parts.passing)
        recent = None if request_id is None else believing.recent
        return known._replace(passage=known.passage._replace(request_id=request_id, recent=recent))

    def _learn(self, parts: Apart, known: KnownRequest) -> None:
        passage = known.passage
        if passage.route.forward_authorization:
            return
        customer = customer_of(passage.admitted, known.generation)
        shape = shape_of(known, parts, customer)
        if shape is None:
            return
        if passage.admitted.grounds is not None and not parts.claims:
            if len(self._customers) >= _MAX_CUSTOMERS:
                self._customers.clear()
            self._customers[parts.credentials, shape.route] = customer
        if parts.shape not in self._shapes:
            if len(self._shapes) >= _MAX_SHAPES:
                self._shapes.clear()
            self._shapes[parts.shape] = shape

    def _replies_to(self, passage: Passage, *, injected: bool) -> Replies:
        """What a reply amounts to depends on nothing else that was asked."""
        kind = (passage.head_only, injected, passage.route.plan.normalize)
        replies = self._replies.get(kind)
        if replies is None:
            replies = self._replies[kind] = Replies(
                head_only=kind[0], injected=kind[1], normalize=kind[2]
            )
        return replies

    def _keep(self, key: bytes, known: KnownRequest) -> None:
        passage = known.passage
        if len(key) > _MAX_HEAD or passage.request_id or passage.admitted.grounds is None:
            return  # a request id of its own makes each head another one
        seen = hash(key)
        if seen not in self._seen:
            if len(self._seen) >= _SEEN:
                self._seen.clear()
            self._seen.add(seen)
            return
        cost = _cost(key, known)
        if self._bytes + cost > self._max_bytes:
            # More heads in turn than there is room for: if each made room for the next, none would
            # ever be found again.
            self._turn = (self._turn + 1) % _ONE_IN
            if self._turn:
                return
        self._seen.discard(seen)
        self._kept[key] = known
        self._bytes += cost
        while self._bytes > self._max_bytes:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: bytes) -> None:
        self._bytes -= _cost(key, self._kept.pop(key))


def _cost(key: bytes, known: KnownRequest) -> int:
    # More than it is: what stands before the request's id is mostly one object for all customers.
    return len(key) + _OVERHEAD + sum(len(each.before) + len(each.between) for each in known.asked)
