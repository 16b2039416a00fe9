"""Heads that were seen before, and what they amounted to: read, checked and decided once.

What is kept is a pure function of the bytes of the head, of who sent it, and of what is known of
the customer; the last is looked at anew each time. A request's Content-Length is cut out first, so
that calls which differ only in what they say are one head. A head is kept when it comes a second
time: heads that are unique to their call would only push the others out.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple

from gateway import framing, parsing
from gateway.admission import Directory
from gateway.errors import UnknownRoute
from gateway.framing import CHUNKED
from gateway.headers import values_of
from gateway.passage import Answer, Outgoing, Passage, RequestHead
from gateway.raw_heads import RawReply, RawRequest
from gateway.strictness import origin_form
from gateway.websocket_head import is_asked_for
from gateway.wire import AnswerHead, AskedHead, answer_head, asked_head

MAX_BYTES: Final = 24 << 20  # of all heads that are kept
_MAX_HEAD: Final = 4096  # longer ones are not kept
_SEEN: Final = 16_384
_MAX_REPLIES: Final = 64
_MAX_KINDS: Final = 1024
_LENGTHS: Final = (b"\r\nContent-Length: ", b"\r\ncontent-length: ")
_LENGTH_BYTES: Final = 18
_DIGITS: Final = 18  # no honest length has more; those that do are read each time
_OVERHEAD: Final = 1024  # of the objects around the bytes of one head, roughly
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
_NO_HEAD: Final = RequestHead("", b"", [], "", "")


class Caller(NamedTuple):
    """The client of one connection: an IP address, and `http` or `https`."""

    peer: str
    scheme: str
    key: bytes


class KnownRequest(NamedTuple):
    """What a request's head amounts to, whatever its Content-Length.

    `asked` are the heads for the route's upstreams, with the body as the client frames it, and
    `injected` those with a body that was collected and changed.
    """

    passage: Passage
    framing: int  # where its length is not as usual
    keep_alive: bool
    modern: bool  # HTTP/1.1: the client reads chunks and interim replies
    expects: bool  # 100 Continue before it sends the body
    wants_trailers: bool
    idempotent: bool  # RFC 9110 §9.2.2
    asked: tuple[AskedHead, ...]
    injected: tuple[AskedHead, ...]
    replies: "Replies"
    replies_injected: "Replies"
    generation: int


class KnownReply(NamedTuple):
    """What a reply's head amounts to; `framing` is that of the upstream's body."""

    status: int
    answer: Answer
    head: AnswerHead
    framing: int
    reusable: bool
    plain: bool  # nothing is put in its head but the request's id


class Replies:
    """The heads of replies to requests of one kind."""

    def __init__(self, passage: Passage, *, injected: bool) -> None:
        self._passage = passage
        self._injected = injected
        self.kept: dict[bytes, KnownReply] = {}  # by raw head

    def read(self, raw: bytes, said: RawReply) -> KnownReply:
        """What a final reply's head amounts to. Raises UpstreamProtocol."""
        passage = self._passage
        method = "HEAD" if passage.head_only else "GET"
        answer = passage.answer(said.status, said.headers, injected=self._injected)
        head = answer_head(answer, head_only=passage.head_only)
        known = KnownReply(
            said.status,
            answer,
            head,
            framing.reply_framing(method, said.status, said.headers, said.http_version),
            parsing.stays_open(said.headers, said.http_version),
            plain=not head.unsized and not head.undated,
        )
        if len(raw) <= _MAX_HEAD:
            if len(self.kept) >= _MAX_REPLIES:
                self.kept.clear()
            self.kept[raw] = known
        return known


class NotProxied(Exception):
    """A request that is for others in this process; `head` is its head."""

    def __init__(self, head: RawRequest) -> None:
        super().__init__("not proxied")
        self.head = head


class KnownHeads:
    """Of one worker. `passage` decides on a head (Gate.passage)."""

    def __init__(
        self,
        passage: Callable[[RequestHead], Passage],
        directory: Directory,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._passage = passage
        self._directory = directory
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: dict[bytes, KnownRequest] = {}
        self._seen: set[int] = set()
        self._replies: dict[tuple[str, str, bool, bool], Replies] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def serve(self, directory: Directory) -> None:
        """Forget everything: the routes have changed, and these are the customers from now on."""
        self._directory = directory
        self._bytes = 0
        self._kept.clear()
        self._seen.clear()
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
            directory = self._directory
            if known.generation == directory.generation and directory.stands(
                known.passage.admitted
            ):
                return known, length if start >= 0 else known.framing
            self._forget(key)
        known = self._read(raw, caller)
        if length >= 0:
            self._keep(key, known)
        return known, known.framing

    def _read(self, raw: bytes, caller: Caller) -> KnownRequest:
        said = parsing.read_request(raw)
        target = origin_form(said.method, said.target, said.headers)
        if target == b"*" or is_asked_for(said.method.encode(), said.http_version, said.headers):
            raise NotProxied(said)
        head = RequestHead(
            said.method, target, said.headers, caller.peer, caller.scheme, said.http_version
        )
        try:
            passage = self._passage(head)
        except UnknownRoute:
            raise NotProxied(said) from None
        return self._known(passage, said)

    def _known(self, passage: Passage, said: RawRequest) -> KnownRequest:
        body = framing.request_framing(said.headers, said.http_version)
        modern = said.http_version == "1.1"
        kept = passage._replace(outgoing=_let_go(passage.outgoing))
        return KnownRequest(
            kept,
            framing=body,
            keep_alive=parsing.stays_open(said.headers, said.http_version),
            modern=modern,
            expects=modern and bool(values_of(said.headers, b"expect")),
            wants_trailers=modern
            and b"trailers" in b",".join(values_of(said.headers, b"te")).lower(),
            idempotent=said.method in _IDEMPOTENT,
            asked=_asked(passage, injected=False, sized=passage.has_body and body != CHUNKED),
            injected=_asked(passage, injected=True, sized=True) if passage.collects else (),
            replies=self._replies_to(kept, injected=False),
            replies_injected=self._replies_to(kept, injected=True),
            generation=self._directory.generation,
        )

    def _replies_to(self, passage: Passage, *, injected: bool) -> Replies:
        kind = (passage.route.name, passage.path, passage.head_only, injected)
        replies = self._replies.get(kind)
        if replies is None:
            if len(self._replies) >= _MAX_KINDS:
                self._replies.clear()
            replies = self._replies[kind] = Replies(passage, injected=injected)
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
        self._kept[key] = known
        self._bytes += _cost(key, known)
        while self._bytes > self._max_bytes:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: bytes) -> None:
        self._bytes -= _cost(key, self._kept.pop(key))


def _asked(passage: Passage, *, injected: bool, sized: bool) -> tuple[AskedHead, ...]:
    return tuple(
        asked_head(passage.outgoing, upstream, injected=injected, sized=sized)
        for upstream in passage.route.upstreams
    )


def _let_go(outgoing: Outgoing) -> Outgoing:
    """Without the head, which holds the customer's key and much memory."""
    return replace(outgoing, head=_NO_HEAD, rest=b"", about_caller=[])


def _cost(key: bytes, known: KnownRequest) -> int:
    asked = (known.asked, known.injected)
    return len(key) + _OVERHEAD + sum(len(part) for one in asked for head in one for part in head)
