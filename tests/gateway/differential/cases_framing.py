"""How messages end, in both directions, and in whatever pieces they come."""

from tests.gateway.differential.scripts import HOST, KEY, Case, Step

PAUSE, CLOSE = Step.PAUSE, Step.CLOSE

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKS = (b"3\r\nhel\r\n", b"2;ext=1\r\nlo\r\n", b"0\r\n\r\n")


def head(method: bytes = b"GET", target: bytes = b"/v1/x", *lines: bytes, version: bytes = b"1.1") -> bytes:  # fmt: skip
    """A request's head with a key."""
    more = b"".join(line + b"\r\n" for line in lines)
    return b"%b %b HTTP/%b\r\n" % (method, target, version) + HOST + KEY + more + b"\r\n"


def in_bytes(data: bytes, size: int = 1) -> list[bytes | Step]:
    """The same in many sends."""
    pieces: list[bytes | Step] = []
    for at in range(0, len(data), size):
        pieces += [data[at : at + size], *([PAUSE] if at % 20 == 0 else [])]
    return pieces


GET = head()
SIZED = head(b"POST", b"/v1/x", b"Content-Length: 11")
CHUNKED = head(b"POST", b"/v1/x", b"Transfer-Encoding: chunked")
BODY = b"hello world"
BODY_CHUNKS = b"6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n"
LARGE = b"x" * 300_000


def reply(body: bytes, *lines: bytes, status: bytes = b"200 OK") -> bytes:
    """A reply with its length."""
    fields = b"".join(line + b"\r\n" for line in lines)
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n" % (status, fields, len(body)) + body


REQUESTS = [
    Case("no body", [GET], [[OK]]),
    Case("no body, DELETE", [head(b"DELETE")], [[OK]]),
    Case("no body, a method of its own", [head(b"PURGE")], [[OK]]),
    Case("sized", [SIZED + BODY], [[OK]]),
    Case("sized, apart", [SIZED, PAUSE, BODY], [[OK]]),
    Case("sized, in bytes", [SIZED, *in_bytes(BODY)], [[OK]]),
    Case("sized, split inside the head", [SIZED[:50], PAUSE, SIZED[50:] + BODY], [[OK]]),
    Case("sized, split between CR and LF", [SIZED[:-1], PAUSE, SIZED[-1:], PAUSE, BODY], [[OK]]),
    Case("sized, split before the empty line", [SIZED[:-2], PAUSE, SIZED[-2:] + BODY], [[OK]]),
    Case("of no length", [head(b"POST", b"/v1/x", b"Content-Length: 0")], [[OK]]),
    Case("large", [head(b"POST", b"/v1/x", b"Content-Length: 300000"), LARGE], [[OK]]),
    Case("chunked", [CHUNKED + BODY_CHUNKS], [[OK]], differs=frozenset({"seen"}), because="httpx cuts chunks anew"),
    Case("chunked, apart", [CHUNKED, PAUSE, BODY_CHUNKS], [[OK]]),
    Case("chunked, in bytes", [CHUNKED, *in_bytes(BODY_CHUNKS)], [[OK]]),
    Case("chunked, large", [CHUNKED, b"493e0\r\n", LARGE, PAUSE, b"\r\n0\r\n\r\n"], [[OK]]),
    Case("chunked, empty", [CHUNKED + b"0\r\n\r\n"], [[OK]]),
    Case("chunked, capital digits", [CHUNKED + b"B\r\nhello world\r\n0\r\n\r\n"], [[OK]]),
    Case("a bad chunk", [CHUNKED, PAUSE, b"zz\r\n"], [[OK]], differs=frozenset({"records"}), because="uvicorn refuses it, and we are told that the client left"),
    Case("a chunk longer than its size", [CHUNKED + b"2\r\nabcd\r\n0\r\n\r\n"], [[OK]], differs=frozenset({"records"}), because="uvicorn refuses it, and we are told that the client left"),
    Case("HTTP/1.0", [head(version=b"1.0")], [[OK]]),
    Case("HTTP/1.0 with a body", [head(b"POST", b"/v1/x", b"Content-Length: 11", version=b"1.0") + BODY], [[OK]]),
    Case("HTTP/1.0, keep-alive asked for", [head(b"GET", b"/v1/x", b"Connection: keep-alive", version=b"1.0")], [[OK]]),
    Case("closing", [head(b"GET", b"/v1/x", b"Connection: close")], [[OK]]),
    Case("closing, in capitals", [head(b"GET", b"/v1/x", b"Connection: Close")], [[OK]]),
    Case("closing, among others", [head(b"GET", b"/v1/x", b"Connection: x-hop, close", b"X-Hop: 1")], [[OK]]),
    Case("an empty line first", [b"\r\n" + GET], [[OK]]),
]  # fmt: skip

REPLIES = [
    Case("sized, in two", [GET], [[OK[:-2], PAUSE, OK[-2:]]]),
    Case("sized, in bytes", [GET], [in_bytes(OK)]),
    Case("sized, head and body apart", [GET], [[OK[:-5], PAUSE, OK[-5:]]]),
    Case("of no length", [GET], [[reply(b"")]]),
    Case("large", [GET], [[reply(LARGE)]]),
    Case("chunked", [GET], [[CHUNKED_HEAD + b"".join(CHUNKS)]]),
    Case("chunked, apart", [GET], [[CHUNKED_HEAD, PAUSE, *CHUNKS]]),
    Case("chunked, in bytes", [GET], [[CHUNKED_HEAD, *in_bytes(b"".join(CHUNKS))]]),
    Case("chunked, empty", [GET], [[CHUNKED_HEAD + b"0\r\n\r\n"]]),
    Case("chunked, last chunk apart", [GET], [[CHUNKED_HEAD + CHUNKS[0], PAUSE, CHUNKS[2]]]),
    Case("chunked for HTTP/1.0", [head(version=b"1.0")], [[CHUNKED_HEAD, PAUSE, *CHUNKS]], differs=frozenset({"replies"}), because="uvicorn sends chunks to HTTP/1.0 too"),
    Case("until it closes", [GET], [[b"HTTP/1.1 200 OK\r\n\r\nhello", PAUSE, b" all", CLOSE]]),
    Case("until it closes, HTTP/1.0", [GET], [[b"HTTP/1.0 200 OK\r\nX: 1\r\n\r\nhello", CLOSE]]),
    Case("until it closes, for HTTP/1.0", [head(version=b"1.0")], [[b"HTTP/1.1 200 OK\r\n\r\nhello", CLOSE]], differs=frozenset({"replies"}), because="uvicorn sends chunks to HTTP/1.0 too"),
    Case("until it closes, empty", [GET], [[b"HTTP/1.1 200 OK\r\n\r\n", CLOSE]]),
    Case("the upstream closes", [GET], [[reply(b"hello", b"Connection: close"), CLOSE]]),
    Case("the upstream closes silently", [GET], [[OK, CLOSE]]),
    Case("HEAD", [head(b"HEAD")], [[b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"]], methods=("HEAD",)),
    Case("HEAD, chunked", [head(b"HEAD")], [[CHUNKED_HEAD]], methods=("HEAD",)),
    Case("HEAD, no framing", [head(b"HEAD")], [[b"HTTP/1.1 200 OK\r\nX: 1\r\n\r\n"]], methods=("HEAD",)),
    Case("HEAD of an error", [head(b"HEAD")], [[b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n"]], methods=("HEAD",)),
    Case("204", [GET], [[b"HTTP/1.1 204 No Content\r\n\r\n"]]),
    Case("304", [GET], [[b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n"]]),
    Case("304 with a length", [GET], [[b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n"]]),
    Case("205", [GET], [[b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"]]),
    Case("205, chunked", [GET], [[b"HTTP/1.1 205 Reset Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]]),
    Case("a reason of its own", [GET], [[b"HTTP/1.1 299 Quite\xe9 fine\r\nContent-Length: 2\r\n\r\nok"]]),
    Case("no reason", [GET], [[b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok"]]),
    Case("garbage after the reply", [GET], [[OK + b"garbage"]]),
    Case("a reply behind the reply", [GET + GET], [[OK + OK], [OK]]),
    Case("more than its length", [GET], [[b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello"]]),
    Case("a body behind 204", [GET], [[b"HTTP/1.1 204 No Content\r\n\r\nhello", CLOSE]]),
    Case("100 first", [GET], [[b"HTTP/1.1 100 Continue\r\n\r\n" + OK]]),
]  # fmt: skip

EARLY = [
    Case("before the body", [SIZED, PAUSE, BODY], [[reply(b"no", status=b"413 Too Large")]], early=True),
    Case("before the body, chunked", [CHUNKED, PAUSE, BODY_CHUNKS], [[reply(b"no", status=b"401 No")]], early=True),
    Case("before the body, and closed", [SIZED, PAUSE, BODY], [[reply(b"no", status=b"400 No"), PAUSE, CLOSE]], early=True),
    Case("before a large body", [head(b"POST", b"/v1/x", b"Content-Length: 300000"), PAUSE, LARGE], [[reply(b"no", status=b"413 No")]], early=True),
]  # fmt: skip
