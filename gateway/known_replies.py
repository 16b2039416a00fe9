"""Heads of replies that were seen before, or that differ from one only in what just passes.

What is kept is a pure function of a head's bytes and of the kind of request it answers.
"""

from typing import Final, NamedTuple

from gateway import framing, parsing
from gateway.decisive import Apart, only_usual_options, reply_apart
from gateway.passage import Answer, answer_of
from gateway.raw_heads import RawReply
from gateway.wire import AnswerHead, answer_head, reply_end

_MAX_HEAD: Final = 4096  # longer ones are not kept
_MAX_KEPT: Final = 512
_SEEN: Final = 4096


class KnownReply(NamedTuple):
    """What a reply's head amounts to; `framing` is that of the upstream's body.

    The answer's headers are all in `head`.
    """

    status: int
    answer: Answer
    head: AnswerHead
    framing: int
    reusable: bool
    plain: bool  # nothing is put in its head but the request's id


class _Shape(NamedTuple):
    """What replies have in common whose deciding lines are the same, whatever their length."""

    reply: KnownReply
    start: bytes  # of their heads, up to what passes


class Replies:
    """The heads of replies to requests of one kind."""

    def __init__(self, *, head_only: bool, injected: bool, normalize: bool = False) -> None:
        self._head_only = head_only
        self._injected = injected
        self._normalize = normalize
        self._shapes: dict[bytes, _Shape] = {}
        self._seen: set[int] = set()
        self.kept: dict[bytes, KnownReply] = {}  # by raw head

    def get(self, raw: bytes) -> KnownReply | None:
        """What a head amounts to, if it need not be read; None also for bytes that are none."""
        known = self.kept.get(raw)
        if known is None and self._shapes and len(raw) <= _MAX_HEAD:
            parts = reply_apart(raw)
            shape = self._shapes.get(parts.shape) if parts is not None else None
            if parts is not None and shape is not None:
                known = _quickly(shape, parts)
                self._keep_if_seen(raw, known)
        return known

    def read(self, raw: bytes, said: RawReply) -> KnownReply:
        """What a final reply's head amounts to. Raises UpstreamProtocol."""
        head_only = self._head_only
        method = "HEAD" if head_only else "GET"
        answer = answer_of(
            said.status,
            said.headers,
            head_only=head_only,
            injected=self._injected,
            normalize=self._normalize,
        )
        head = answer_head(answer, head_only=head_only)
        known = KnownReply(
            said.status,
            answer._replace(headers=[]),
            head,
            framing.reply_framing(method, said.status, said.headers, said.http_version),
            parsing.stays_open(said.headers, said.http_version),
            plain=not head.unsized and not head.undated,
        )
        if len(raw) <= _MAX_HEAD:
            self._keep(raw, known)
            if only_usual_options(said.headers):
                self._learn(raw, known)
        return known

    def _keep_if_seen(self, raw: bytes, known: KnownReply) -> None:
        seen = hash(raw)
        if seen in self._seen:
            self._keep(raw, known)
            return
        if len(self._seen) >= _SEEN:
            self._seen.clear()
        self._seen.add(seen)

    def _keep(self, raw: bytes, known: KnownReply) -> None:
        if len(self.kept) >= _MAX_KEPT:
            self.kept.clear()
        self.kept[raw] = known

    def _learn(self, raw: bytes, known: KnownReply) -> None:
        """Where there is a length it must have been cut out, and be the body's and the answer's.

        The answer has none where the body will be changed.
        """
        parts = reply_apart(raw)
        if parts is None:
            return
        length = known.answer.length
        end = reply_end(parts.passing, -1 if length is None else parts.length)
        before = known.head.before
        sized = parts.length == known.framing
        fits = sized or parts.length < 0 if length is None else sized and length == parts.length
        if fits and before.endswith(end):
            if len(self._shapes) >= _MAX_KEPT:
                self._shapes.clear()
            self._shapes[parts.shape] = _Shape(known, before[: -len(end)])


def _quickly(shape: _Shape, parts: Apart) -> KnownReply:
    status, answer, head, framed, reusable, _ = shape.reply
    length, undated = parts.length, not parts.dated
    if length > 0:
        framed = length
        if answer.length is None:
            length = -1
        else:
            answer = Answer(
                status,
                answer.headers,
                length,
                answer.has_body,
                answer.readable,
                answer.content_type,
                answer.content_encoding,
            )
    before = shape.start + reply_end(parts.passing, length)
    ready = AnswerHead(before, head.after, head.unsized, undated)
    return KnownReply(
        status, answer, ready, framed, reusable, plain=not undated and not head.unsized
    )
