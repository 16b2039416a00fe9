"""Usage in every dialect, whole and in streams, plain and packed, and what goes wrong with it."""

import gzip
import json
from dataclasses import replace

from tests.gateway.differential.cases_framing import GET, PAUSE, head, in_bytes, reply
from tests.gateway.differential.scripts import Case, Step
from tests.gateway.replies import BODIES, STREAMS, delta, sse

JSON = b"Content-Type: application/json"
SSE = b"Content-Type: text/event-stream"
GZIP = b"Content-Encoding: gzip"
_PATHS = {"chat": b"/v1/chat/completions", "responses": b"/v1/responses", "messages": b"/v1/messages", "embeddings": b"/v1/embeddings"}  # fmt: skip


def call(kind: str, document: object | None = None) -> bytes:
    """A call of an API, with its JSON body."""
    body = json.dumps(document or {"model": "m"}).encode()
    path = _PATHS.get(kind, b"/v1/chat/completions")
    return head(b"POST", path, JSON, b"Content-Length: %d" % len(body)) + body


def stream_of(content: bytes, *, size: int = 0, lines: bytes = b"") -> list[bytes | Step]:
    """A chunked stream: each event a chunk, or chunks of `size`."""
    opened = b"HTTP/1.1 200 OK\r\n" + SSE + b"\r\n" + lines + b"Transfer-Encoding: chunked\r\n\r\n"
    pieces = [content[at : at + size] for at in range(0, len(content), size)] if size else content.split(b"\n\n")  # fmt: skip
    end = b"" if size else b"\n\n"
    chunks = [piece + end for piece in pieces[:-1]] + [pieces[-1]]
    framed = [b"%x\r\n%b\r\n" % (len(each), each) for each in chunks if each]
    return [opened, PAUSE, *framed, b"0\r\n\r\n"]


STREAMING = {"model": "m", "stream": True, "messages": []}
WHOLE = [
    Case(f"{kind} whole", [call(kind)], [[reply(json.dumps(document).encode(), JSON)]])
    for kind, (document, _) in BODIES.items()
]
STREAMED = [
    Case(f"{kind} streamed", [call(kind, STREAMING)], [stream_of(content)])
    for kind, (content, _) in STREAMS.items()
]
IN_PIECES = [
    Case(f"{kind} in pieces of 7", [call(kind, STREAMING)], [stream_of(content, size=7)])
    for kind, (content, _) in STREAMS.items()
    if kind in _PATHS
]
CHAT, _ = STREAMS["chat"]
USAGE = json.dumps(BODIES["chat"][0]).encode()
PACKED_TEXT = gzip.compress(b'{"input":"hello"}')
PACKED = gzip.compress(USAGE)
ASKED_FOR = STREAMING | {"stream_options": {"include_usage": True}}
ERROR = sse(delta("Hel"), {"error": {"message": "overloaded", "code": 529}})
OTHERS = [
    Case("a client that asked for usage", [call("chat", ASKED_FOR)], [stream_of(CHAT)]),
    Case("a stream with a length", [call("chat", STREAMING)], [[reply(CHAT, SSE)]]),
    Case("a stream with a length, in two", [call("chat", STREAMING)], [[reply(CHAT, SSE)[:-90], PAUSE, CHAT[-90:]]]),
    Case("a stream until it closes", [call("chat", STREAMING)], [[b"HTTP/1.1 200 OK\r\n" + SSE + b"\r\n\r\n" + CHAT, Step.CLOSE]]),
    Case("a stream for HTTP/1.0", [call("chat", STREAMING).replace(b"HTTP/1.1", b"HTTP/1.0")], [stream_of(CHAT)], differs=frozenset({"replies"}), because="uvicorn sends chunks to HTTP/1.0 too"),
    Case("packed", [GET], [[reply(PACKED, JSON, GZIP)]]),
    Case("packed, in two", [GET], [[reply(PACKED, JSON, GZIP)[:-20], PAUSE, PACKED[-20:]]]),
    Case("packed and broken", [GET], [[reply(PACKED[:-9] + b"123456789", JSON, GZIP)]]),
    Case("packed and short", [GET], [[reply(PACKED[:40], JSON, GZIP)]]),
    Case("a packed stream", [call("chat", ASKED_FOR)], [stream_of(gzip.compress(CHAT), size=50, lines=GZIP + b"\r\n")]),
    Case("no usage in it", [GET], [[reply(b"{}", JSON)]]),
    Case("no JSON in it", [GET], [[reply(b"<html>", JSON)]]),
    Case("an error in a stream", [call("chat", STREAMING)], [stream_of(ERROR)]),
    Case("a stream without usage", [call("chat", STREAMING)], [stream_of(sse(delta("Hel"), delta("lo", "stop"), "[DONE]"))]),
    Case("a body that is no JSON", [head(b"POST", b"/v1/chat/completions", JSON, b"Content-Length: 4") + b"{no}"], [[reply(USAGE, JSON)]]),
    Case("a body in chunks that is changed", [head(b"POST", b"/v1/chat/completions", JSON, b"Transfer-Encoding: chunked"), PAUSE, b'f\r\n{"stream": true\r\n', PAUSE, b"1\r\n}\r\n0\r\n\r\n"], [stream_of(CHAT)]),
    Case("a body in pieces that is changed", [call("chat", STREAMING)[:-20], PAUSE, call("chat", STREAMING)[-20:]], [stream_of(CHAT)]),
    *[
        Case(f"an error of {status.decode()}", [call("chat", STREAMING)], [[reply(USAGE, JSON, b"Retry-After: 3", status=status)]])
        for status in (b"400 Bad", b"401 No", b"404 Not Found", b"413 Too Large", b"429 Too Many", b"500 Oh", b"503 Later", b"529 Overloaded")
    ],
]  # fmt: skip

NORMAL = [
    *[replace(case, name=f"{case.name}, normal", policy="normal") for case in (*WHOLE[:3], *STREAMED[:4], *IN_PIECES[:1], *OTHERS[:-6])],
    Case("in bytes, normal", [call("chat")], [in_bytes(reply(USAGE, JSON), 9)], policy="normal"),
    Case("a text that is counted", [call("chat", {"input": "你好"})], [[reply(USAGE, JSON)]], policy="normal"),
    Case("a text in pieces", [call("chat", {"input": "hello"})[:-9], PAUSE, call("chat", {"input": "hello"})[-9:]], [[reply(USAGE, JSON)]], policy="normal"),
    Case("a packed text", [head(b"POST", b"/v1/x", JSON, GZIP, b"Content-Length: %d" % len(PACKED_TEXT)) + PACKED_TEXT], [[reply(USAGE, JSON)]], policy="normal"),
    Case("two texts in a row", [call("chat", {"input": "a"}) + call("chat", {"input": "bc"})], [[reply(USAGE, JSON)], [reply(USAGE, JSON)]], methods=("GET", "GET"), policy="normal"),
    Case("cut, normal", [call("chat")], [[reply(USAGE, JSON)[:-9], PAUSE, Step.CLOSE]], policy="normal"),
    Case("a stream that is cut, normal", [call("chat", STREAMING)], [[*stream_of(CHAT)[:-2], PAUSE, Step.CLOSE]], policy="normal"),
    Case("of no length, normal", [GET], [[reply(b"", JSON)]], policy="normal"),
    Case("HEAD, normal", [head(b"HEAD")], [[reply(USAGE, JSON)[: -len(USAGE)]]], methods=("HEAD",), policy="normal"),
]  # fmt: skip

ALL = [*NORMAL, *WHOLE, *STREAMED, *IN_PIECES, *OTHERS]
