"""Whatever happens in whatever order: one record or none, replies whole and in order, nothing left.

A client, its upstreams, the journal and the time, all played: see line.py for what is real.
"""

import random
import re
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gateway.errors import UpstreamTimeout, UpstreamUnavailable
from metering.usage import Outcome
from tests.gateway.line import Bench, Wire
from tests.gateway.replies import CHAT_STREAM

HOST = b"Host: gw\r\n"
KEY = b"X-Api-Key: sk-test\r\n"
_TURN = re.compile(rb" /v1/(?:chat/completions\?)?(\d+) HTTP")
CHAT = b'{"stream": true, "messages": []}'


def request(kind: str, turn: int) -> bytes:
    """One request; its number stands in the target."""
    line = b" /v1/%d HTTP/1.1\r\n" % turn + HOST + KEY
    sized, chunked = b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n"
    return {
        "get": b"GET" + line + b"\r\n",
        "head": b"HEAD" + line + b"\r\n",
        "post": b"POST" + line + sized,
        "large": b"POST" + line + b"Content-Length: 70000\r\n\r\n" + b"x" * 70_000,
        "expects": b"POST" + line + b"Expect: 100-continue\r\n" + sized,
        "chunked": b"PUT" + line + chunked + b"5\r\nhello\r\n0\r\nX-Late: 1\r\n\r\n",
        "chat": b"POST /v1/chat/completions?%d HTTP/1.1\r\n" % turn + HOST + KEY
        + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(CHAT) + CHAT,
        "no key": b"GET /v1/%d HTTP/1.1\r\n" % turn + HOST + b"\r\n",
        "no key, a body": b"POST /v1/%d HTTP/1.1\r\n" % turn + HOST + sized,
        "closing": b"GET" + line + b"Connection: close\r\n\r\n",
        "old": b"GET" + line.replace(b"1.1", b"1.0") + b"\r\n",
        "bad chunk": b"PUT" + line + chunked + b"5\r\nhelloXX",
        "bad": b"GET /v1/%d HTTP/1.1\r\nNo Host: x\r\n\r\n" % turn,
    }[kind]  # fmt: skip


KINDS = ["get", "head", "post", "large", "expects", "chunked", "chat", "no key", "no key, a body", "closing", "old", "bad chunk", "bad"]  # fmt: skip
TROUBLE = ["leaves", "full", "full", "slow journal", "durable", "durable", "journal full", "journal shut", "stop", "frozen", "cut off"]  # fmt: skip
_EVENTS = b"HTTP/1.1 200 OK\r\nX-Turn: %d\r\nContent-Type: text/event-stream\r\n"


def reply(kind: str, turn: int, *, head_only: bool) -> bytes:
    """One reply; whose it is stands in its head and in its body."""
    turned = b"HTTP/1.1 200 OK\r\nX-Turn: %d\r\n" % turn
    body = b"%d " % turn * 20
    if head_only:
        return turned + b"Content-Length: 60\r\n\r\n"
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in (body, body))
    events = b"".join(
        b"%x\r\n%b\n\n\r\n" % (len(e) + 2, e) for e in CHAT_STREAM.split(b"\n\n")[:-1]
    )
    sized = b"Content-Length: %d\r\n\r\n" % len(body) + body
    dated = b"HTTP/1.1 200 OK\r\nDate: Mon, 21 Sep 2026 14:13:20 GMT\r\nContent-Length: 40\r\n\r\n"
    return {
        "usual": dated + b"%040d" % turn,  # a head that is known the second time
        "sized": turned + sized,
        "closing": turned + b"Connection: close\r\n" + sized,
        "chunked": turned + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n",
        "until close": turned + b"\r\n" + body,
        "events": _EVENTS % turn + b"Transfer-Encoding: chunked\r\n\r\n" + events + b"0\r\n\r\n",
        "error": turned.replace(b"200 OK", b"503 No") + sized,
        "nothing": turned.replace(b"200 OK", b"204 No") + b"\r\n",
        "interim": b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + turned + sized,
        "garbage behind": turned + sized + b"garbage",
        "bad chunk": turned + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX",
        "nonsense": b"what is this?\r\n\r\n",
    }[kind]


REPLIES = ["usual", "usual", "sized", "sized", "closing", "chunked", "until close", "events", "error", "nothing", "interim", "garbage behind", "bad chunk", "nonsense"]  # fmt: skip


@dataclass
class Peer:
    """An upstream's side of one connection."""

    wire: Wire
    read: int = 0  # bytes of what was written to it
    kind: str = ""
    to_say: bytes = b""
    full: bool = False

    def asked(self) -> re.Match[bytes] | None:
        """The next request it has."""
        return _TURN.search(self.wire.written, self.read)

    @property
    def busy(self) -> bool:
        """Whether it has something to say."""
        return bool(self.to_say) or self.asked() is not None


class Faults(RuleBasedStateMachine):
    """One client's connection and up to two upstreams."""

    policy = "drain"

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(self.policy, upstreams=2, seconds=30.0, max_bytes=200, at_once=1)
        self.kinds: list[str] = []
        self.connect()

    def connect(self) -> None:
        """A new client, who knows nothing of the last one."""
        self.protocol, self.wire = self.bench.client()
        self.first = len(self.kinds)
        self.to_send = b""
        self.full = False
        self.peers: list[Peer] = getattr(self, "peers", [])

    # The client

    @rule(kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=3), size=st.integers(1, 400))
    def asks(self, kinds: list[str], size: int) -> None:
        """More requests, of which so many bytes are sent at once."""
        if self.wire.closing:
            self.leaves()
        for kind in kinds:
            self.to_send += request(kind, len(self.kinds))
            self.kinds.append(kind)
        self.sends(size)

    @precondition(lambda self: self.to_send)
    @rule(size=st.one_of(st.integers(1, 60), st.integers(60, 100_000)))
    def sends(self, size: int) -> None:
        """The next bytes."""
        if self.wire.reading and not self.wire.closing:
            data, self.to_send = self.to_send[:size], self.to_send[size:]
            self.bench.says(self.wire, data)

    def leaves(self) -> None:
        """Another one comes."""
        self.wire.breaks()
        self.check_replies()
        self.connect()

    def takes_nothing_or_does_again(self) -> None:
        """Its buffer is full, or has room again."""
        if not self.wire.lost:
            self.full = not self.full
            (self.protocol.pause_writing if self.full else self.protocol.resume_writing)()
            self.bench.loop.turn()

    # The upstreams

    @precondition(lambda self: self.bench.dials)
    @rule(well=st.sampled_from(["yes", "yes", "yes", "yes", "refused", "late"]))
    def a_connect_ends(self, well: str) -> None:
        """Well, or not."""
        error = {"refused": UpstreamUnavailable(), "late": UpstreamTimeout()}.get(well)
        wire = self.bench.connect(error)
        if wire is not None:
            self.peers.append(Peer(wire))

    @precondition(lambda self: any(peer.busy for peer in self.peers))
    @rule(data=st.data(), kind=st.sampled_from(REPLIES), size=st.integers(1, 400))
    def answers(self, data: st.DataObject, kind: str, size: int) -> None:
        """Some upstream answers the request it has, or goes on with that."""
        self.says(data.draw(st.sampled_from([p for p in self.peers if p.busy])), kind, size)

    @rule(kind=st.sampled_from(REPLIES))
    def all_goes_well(self, kind: str) -> None:
        """Everything is sent, connected and answered as far as it can be."""
        self.sends(1_000_000)
        while self.bench.dials:
            self.a_connect_ends("yes")
        for peer in [peer for peer in self.peers if peer.busy]:
            self.says(peer, kind, 1_000_000)

    def says(self, peer: Peer, kind: str, size: int) -> None:
        """So many bytes of its reply, if it is listened to."""
        found = peer.asked()
        if found is not None and not peer.to_say:
            turn = int(found[1])
            peer.read, peer.kind = found.end(), kind
            peer.to_say = reply(kind, turn, head_only=self.kinds[turn] == "head")
        if peer.wire.reading:
            data, peer.to_say = peer.to_say[:size], peer.to_say[size:]
            self.bench.says(peer.wire, data)
        if peer.kind == "until close" and not peer.to_say:
            self.ends(peer, clean=True)

    def ends(self, peer: Peer, *, clean: bool) -> None:
        """With or without an orderly end."""
        self.peers.remove(peer)
        if clean and not peer.wire.closing and peer.wire.reading:
            peer.wire.protocol.eof_received()
        peer.wire.breaks()

    # Trouble, more seldom

    @rule(kind=st.sampled_from(TROUBLE))
    def trouble(self, kind: str) -> None:
        """Of some kind, for the client, the journal or the worker."""
        kept = self.bench.kept
        {
            "leaves": self.leaves,
            "full": self.takes_nothing_or_does_again,
            "slow journal": lambda: setattr(kept, "slow", not kept.slow),
            "durable": kept.made_durable,
            "journal full": lambda: setattr(kept, "full", not kept.full),
            "journal shut": lambda: setattr(kept, "shut", not kept.shut),
            "stop": self.protocol.shutdown,
            "frozen": self.bench.stop_calls,
            "cut off": self.bench.shared.cut_off,
        }[kind]()
        self.bench.loop.turn()

    @precondition(lambda self: self.peers)
    @rule(data=st.data(), kind=st.sampled_from(["cut", "broken", "full", "full"]))
    def trouble_upstream(self, data: st.DataObject, kind: str) -> None:
        """Of some kind, for one of its connections."""
        peer = data.draw(st.sampled_from(self.peers))
        if kind == "full":
            self.an_upstream_is_full_or_ready(peer)
        else:
            self.ends(peer, clean=kind == "cut")

    @rule(seconds=st.sampled_from([0.3, 4.0, 12.0, 12.0, 70.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        """Time-outs."""
        self.bench.wait(seconds)

    def an_upstream_is_full_or_ready(self, peer: Peer) -> None:
        """It takes nothing, or does again."""
        if not peer.wire.lost and not peer.wire.closing:
            peer.full = not peer.full
            protocol = peer.wire.protocol
            (protocol.pause_writing if peer.full else protocol.resume_writing)()
            self.bench.loop.turn()

    # What holds

    @invariant()
    def nothing_is_wrong(self) -> None:
        """At any moment."""
        self.bench.check()

    def teardown(self) -> None:
        """And when everybody has left."""
        self.check_replies()
        self.bench.end()
        self.bench.check_end()
        for turn, kind in enumerate(self.kinds):
            sent = sum(wire.written.count(b"/v1/%d HTTP" % turn) for wire in self.bench.wires)
            assert sent <= (1 if kind in {"post", "large", "expects"} else 3), kind
        complete = [r for r in self.bench.kept.records if r.outcome is Outcome.COMPLETE]
        assert len({record.request_id for record in complete}) == len(complete)

    def check_replies(self) -> None:
        """The client has whole replies in the order of its requests; the last may be cut."""
        raw, turn = self.wire.written, self.first
        while raw:
            head, end, raw = raw.partition(b"\r\n\r\n")
            assert end, head
            status = int(head[9:12])
            if status < 200:
                continue
            kind = self.kinds[turn]
            if status == 408:  # perhaps before it could be known what it was
                return
            whose = re.search(rb"\r\nx-turn: (\d+)", head.lower())
            assert whose is None or int(whose[1]) == turn, (head, kind)
            body, raw, whole = cut_body(head.lower(), raw, bodyless=kind == "head" or status == 204)
            if whose is not None and b"event-stream" not in head:
                assert (b"%d " % turn * 40).startswith(body) or b"helloXX".startswith(body)
                if whole and kind != "head" and status != 204:
                    assert body in (b"%d " % turn * 20, b"%d " % turn * 40)
            elif b"content-length: 40\r\n" in head.lower() and kind != "head" and whose is None:
                assert (b"%040d" % turn).startswith(body)
            turn += 1
            assert whole or not raw


def cut_body(head: bytes, raw: bytes, *, bodyless: bool) -> tuple[bytes, bytes, bool]:
    """The body, what follows it, and whether it is whole."""
    if bodyless:
        return b"", raw, True
    length = re.search(rb"content-length: (\d+)", head)
    if length is not None:
        size = int(length[1])
        return raw[:size], raw[size:], len(raw) >= size
    if b"transfer-encoding: chunked" not in head:
        return raw, b"", False
    body = b""
    while True:
        line, end, raw = raw.partition(b"\r\n")
        if not end:
            return body, b"", False
        size = int(line, 16)
        body, raw = body + raw[:size], raw[size + 2 :]
        if not size:
            return body, raw, True


class FaultsWhenAborting(Faults):
    """With routes that do not read on when a client leaves."""

    policy = "abort"


_SETTINGS = settings(
    max_examples=50,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@pytest.mark.parametrize("machine", [Faults, FaultsWhenAborting])
def test_nothing_is_lost_whatever_happens(machine: type[Faults]) -> None:
    """One record or an emptied slot for each exchange, and no trace of it anywhere."""
    run_state_machine_as_test(machine, settings=_SETTINGS)


@pytest.mark.parametrize("machine", [Faults, FaultsWhenAborting])
def test_nothing_is_lost_in_many_ordinary_lives(machine: type[Faults]) -> None:
    """The same, with everything as likely as it is interesting: exchanges get further so."""
    for seed in range(300):
        chance = random.Random(seed)
        life = machine()
        try:
            for _ in range(60):
                live(life, chance)
                life.nothing_is_wrong()
            life.teardown()
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise


def live(life: Faults, chance: random.Random) -> None:
    """The next thing that happens."""
    some, many = chance.randint(1, 400), chance.choice([chance.randint(1, 60), 100_000])
    if chance.random() < 0.15:
        upset(life, chance)
        return
    busy = [peer for peer in life.peers if peer.busy]
    what = chance.choice(["ask", "send", "connect", "answer", "answer", "well"])
    if what == "ask":
        life.asks(chance.sample(KINDS, chance.randint(1, 3)), chance.choice([some, 100_000]))
    elif what == "send":
        life.sends(many)
    elif what == "connect" and life.bench.dials:
        life.a_connect_ends(chance.choice(["yes", "yes", "yes", "yes", "refused", "late"]))
    elif what == "answer" and busy:
        life.says(chance.choice(busy), chance.choice(REPLIES), some)
    elif what == "well":
        life.all_goes_well(chance.choice(REPLIES))


def upset(life: Faults, chance: random.Random) -> None:
    """Time-outs, and trouble of all kinds."""
    what = chance.choice(["time", "any", "full", "end"])
    if what == "time":
        life.time_passes(chance.choice([0.3, 4.0, 12.0, 70.0, 400.0]))
    elif what == "any" or not life.peers:
        life.trouble(chance.choice(TROUBLE))
    elif what == "full":
        life.an_upstream_is_full_or_ready(chance.choice(life.peers))
    else:
        life.ends(chance.choice(life.peers), clean=chance.random() < 0.5)
