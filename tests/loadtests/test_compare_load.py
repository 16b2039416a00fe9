"""The Python origin under the paced generator, under single calls and under streams that stay open."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from loadtests.compare import load, origins
from loadtests.compare.machine import Cores, usable_cores
from loadtests.compare.origins import Origin
from loadtests.compare.pace import complete
from loadtests.compare.processes import (
    Command,
    DidNotStart,
    descendants,
    free_port,
    listening,
    parent_of,
    started,
)
from loadtests.compare.scenarios import EVENTS, PATH, SCENARIOS, Answering, call_body, reply_body
from loadtests.compare.streams import open_streams
from tests.installations import eventually
from tests.tallygate.serving import serving

ANYWHERE = Cores(*[frozenset(usable_cores())] * 3)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
SIZED = b"HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 5\r\n\r\n12345"
CHUNKED = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"


@contextmanager
def running(answering: Answering, folder: Path) -> Iterator[Origin]:
    with origins.origin("python", answering, folder / "origin", ANYWHERE) as origin:
        yield origin


@given(st.sampled_from([(SIZED, 200), (CHUNKED, 201)]), st.integers(min_value=0, max_value=200))
def test_a_reply_is_complete_with_its_last_byte(reply: tuple[bytes, int], length: int) -> None:
    """And not before, wherever it is cut."""
    whole, status = reply
    part = whole[:length]
    assert complete(part) == (status if part == whole else None)


def test_a_steady_rate_is_answered_and_counted(tmp_path: Path) -> None:
    """Every call that was due was made, and the origin knows of each."""
    with running("json", tmp_path) as origin:
        said = load.pace(BY_NAME["half"], origin.port, 200, 1, tmp_path, ANYWHERE.load)
        assert said["errors"] == 0
        assert 0 < said["p50"] <= said["p99"]
        assert origin.calls() == said["replies"] > 50


def test_what_is_refused_is_an_error(tmp_path: Path) -> None:
    """A status other than 2xx counts as one, call by call."""
    with serving(Starlette()) as url:
        port = int(url.rpartition(":")[2])
        said = load.pace(BY_NAME["half"], port, 100, 1, tmp_path, ANYWHERE.load)
    assert said["errors"] == said["replies"] > 20


def test_a_generator_that_fails_says_so(tmp_path: Path) -> None:
    """Nobody listens there."""
    with pytest.raises(load.Wrong, match="ConnectionRefusedError"):
        load.pace(BY_NAME["half"], free_port(), 10, 1, tmp_path, ANYWHERE.load)


@pytest.mark.parametrize("answering", ["json", "unique", "read"])
def test_the_origin_answers_like_an_api(answering: Answering, tmp_path: Path) -> None:
    """Also when the body comes later than the head; `unique` with a new field each time."""
    with running(answering, tmp_path) as origin:
        url = f"http://127.0.0.1:{origin.port}{PATH}"
        body = call_body(BY_NAME["post16k"])
        with httpx.Client(trust_env=False) as client:
            replies = [client.post(url, content=body) for _ in range(3)]
        assert [reply.content for reply in replies] == [reply_body()] * 3
        fields = {reply.headers.get("x-upstream-id") for reply in replies}
        assert len(fields) == (3 if answering == "unique" else 1)


def test_a_stream_has_its_events_and_its_usage(tmp_path: Path) -> None:
    """A probe looks at them too."""
    with running("sse", tmp_path) as origin:
        length = load.probe(BY_NAME["sse"], origin.port)
        url = f"http://127.0.0.1:{origin.port}{PATH}"
        text = httpx.post(url, content=call_body(BY_NAME["sse"]), trust_env=False).text
    assert len(text) == length
    data = [line.removeprefix("data: ") for line in text.splitlines() if line]
    assert data[-1] == "[DONE]"
    assert len(data) == EVENTS + 1
    assert json.loads(data[-2])["usage"]["total_tokens"] == EVENTS + 11


def test_idle_streams_stay_open(tmp_path: Path) -> None:
    """All of them have had their first event."""
    with running("idle", tmp_path) as origin, open_streams(BY_NAME["idle"], origin.port, 30):
        assert origin.calls() == 30


def test_a_reply_without_usage_is_no_load(tmp_path: Path) -> None:
    """What answers something else is not measured."""
    with running("json", tmp_path) as origin, pytest.raises(load.Wrong, match="0 events"):
        load.probe(BY_NAME["sse"], origin.port)


def test_what_does_not_start_says_why(tmp_path: Path) -> None:
    """With the end of what it wrote."""
    argv = ["/bin/sh", "-c", "echo no such thing; exit 3"]
    with started(Command(argv, tmp_path, usable_cores())) as process:
        process.wait()
        with pytest.raises(DidNotStart, match="no such thing"):
            listening(process, free_port(), tmp_path / "process.log", 5)


def test_nothing_is_left_of_what_was_started(tmp_path: Path) -> None:
    """Children of a process that ends at once are ended as well."""
    argv = ["/bin/sh", "-c", "sleep 60 & sleep 60"]
    with started(Command(argv, tmp_path, usable_cores())) as process:
        eventually(lambda: len(descendants(process.pid)) == 3)
        family = descendants(process.pid)
    eventually(lambda: not any(parent_of(pid) for pid in family))
