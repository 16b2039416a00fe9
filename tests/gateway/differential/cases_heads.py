"""What stands in heads, and several requests on one connection."""

from tests.gateway.differential.cases_framing import (
    CHUNKED_HEAD,
    CHUNKS,
    GET,
    OK,
    PAUSE,
    head,
    reply,
)
from tests.gateway.differential.scripts import HOST, KEY, Case, Step, Steps

COOKIES = (b"Set-Cookie: a=1; Path=/", b"Set-Cookie: b=2")
NO_KEY = b"GET /v1/x HTTP/1.1\r\n" + HOST + b"\r\n"
BAD_KEY = b"GET /v1/x HTTP/1.1\r\n" + HOST + b"Authorization: Bearer wrong\r\n\r\n"
ELSEWHERE = b"GET /elsewhere HTTP/1.1\r\n" + HOST + b"\r\n"
BAD_PATH = head(b"GET", b"/v1/../x")
POST = head(b"POST", b"/v1/y", b"Content-Length: 2") + b"{}"
CHUNKED_POST = head(b"POST", b"/v1/z", b"Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n\r\n"
MANY = [b"X-Number-%d: %d" % (number, number) for number in range(60)]
STREAM: Steps = [CHUNKED_HEAD, PAUSE, CHUNKS[0], PAUSE, *CHUNKS[1:]]
GETS = ("GET",) * 12


def asked(name: str, raw: bytes, *, differs: frozenset[str] = frozenset(), because: str = "") -> Case:  # fmt: skip
    """One request, answered as usual."""
    return Case(name, [raw], [[OK]], differs=differs, because=because)


REQUESTS = [
    asked("empty values", head(b"GET", b"/v1/x", b"X-Empty:", b"X-Blank:   ")),
    asked("twice", head(b"GET", b"/v1/x", b"X-Twice: 1", b"X-Other: 2", b"X-Twice: 3")),
    asked("cookies twice", head(b"GET", b"/v1/x", b"Cookie: a=1", b"Cookie: b=2")),
    asked("Latin-1", head(b"GET", b"/v1/x", b"X-Caf\xe9: 1".replace(b"\xe9", b"e"), b"X-Name: Ren\xe9e \xff")),
    asked("tabs and spaces", head(b"GET", b"/v1/x", b"X-Space: \t a \t b \t ")),
    asked("a capital mixture", head(b"GET", b"/v1/x", b"x-LOWER: 1", b"X-UPPER: 2")),
    asked("sixty fields", head(b"GET", b"/v1/x", *MANY)),
    asked("a long value", head(b"GET", b"/v1/x", b"X-Long: " + b"a" * 20_000)),
    asked("hop by hop", head(b"GET", b"/v1/x", b"Connection: X-Hop", b"X-Hop: 1", b"Keep-Alive: 5", b"TE: trailers", b"Proxy-Authorization: x")),
    asked("forwarded by somebody", head(b"GET", b"/v1/x", b"X-Forwarded-For: 1.2.3.4", b"Forwarded: for=1.2.3.4", b"X-Real-IP: 1.2.3.4")),
    asked("an identity of its own", head(b"GET", b"/v1/x", b"X-Customer-Id: evil", b"X_Customer_Id: evil")),
    asked("a request id of its own", head(b"GET", b"/v1/x", b"X-Request-Id: mine")),
    asked("encodings", head(b"GET", b"/v1/x", b"Accept-Encoding: br, gzip;q=0.5, zstd")),
    asked("a trace", head(b"GET", b"/v1/x", b"Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", b"Tracestate: a=1,b=2", b"tracestate: c=3", b"Baggage: k=v")),
    asked("no trace, said to be one", head(b"GET", b"/v1/x", b"traceparent: 00-xyz", b"traceparent: ", b"tracestate: a=\t1")),
    asked("a query", head(b"GET", b"/v1/x?a=%7e&a=b+c&%zz")),
    asked("an empty query", head(b"GET", b"/v1/x?"), differs=frozenset({"seen"}), because="an ASGI scope has no bare question mark"),
    asked("encoded", head(b"GET", b"/v1/a%20b/%C3%A9/~x;p=1")),
    asked("encoded slash", head(b"GET", b"/v1/a%2Fb")),
    asked("odd characters", head(b"GET", b"/v1/a|b^c\"<d>`{e}")),
    asked("absolute form", head(b"GET", b"http://gw/v1/abs?q=1")),
    asked("absolute form of another host", b"GET http://other/v1/abs HTTP/1.1\r\nHost: gw\r\n" + KEY + b"\r\n",
        differs=frozenset({"replies", "records", "seen", "stays_open"}), because="uvicorn drops the authority"),
    asked("no host", b"GET /v1/x HTTP/1.1\r\n" + KEY + b"\r\n"),
    asked("two hosts", head(b"GET", b"/v1/x", b"Host: gw")),
    asked("no key", NO_KEY),
    asked("a wrong key", BAD_KEY),
    asked("a wrong key with a body", BAD_KEY.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\n{}")),
    asked("an unknown route", ELSEWHERE),
    asked("an unknown route with a body", ELSEWHERE.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\n{}")),
    asked("a bad path", BAD_PATH),
    asked("an unknown expectation", head(b"POST", b"/v1/x", b"Expect: wonders", b"Content-Length: 0")),
    asked("HEAD without a key", NO_KEY.replace(b"GET", b"HEAD").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")),
    asked("closing without a key", NO_KEY.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")),
    asked("HTTP/1.0 without a key", NO_KEY.replace(b"HTTP/1.1", b"HTTP/1.0")),
]  # fmt: skip

REPLIES = [
    Case("cookies", [GET], [[reply(b"hello", *COOKIES)]]),
    Case("empty values", [GET], [[reply(b"hello", b"X-Empty:", b"X-Blank:   ")]]),
    Case("Latin-1", [GET], [[reply(b"hello", b"X-Name: Ren\xe9e \xff")]]),
    Case("sixty fields", [GET], [[reply(b"hello", *MANY)]]),
    Case("hop by hop", [GET], [[reply(b"hello", b"Connection: X-Hop", b"X-Hop: 1", b"Keep-Alive: timeout=5", b"Upgrade: h2c", b"Proxy-Authenticate: x")]]),
    Case("an id of its own", [GET], [[reply(b"hello", b"X-Request-Id: theirs")]]),
    Case("a date and a server", [GET], [[reply(b"hello", b"Date: Mon, 21 Sep 2026 14:13:20 GMT", b"Server: up", b"Via: 1.1 x")]]),
    Case("a location", [GET], [[reply(b"", b"Location: /v1/elsewhere", status=b"307 Temporary Redirect")]]),
    Case("two lengths", [GET], [[reply(b"hello", b"Content-Length: 5")]], differs=frozenset({"replies", "records"}), because="httpx reads it"),
    Case("two different lengths", [GET], [[reply(b"hello", b"Content-Length: 6")]]),
    Case("a length and chunks", [GET], [[reply(b"5\r\nhello\r\n0\r\n\r\n", b"Transfer-Encoding: chunked")]]),
    Case("a length that is none", [GET], [[b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello"]]),
    Case("a coding nobody knows", [GET], [[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello", Step.CLOSE]]),
    Case("a folded line", [GET], [[b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 5\r\n\r\nhello"]], differs=frozenset({"replies", "records"}), because="httpx reads it"),
    Case("a space before the colon", [GET], [[b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 5\r\n\r\nhello"]]),
    Case("a status of two digits", [GET], [[b"HTTP/1.1 20 OK\r\nContent-Length: 5\r\n\r\nhello"]]),
    Case("a status above 599", [GET], [[b"HTTP/1.1 999 Odd\r\nContent-Length: 5\r\n\r\nhello"]]),
    Case("101 that nobody asked for", [GET], [[b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", Step.CLOSE]]),
    Case("another version", [GET], [[b"HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"]], differs=frozenset({"replies", "records"}), because="httpx reads it"),
    Case("no HTTP", [GET], [[b"what is this?\r\n\r\n", Step.CLOSE]]),
]  # fmt: skip

TEN = [b"GET /v1/%d HTTP/1.1\r\n" % number + HOST + KEY + b"\r\n" for number in range(10)]

PIPELINED = [
    Case("two", [GET + head(b"GET", b"/v1/second")], [[OK], [reply(b"second")]], methods=GETS[:2]),
    Case("ten", [b"".join(TEN)], [[reply(b"%d" % n)] for n in range(10)], methods=GETS[:10]),
    Case("ten, in pieces", [b"".join(TEN)[:333], PAUSE, b"".join(TEN)[333:]], [[OK]], methods=GETS[:10]),
    Case("bodies of all kinds", [POST + GET + CHUNKED_POST + GET], [[OK]], methods=GETS[:4]),
    Case("a refused one between", [GET + NO_KEY + GET], [[OK]], methods=GETS[:3]),
    Case("other routes between", [GET + ELSEWHERE + GET + ELSEWHERE], [[OK]], methods=GETS[:4]),
    Case("ten refused", [NO_KEY * 10], [[OK]], methods=GETS[:10]),
    Case("a bad one at the end", [GET + BAD_PATH], [[OK]], methods=GETS[:2]),
    Case("behind a stream", [GET + POST], [STREAM, [OK]], methods=GETS[:2]),
    Case("during a stream", [GET, Step.REPLIED, POST], [STREAM, [OK]], methods=GETS[:2]),
    Case("HEAD between", [GET + head(b"HEAD") + GET], [[OK], [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"], [OK]], methods=("GET", "HEAD", "GET")),
    Case("the last one closes", [GET + head(b"GET", b"/v1/x", b"Connection: close") + GET], [[OK]], methods=GETS[:2]),
]  # fmt: skip
