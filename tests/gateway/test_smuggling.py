"""No request reaches the upstream that the client did not unambiguously send."""

import contextlib
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import h11
import pytest

from metering.usage import UsageRecord
from tests.gateway.reading_raw import requests_in
from tests.gateway.running import Running, gateway
from tests.gateway.smuggling import CASES
from tests.gateway.smuggling_terms import NEXT, Case, Forwarded
from tests.servers import accepting, ask

_NEXT = Forwarded("GET", b"/v1/next", b"")
_STATUS = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9]) ")


@dataclass
class Witness:
    """An upstream that reads strictly, and keeps the requests that came whole and what was wrong."""

    url: str = ""
    requests: list[Forwarded] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def serve(self, connection: socket.socket) -> None:
        """Answer requests until the connection ends; half a request at its end is none."""
        reader = h11.Connection(h11.SERVER)
        with connection, contextlib.suppress(ConnectionError):
            while data := connection.recv(65536):
                reader.receive_data(data)
                try:
                    while self._take(reader, connection):
                        pass
                except h11.RemoteProtocolError as error:
                    self.wrong.append(str(error))
                    return

    def _take(self, reader: h11.Connection, connection: socket.socket) -> bool:
        event = reader.next_event()
        if isinstance(event, h11.Request):
            self._method, self._target, self._body = event.method, event.target, b""
        elif isinstance(event, h11.Data):
            self._body += event.data
        elif isinstance(event, h11.EndOfMessage):
            self.requests.append(Forwarded(self._method.decode(), self._target, self._body))
            reader.send(h11.Response(status_code=200, headers=[("content-length", "2")]))
            reader.send(h11.Data(data=b"ok"))
            reader.send(h11.EndOfMessage())
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            reader.start_next_cycle()
        return event not in (h11.NEED_DATA, h11.PAUSED)


@contextmanager
def witness() -> Iterator[Witness]:
    """A strict upstream until the block ends."""
    seen = Witness()
    with accepting(seen.serve) as port:
        seen.url = f"http://127.0.0.1:{port}"
        yield seen


@dataclass
class Stand:
    """A gateway of one shell in front of a witness."""

    shell: str
    gateway: Running
    seen: Witness


@pytest.fixture(scope="module")
def shared(shell: str) -> Iterator[Stand]:
    """The same corpus goes through every shell."""
    with witness() as seen, gateway(seen.url) as running:
        yield Stand(shell, running, seen)


@pytest.fixture
def stand(shared: Stand) -> Stand:
    """With nothing seen yet."""
    shared.gateway.idle()
    shared.gateway.kept.records.clear()
    shared.seen.requests.clear()
    shared.seen.wrong.clear()
    return shared


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_our_readers_agree_with_the_corpus(case: Case) -> None:
    """Head, framing and body, without any server."""
    found, refusal = requests_in(case.raw + NEXT)
    if case.refused:
        assert found == []
        assert refusal is not None
        assert refusal.status == case.refused
        assert (b"connection", b"close") in refusal.headers
    else:
        assert found == [case.forwarded, _NEXT]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_request_is_forwarded_once_or_refused(case: Case, stand: Stand) -> None:
    """Refused: answered, closed, nothing served. Forwarded: it and the next, as they were sent."""
    other = case.portable if stand.shell == "portable" else "same"
    if other == "waits":
        pytest.skip("the server waits for the rest of the body, as it may")
    raw = ask(stand.gateway.port, case.raw + NEXT)
    stand.gateway.idle()
    statuses = [int(status) for status in _STATUS.findall(raw)]
    served = stand.seen.requests
    assert stand.seen.wrong == []
    assert sum(status == 200 for status in statuses) == len(served) == len(counted(stand))
    if other == "lenient":
        assert only_what_was_meant(served)
    elif case.refused or (other == "refuses" and not served):
        assert served == []
        assert len(statuses) == 1, raw
        assert statuses[0] in refusals(case, stand)
    else:
        assert served == expected(case, stand)


def counted(stand: Stand) -> list[UsageRecord]:
    """The records of requests that were served."""
    return [record for record in stand.gateway.kept.records if record.quantities]


def expected(case: Case, stand: Stand) -> list[Forwarded]:
    """What the upstream must see."""
    assert case.forwarded is not None
    if case.last or (case.name == "h2c upgrade" and stand.shell == "portable"):
        return [case.forwarded]  # after an Upgrade uvicorn reads no further request
    return [case.forwarded, _NEXT]


def refusals(case: Case, stand: Stand) -> set[int]:
    """A server's own parser knows one word for everything: 400."""
    return {case.refused} if stand.shell == "linerate" else {case.refused, 400}


def only_what_was_meant(served: list[Forwarded]) -> bool:
    """The request itself, or none, and then the next one, or none."""
    first = [request for request in served if request != _NEXT]
    return (
        served in ([*first, _NEXT], first)
        and all(request.target.startswith(b"/v1/x") for request in first[:1])
        and len(first) <= 1
    )
