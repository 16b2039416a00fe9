"""Heads that were seen before, and what they amounted to: read, checked and decided once.

What is kept is a pure function of the bytes of the head, of who sent it, and of what is known of
the customer; the last is looked at anew as soon as anything changed, and so is the time where a key
expires. A request's Content-Length is cut out first, so that calls which differ only in what they say
are one head, and so is the line that says whose call it is: customers who call alike share what their
heads amount to, and each is found by that line. A head is kept when it comes a second time: heads that
are unique to their call would only push the others out.

Of a head that is not kept only the lines that decide anything are looked up: those that say what is
asked for, and those that say who asks. Where both are known the rest just passes.
"""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, Protocol

from gateway import parsing
from gateway.admission import Directory
from gateway.admitted import Admitted
from gateway.credentials import CREDENTIAL_HEADERS
from gateway.decisive import Apart, only_usual_options, request_apart, request_kinds
from gateway.errors import Headers, UnknownRoute
from gateway.kept_heads import MAX_BYTES, MAX_HEAD, KeptHeads
from gateway.known_replies import Replies
from gateway.known_request import Customers, KnownRequest, is_apart, known_of, quickly
from gateway.passage import Passage, RequestHead, Way
from gateway.raw_heads import RawRequest
from gateway.recent_ids import RecentIds
from gateway.routing import ServedRoute
from gateway.strictness import MAX_REQUEST_FIELDS, origin_form
from gateway.websocket_head import is_asked_for
from gateway.wire import about_customer

_MAX_SHAPES: Final = 1024
_MAX_CUSTOMERS: Final = 32_768
_OWN: Final = b"\0"  # in no head: what a head is kept by that its sender shares with nobody
_LENGTHS: Final = (b"\r\nContent-Length: ", b"\r\ncontent-length: ")
_LENGTH_BYTES: Final = 18
_DIGITS: Final = 18  # no honest length has more; those that do are read each time


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
        self._kept = KeptHeads(max_bytes)
        self._shapes: dict[bytes, KnownRequest] = {}  # by deciding lines and caller
        self._customers: dict[str, Customers] = {}  # by route
        self._learned = 0  # customers, of all routes
        self._whose = _spellings(CREDENTIAL_HEADERS)
        self._replies: dict[tuple[bool, bool, bool], Replies] = {}

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes_kept(self) -> int:
        """What they take, at most."""
        return self._kept.bytes

    def serve(
        self, directory: Directory, credentials: frozenset[bytes] = CREDENTIAL_HEADERS
    ) -> None:
        """Forget everything: the routes have changed, and these are the customers from now on."""
        self._directory = directory
        self._kinds = request_kinds(credentials)
        self._kept.clear()
        self._shapes.clear()
        self._customers.clear()
        self._learned = 0
        self._replies.clear()

    def request(  # noqa: C901, PLR0912 - calls are what it saves
        self, raw: bytes, caller: Caller
    ) -> tuple[KnownRequest, Admitted, int]:
        """What a whole head amounts to, who sends it, its framing. Raises GatewayError or NotProxied."""
        start = raw.find(_LENGTHS[0])
        if start < 0:
            start = raw.find(_LENGTHS[1])
        length = end = 0
        if start >= 0:
            start += _LENGTH_BYTES
            end = raw.find(b"\r", start)
            digits = raw[start:end]
            if not digits.isdigit() or end - start > _DIGITS:
                known, admitted, _ = self._read(raw, caller)  # each time, and refused each time
                return known, admitted, known.framing
            length = int(digits)
        at = raw.find(self._whose[0])
        if at < 0 and (at := self._find_whose(raw)) < 0:
            said, key = b"", (raw if start < 0 else raw[:start] + raw[end:]) + caller.key
        else:
            stop = raw.find(b"\r", at + 2)
            said = raw[at + 2 : stop]
            if start < 0:
                key = raw[:at] + raw[stop:] + caller.key
            elif at < start:
                key = b"".join((raw[:at], raw[stop:start], raw[end:], caller.key))
            else:
                key = b"".join((raw[:start], raw[end:at], raw[stop:], caller.key))
        found = self._kept.get(key)
        if found is not None:
            who = found.customers.get(said)
            if who is not None and (
                (who.turn == self._directory.turn and not who.until_ms) or self._may(who)
            ):
                return found, who, length if start >= 0 else found.framing
        bare = raw if start < 0 else raw[:start] + raw[end:]
        known, admitted = self._other(raw, bare, key, said, caller)
        return known, admitted, length if start >= 0 else known.framing

    def _find_whose(self, head: bytes) -> int:
        """Where the line stands that says who calls; next time its spelling is looked for first."""
        for spelling in self._whose:
            at = head.find(spelling)
            if at >= 0:
                self._whose.remove(spelling)
                self._whose.insert(0, spelling)
                return at
        return -1

    def _may(self, admitted: Admitted) -> bool:
        """Whether a verdict that is remembered holds now."""
        directory = self._directory
        if admitted.turn != directory.turn and not directory.uses(admitted):
            return False
        return not (admitted.until_ms and admitted.over(self._now_ms()))

    def _other(
        self, raw: bytes, bare: bytes, key: bytes, said: bytes, caller: Caller
    ) -> tuple[KnownRequest, Admitted]:
        """Of a head that is not known, or that its sender shares with nobody.

        `bare` lacks its length, `key` also the line `said` that says who calls.
        """
        own = _OWN + bare + caller.key
        known = self._kept.get(own)
        if known is not None:
            admitted = known.customers[_OWN]
            if self._may(admitted):
                return known, admitted
            self._kept.forget(own)
        parts = None
        if len(own) <= MAX_HEAD:
            parts = request_apart(bare, caller.key, MAX_REQUEST_FIELDS, self._kinds)
        found = self._quickly(parts) if parts is not None else None
        if found is None:
            known, admitted, usual = self._read(raw, caller)
            if parts is not None and usual:
                self._learn(parts, known, admitted)
        else:
            known, admitted = found
        if known.customers.get(said) is admitted:
            self._kept.keep(key, known)
        elif admitted.grounds is not None:
            self._kept.keep(own, known._replace(customers=Customers({_OWN: admitted})))
        return known, admitted

    def _read(self, raw: bytes, caller: Caller) -> tuple[KnownRequest, Admitted, bool]:
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
        way = passage.way
        kinds = (self._replies_to(way, injected=False), self._replies_to(way, injected=True))
        customers = self._customers.setdefault(way.route.name, Customers())
        known = known_of(passage, said, kinds, customers)
        return known, self._remembered(passage.admitted), only_usual_options(said.headers)

    def _remembered(self, admitted: Admitted) -> Admitted:
        """A verdict of now, with what is wanted of it as long as it holds."""
        admitted.lines = about_customer(admitted)
        admitted.generation, admitted.turn = self._directory.generation, self._directory.turn
        return admitted

    def _quickly(self, parts: Apart) -> tuple[KnownRequest, Admitted] | None:
        """What a head amounts to, if all that decides it is known."""
        first = self._shapes.get(parts.shape)
        if first is None:
            return None
        if parts.claims:
            return self._believed(parts, first, parts.claims)
        admitted = first.customers.get(parts.credentials)
        if admitted is None or not self._may(admitted):
            return None
        return quickly(first, parts.passing), admitted

    def _believed(
        self, parts: Apart, first: KnownRequest, claims: Headers
    ) -> tuple[KnownRequest, Admitted] | None:
        """Nothing of a proof is remembered: it stands in the head, and says how long it holds."""
        believing = self._believing
        if believing is None:
            return None
        verdict = believing.believed(first.way.route, claims)
        if verdict is None:
            return None
        admitted, request_id = verdict
        recent = None if request_id is None else believing.recent
        known = quickly(first, parts.passing)._replace(request_id=request_id, recent=recent)
        return known, self._remembered(admitted)

    def _learn(self, parts: Apart, known: KnownRequest, admitted: Admitted) -> None:
        if known.way.route.forward_authorization or not is_apart(known, parts):
            return
        if admitted.grounds is not None and parts.credentials and not parts.claims:
            if self._learned >= _MAX_CUSTOMERS:
                self._learned = 0
                for customers in self._customers.values():
                    customers.clear()
            self._learned += parts.credentials not in known.customers
            known.customers[parts.credentials] = admitted
        if parts.shape not in self._shapes:
            if len(self._shapes) >= _MAX_SHAPES:
                self._shapes.clear()
            self._shapes[parts.shape] = known._replace(request_id=None, recent=None)

    def _replies_to(self, way: Way, *, injected: bool) -> Replies:
        """What a reply amounts to depends on nothing else that was asked."""
        kind = (way.head_only, injected, way.route.plan.normalize)
        replies = self._replies.get(kind)
        if replies is None:
            replies = self._replies[kind] = Replies(
                head_only=kind[0], injected=kind[1], normalize=kind[2]
            )
        return replies


def _spellings(names: Iterable[bytes]) -> list[bytes]:
    """How lines with these fields mostly begin."""
    return [b"\r\n%b: " % spelt for name in sorted(names) for spelt in (name.title(), name)]
