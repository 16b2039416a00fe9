"""Every way an exchange can end, and what it leaves: a record, an emptied slot, or a slot.

| the exchange ends because                    | client gets   | record               | slot    |
| -------------------------------------------- | ------------- | -------------------- | ------- |
| the reply is whole                           | the reply     | status, complete     | emptied |
| the reply is whole, and is an error          | the reply     | status, uses nothing | emptied |
| the journal takes no request                 | 503           | none                 | none    |
| no upstream can be reached                   | 502           | none                 | emptied |
| nobody connects in time                      | 504           | none                 | emptied |
| the pool is full                             | 503           | none                 | emptied |
| the upstream is cut before a reply           | 502           | none                 | emptied |
| what the upstream says is no HTTP            | 502           | none                 | emptied |
| no reply comes in time                       | 504           | none                 | emptied |
| the request's body does not come             | 408           | none                 | emptied |
| the request's body is malformed              | 400           | none                 | emptied |
| the upstream is cut inside its reply         | a torso       | upstream_cut         | emptied |
| the reply's framing breaks                   | a torso       | upstream_cut         | emptied |
| the reply stalls                             | a torso       | upstream_cut         | emptied |
| the client takes nothing for too long        | a torso       | client_left          | emptied |
| the client leaves before it was sent         | nobody        | 499, uses nothing    | emptied |
| the client leaves, abort                     | nobody        | client_left          | emptied |
| the client leaves, drain, to the end         | nobody        | client_left, whole   | emptied |
| the client leaves, drain, a bound is reached | nobody        | client_left          | emptied |
| the client leaves, drain, the upstream too   | nobody        | client_left          | emptied |
| the client leaves while the record is synced | nobody        | complete             | emptied |
| the worker stops                             | a torso       | client_left          | emptied |
| the customer may not go on, no reply begun   | 403           | none                 | emptied |
| the customer may not go on, reply begun      | a torso       | stopped              | emptied |
| the same while the record is synced          | the reply     | complete             | emptied |
| the record cannot be written, reply not begun| 503           | none                 | stays   |
| the record cannot be written, reply begun    | a torso       | none                 | stays   |
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from gateway.errors import UpstreamTimeout, UpstreamUnavailable
from gateway.linerate import LineRate
from metering.usage import Outcome
from tests.gateway.line import Bench, Wire

HEAD = b" /v1/x HTTP/1.1\r\nHost: gw\r\nX-Api-Key: sk-test\r\n"
GET = b"GET" + HEAD + b"\r\n"
POST = b"POST" + HEAD + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = b"POST" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
LATE_S = 400.0  # beyond any time-out


class Scene(Bench):
    """One client, one exchange."""

    def __init__(self, policy: str = "drain") -> None:
        super().__init__(policy, max_bytes=100)
        self.protocol: LineRate
        self.wire: Wire
        self.protocol, self.wire = self.client()

    def asked(self, request: bytes = GET) -> Wire:
        """A request on its way; the upstream's side."""
        self.says(self.wire, request)
        wire = self.connect()
        assert wire is not None
        return wire

    def answered(self, reply: bytes, request: bytes = GET) -> Wire:
        """An upstream has said so much."""
        wire = self.asked(request)
        self.says(wire, reply)
        return wire


def whole(scene: Scene) -> None:
    scene.answered(REPLY)


def error(scene: Scene) -> None:
    scene.answered(REPLY.replace(b"200 OK", b"429 No"))


def not_noted(scene: Scene) -> None:
    scene.kept.shut = True
    scene.says(scene.wire, GET)


def unreachable(scene: Scene) -> None:
    scene.says(scene.wire, GET)
    scene.connect(UpstreamUnavailable())


def not_connected_in_time(scene: Scene) -> None:
    scene.says(scene.wire, GET)
    scene.connect(UpstreamTimeout())


def no_room(scene: Scene) -> None:
    for _ in range(8):  # as many as may have a connection, or wait
        _, other = scene.client()
        scene.says(other, GET)
    scene.says(scene.wire, GET)
    for other in scene.clients[1:]:
        other.breaks()
    scene.kept.records.clear()
    scene.kept.begun -= 8


def cut_before(scene: Scene) -> None:
    scene.asked(POST).breaks()


def nonsense(scene: Scene) -> None:
    scene.answered(b"what is this?\r\n\r\n")


def silence(scene: Scene) -> None:
    scene.asked()
    scene.wait(LATE_S)


def no_body(scene: Scene) -> None:
    scene.asked(POST[:-2])
    scene.wait(LATE_S)


def bad_body(scene: Scene) -> None:
    scene.asked(CHUNKED)
    scene.says(scene.wire, b"no size\r\n")


def cut_inside(scene: Scene) -> None:
    scene.answered(STREAM).breaks()


def bad_chunk(scene: Scene) -> None:
    scene.says(scene.answered(STREAM), b"no size\r\n")


def stalls(scene: Scene) -> None:
    scene.answered(STREAM)
    scene.wait(LATE_S)


def takes_nothing(scene: Scene) -> None:
    wire = scene.answered(STREAM)
    scene.protocol.pause_writing()
    assert not wire.reading
    scene.wait(LATE_S)
    scene.says(wire, b"0\r\n\r\n")


def leaves_before(scene: Scene) -> None:
    scene.says(scene.wire, GET)
    scene.wire.breaks()


def leaves(scene: Scene) -> None:
    scene.answered(STREAM)
    scene.wire.breaks()


def drained(scene: Scene) -> None:
    wire = scene.answered(STREAM)
    scene.wire.breaks()
    assert scene.telemetry.drains_active == 1
    scene.says(wire, b"0\r\n\r\n")


def drained_too_far(scene: Scene) -> None:
    wire = scene.answered(STREAM)
    scene.wire.breaks()
    scene.says(wire, b"70\r\n" + b"x" * 0x70 + b"\r\n")
    assert scene.telemetry.drains_capped == 1


def drained_too_long(scene: Scene) -> None:
    scene.answered(STREAM)
    scene.wire.breaks()
    scene.wait(31.0)
    assert scene.telemetry.drains_capped == 1


def drained_and_cut(scene: Scene) -> None:
    wire = scene.answered(STREAM)
    scene.wire.breaks()
    wire.breaks()


def leaves_at_the_end(scene: Scene) -> None:
    scene.kept.slow = True
    scene.answered(REPLY)
    scene.wire.breaks()
    scene.kept.made_durable()


def stops(scene: Scene) -> None:
    scene.answered(STREAM)
    scene.shared.cut_off()


def frozen_before(scene: Scene) -> None:
    scene.asked()
    scene.stop_calls()


def frozen_inside(scene: Scene) -> None:
    scene.answered(STREAM)
    scene.stop_calls()


def frozen_at_the_end(scene: Scene) -> None:
    scene.kept.slow = True
    scene.answered(REPLY)
    scene.stop_calls()
    scene.kept.made_durable()


def unrecorded(scene: Scene) -> None:
    scene.kept.full = True
    scene.answered(REPLY)


def unrecorded_after_some(scene: Scene) -> None:
    scene.kept.full = True
    scene.says(scene.answered(STREAM), b"0\r\n\r\n")


@dataclass(frozen=True)
class End:
    """One line of the table. `client`: a status, -1 for a torso, 0 for nobody or nothing."""

    happens: Callable[[Scene], object]
    client: int
    status: int = 0
    outcome: Outcome | None = None
    policy: str = "drain"
    slots: int = 0
    uses: bool = True


ENDS = [
    End(whole, 200, 200, Outcome.COMPLETE),
    End(error, 429, 429, Outcome.COMPLETE, uses=False),
    End(not_noted, 503),
    End(unreachable, 502),
    End(not_connected_in_time, 504),
    End(no_room, 503),
    End(cut_before, 502),
    End(nonsense, 502),
    End(silence, 504),
    End(no_body, 408),
    End(bad_body, 400),
    End(cut_inside, -1, 200, Outcome.UPSTREAM_CUT),
    End(bad_chunk, -1, 200, Outcome.UPSTREAM_CUT),
    End(stalls, -1, 200, Outcome.UPSTREAM_CUT),
    End(takes_nothing, -1, 200, Outcome.CLIENT_LEFT),
    End(takes_nothing, -1, 200, Outcome.CLIENT_LEFT, policy="abort"),
    End(leaves_before, 0, 499, Outcome.CLIENT_LEFT, uses=False),
    End(leaves, -1, 200, Outcome.CLIENT_LEFT, policy="abort"),
    End(drained, -1, 200, Outcome.CLIENT_LEFT),
    End(drained_too_far, -1, 200, Outcome.CLIENT_LEFT),
    End(drained_too_long, -1, 200, Outcome.CLIENT_LEFT),
    End(drained_and_cut, -1, 200, Outcome.CLIENT_LEFT),
    End(leaves_at_the_end, 0, 200, Outcome.COMPLETE),
    End(stops, -1, 200, Outcome.CLIENT_LEFT),
    End(frozen_before, 403),
    End(frozen_inside, -1, 200, Outcome.STOPPED),
    End(frozen_at_the_end, 200, 200, Outcome.COMPLETE),
    End(unrecorded, 503, slots=1),
    End(unrecorded_after_some, -1, slots=1),
]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: f"{end.happens.__name__}, {end.policy}")
def test_every_end_leaves_one_record_or_one_emptied_slot(end: End) -> None:
    """And a slot only where the record failed; the client can tell a torso from a whole reply."""
    scene = Scene(end.policy)
    end.happens(scene)
    scene.loop.turn()
    assert [(r.status, r.outcome, bool(r.quantities)) for r in scene.kept.records] == (
        [(end.status, end.outcome, end.uses)] if end.outcome is not None else []
    )
    assert len(scene.kept.open) == scene.kept.failed == end.slots
    assert (scene.shared.exchanges, scene.telemetry.open_exchanges) == (set(), 0)
    written = scene.wire.written
    if end.client > 0:
        assert written.startswith(b"HTTP/1.1 %d " % end.client)
        head, _, body = written.partition(b"\r\n\r\n")
        assert head.endswith(b"content-length: %d" % len(body)) or b"content-length: %d\r\n" % len(body) in head  # fmt: skip
    else:
        assert scene.wire.closing
        assert written.startswith(b"HTTP/1.1 200 ") == (end.client < 0)
        assert not written.endswith(b"0\r\n\r\n")
    if end.happens is not no_room:
        scene.end()
        scene.check_end()


def test_the_table_has_a_line_for_each_end() -> None:
    """So that nobody forgets one of the two."""
    lines = [line for line in (__doc__ or "").splitlines() if line.startswith("| ")][1:]
    variants = {takes_nothing: 1, drained_too_far: 1}  # played twice for one line
    assert len(lines) - 1 == len(ENDS) - sum(variants.values())
