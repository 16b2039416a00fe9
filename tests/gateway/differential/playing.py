"""Plays a case through one shell, and says what came of it in terms that both shells must share."""

import contextlib
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.gateway.callers import reset
from tests.gateway.differential.scripts import PROBE, PROBED, Case, Scripted, Seen, Step
from tests.gateway.running import Running
from tests.servers import eventually

_WAIT_S = 10.0
_PAUSE_S = 0.02
_VARYING = {b"date", b"x-request-id"}


@dataclass(frozen=True)
class Reply:
    """One final reply; `whole` is False where it broke off. Of the gateway's own only the code."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    whole: bool


@dataclass(frozen=True)
class Played:
    """What a shell made of a case."""

    replies: tuple[Reply, ...]
    interim: tuple[int, ...]
    stays_open: bool
    records: tuple[tuple[Any, ...], ...]
    slots: int  # left on the board
    seen: tuple[Seen, ...]

    def parts(self) -> Mapping[str, Any]:
        """By name, so that a case can name those that may differ."""
        return dict(self.__dict__)


def play(case: Case, gw: Running, up: Scripted) -> Played:
    """Run the case; everything is over when this returns."""
    gw.idle()
    gw.kept.records.clear()
    gw.kept.open.clear()
    up.play(case)
    left_before = gw.telemetry.disconnects["chat",]
    reader = ReplyReader(case.methods)
    leaves = bool(case.client) and case.client[-1] in (Step.CLOSE, Step.RESET)
    with socket.create_connection(("127.0.0.1", gw.port), timeout=_WAIT_S) as client:
        _speak(case, client, up, reader)
        if leaves:
            if case.client[-1] is Step.RESET:
                reset(client)
        else:
            _listen(client, reader)
    if leaves:
        eventually(lambda: gw.telemetry.disconnects["chat",] > left_before or not gw.kept.open)
        up.gone.set()
    up.gone.set()
    gw.idle()
    eventually(lambda: not gw.telemetry.open_exchanges)
    assert gw.telemetry.drains_active == 0
    records = list(gw.kept.records)
    probed = bool(reader.replies) and reader.replies[-1].body == PROBED
    if probed:
        records.pop()
    replies = tuple(reader.replies[:-1] if probed else reader.replies)
    return Played(
        () if leaves else replies,
        () if leaves else tuple(reader.interim),
        probed,
        tuple(map(_told, records)),
        len(gw.kept.open),
        tuple(up.seen),
    )


def _told(record: Any) -> tuple[Any, ...]:
    quantities = {
        meter: (quantity.value, str(quantity.grade))
        for meter, quantity in record.quantities.items()
    }
    return (record.status, str(record.outcome), quantities, record.charges)


def _speak(case: Case, client: socket.socket, up: Scripted, reader: "ReplyReader") -> None:
    for step in case.client:
        if isinstance(step, bytes):
            with contextlib.suppress(OSError):
                client.sendall(step)
        elif step is Step.PAUSE:
            time.sleep(_PAUSE_S)
        elif step is Step.ASKED:
            assert up.asked.wait(_WAIT_S)
        elif step is Step.SAID:
            assert up.said.wait(_WAIT_S)
        elif step is Step.REPLIED:
            while not reader.heard:  # some of its body, that is
                reader.feed(client.recv(65536))


def _listen(client: socket.socket, reader: "ReplyReader") -> None:
    """Read the replies to be expected, ask once more, and read until the end."""
    probed = False
    with contextlib.suppress(ConnectionError):
        while True:
            if not probed and len(reader.replies) >= len(reader.methods):
                probed = True
                reader.methods = [*reader.methods, "GET"]
                client.sendall(PROBE)
            data = client.recv(65536)
            if not data:
                break
            reader.feed(data)
    reader.finish()


class ReplyReader:
    """Reads what a client gets, knowing the methods it asked with."""

    def __init__(self, methods: Sequence[str]) -> None:
        self.methods = methods
        self.replies: list[Reply] = []
        self.interim: list[int] = []
        self.heard = False
        self._data = b""

    def feed(self, data: bytes) -> None:
        """More of it."""
        assert data, "closed too soon"
        self._data += data
        while self._take(closed=False):
            pass
        self.heard = bool(self.replies or self._data.partition(b"\r\n\r\n")[2])

    def finish(self) -> None:
        """That was all."""
        while self._take(closed=True):
            pass

    def _take(self, *, closed: bool) -> bool:
        head, end, rest = self._data.partition(b"\r\n\r\n")
        if not end:
            return False
        line, *lines = head.split(b"\r\n")
        status = int(line.split(b" ")[1])
        if status < 200:
            self.interim.append(status)
            self._data = rest
            return True
        headers = [(n.lower(), v) for n, _, v in (each.partition(b": ") for each in lines)]
        turn = len(self.replies)
        method = self.methods[turn] if turn < len(self.methods) else "GET"
        body, left = _body(method, status, dict(headers), rest)
        whole = left is not None
        if not whole and not closed:
            return False
        stable = tuple(each for each in headers if each[0] not in _VARYING)
        if any(name == b"x-request-id" and value in body for name, value in headers):
            assert status != 500, "a bug in the gateway"
            body = body.partition(b',"message":')[0]  # the gateway's own
            stable = tuple(each for each in stable if each[0] != b"content-length")
        self.replies.append(Reply(status, stable, body, whole))
        self._data = left or b""
        return True


def _body(method: str, status: int, headers: Mapping[bytes, bytes], data: bytes) -> tuple[bytes, bytes | None]:  # fmt: skip
    """The body, and what follows it: None where it is not whole."""
    if method == "HEAD" or status in {204, 304}:
        return b"", data
    if b"content-length" in headers:
        length = int(headers[b"content-length"])
        return data[:length], data[length:] if len(data) >= length else None
    if headers.get(b"transfer-encoding") == b"chunked":
        return _chunks(data)
    return data, None  # ends with the connection, so that nobody knows


def _chunks(data: bytes) -> tuple[bytes, bytes | None]:
    content = b""
    while True:
        line, end, data = data.partition(b"\r\n")
        if not end:
            return content, None
        size = int(line, 16)
        if not size:
            break
        content += data[:size]
        if len(data) < size + 2:
            return content, None
        data = data[size + 2 :]
    while True:  # trailers
        line, end, data = data.partition(b"\r\n")
        if not end:
            return content, None
        if not line:
            return content, data
