"""The smuggling corpus: all cases, those that are forwarded included."""

from typing import Final

from tests.gateway.smuggling_framing import CHUNKS, CODINGS, CODINGS_MALFORMED, LENGTHS
from tests.gateway.smuggling_heads import HOSTS, LINES, NAMES, TOLD_APART
from tests.gateway.smuggling_terms import CL, HELLO, INNER, TE, Case, head, passed

# What a server in front of an ASGI application does not show it, or what its parser takes.
_ONLY_IN_RAW = [
    Case(name, raw, refused=400, portable="lenient")
    for name, raw in {
        "line with two spaces": head(b"", b"GET  /v1/x HTTP/1.1\r\n"),
        "line with two spaces before the version": head(b"", b"GET /v1/x  HTTP/1.1\r\n"),
        "two empty lines before": b"\r\n\r\n" + head(b"", b"GET /v1/x HTTP/1.1\r\n"),
        "LF before": b"\n" + head(b"", b"GET /v1/x HTTP/1.1\r\n"),
        "fragment": head(b"", b"GET /v1/x#/v1/y HTTP/1.1\r\n"),
        "fragment after query": head(b"", b"GET /v1/x?a#b HTTP/1.1\r\n"),
        "absolute target of another host": head(b"", b"GET http://other/v1/x HTTP/1.1\r\n"),
        "absolute target with userinfo": head(b"", b"GET http://a@gw/v1/x HTTP/1.1\r\n"),
        "absolute target with another port": head(b"", b"GET http://gw:81/v1/x HTTP/1.1\r\n"),
        "absolute target without host": head(b"", b"GET http:///v1/x HTTP/1.1\r\n"),
        "target asterisk with GET": head(b"", b"GET * HTTP/1.1\r\n"),
        "target other scheme": head(b"", b"GET ftp://gw/v1/x HTTP/1.1\r\n"),
        "chunks size 17 digits of zeros": head(TE) + b"00000000000000005\r\nhello\r\n0\r\n\r\n",
        "chunks size zeros flood": head(TE) + b"0" * 3000 + b"5\r\nhello\r\n0\r\n\r\n",
        "chunks extension endless": head(TE) + b"5;" + b"e" * 5000 + b"\r\nhello\r\n0\r\n\r\n",
        "chunks extension flood": head(TE)
        + (b"1;" + b"e" * 1000 + b"\r\nx\r\n") * 20
        + b"0\r\n\r\n",
        "chunks trailers too many": head(TE) + b"0\r\n" + b"X: y\r\n" * 100 + b"\r\n",
    }.items()
]
_ONLY_IN_RAW += [
    Case(
        "line too long",
        head(b"", b"GET /v1/x" + b"x" * 16384 + b" HTTP/1.1\r\n"),
        refused=414,
        portable="lenient",
    ),
    Case(
        "chunks size 2 to the 64 minus 1",
        head(TE) + b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        refused=400,
        portable="waits",
    ),
    Case(
        "chunks size 2 to the 63",
        head(TE) + b"8000000000000000\r\nhello\r\n0\r\n\r\n",
        refused=400,
        portable="waits",
    ),
    Case("HTTP 0.9 without version", b"GET /v1/x\r\n\r\n", refused=400, portable="lenient"),
]
_GET = b"GET /v1/x HTTP/1.1\r\n"
_PASSED = [
    passed("plain GET", head(b"", _GET)),
    passed("plain POST", head(CL) + b"hello", b"hello"),
    passed("POST without a length", head(b"")),
    passed("GET with a body", head(CL, _GET) + b"hello", b"hello"),
    passed("DELETE with chunks", head(TE, b"DELETE /v1/x HTTP/1.1\r\n") + HELLO, b"hello"),
    passed("CL 0", head(b"Content-Length: 0\r\n")),
    passed("CL with leading zeros", head(b"Content-Length: 005\r\n") + b"hello", b"hello"),
    passed("CL with tabs around", head(b"Content-Length:\t5\t\r\n") + b"hello", b"hello"),
    passed("CL without space", head(b"cONTENT-lENGTH:5\r\n") + b"hello", b"hello"),
    passed("CL over a request", head(b"Content-Length: %d\r\n" % len(INNER)) + INNER, INNER),
    passed("CL over a CRLF", head(b"Content-Length: 7\r\n") + b"hello\r\n", b"hello\r\n"),
    passed("CL and an empty line", head(CL) + b"hello\r\n", b"hello"),
    passed("CL and Content_Length", head(CL + b"Content_Length: 50\r\n") + b"hello", b"hello"),
    passed("Content_Length alone", head(b"Content_Length: 5\r\n")),
    passed("CL and Transfer_Encoding", head(CL + b"Transfer_Encoding: chunked\r\n") + b"hello", b"hello"),
    passed("Transfer_Encoding alone", head(b"Transfer_Encoding: chunked\r\n")),
    passed("CL named by Connection", head(b"Connection: Content-Length\r\n" + CL) + b"hello", b"hello"),
    passed("TE named by Connection", head(b"Connection: Transfer-Encoding\r\n" + TE) + HELLO, b"hello"),
    passed("Host named by Connection", head(b"Connection: Host\r\n", _GET)),
    passed("TE in capitals", head(b"TRANSFER-ENCODING: CHUNKED\r\n") + HELLO, b"hello"),
    passed("TE after a tab", head(b"Transfer-Encoding:\tchunked\r\n") + HELLO, b"hello"),
    passed("TE header of its own", head(b"TE: trailers, chunked\r\n" + CL) + b"hello", b"hello"),
    passed("chunks over a request", head(TE) + b"%x\r\n%b\r\n0\r\n\r\n" % (len(INNER), INNER), INNER),
    passed("chunks with zeros", head(TE) + b"0005\r\nhello\r\n000\r\n\r\n", b"hello"),
    passed("chunks in hex of both cases", head(TE) + b"A\r\nhelloworld\r\na\r\nhelloworld\r\n0\r\n\r\n", b"helloworld" * 2),
    passed("chunks with extensions", head(TE) + b'5;a;b=c;d="e f"\r\nhello\r\n0;x=y\r\n\r\n', b"hello"),
    passed("chunks of size lines", head(TE) + b"3\r\n0\r\n\r\n2\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
    passed("no chunks", head(TE) + b"0\r\n\r\n"),
    passed("trailers that frame", head(TE) + b"5\r\nhello\r\n0\r\nContent-Length: 50\r\nTransfer-Encoding: x\r\n\r\n", b"hello", portable="refuses"),
    passed("trailers that name a customer", head(TE) + b"5\r\nhello\r\n0\r\nX-Customer-Id: root\r\nHost: other\r\n\r\n", b"hello"),
    passed("one empty line before", b"\r\n" + head(b"", _GET)),
    passed("absolute target", head(b"", b"GET http://gw/v1/x?a HTTP/1.1\r\n")),
    passed("HTTP/1.0", head(b"", b"GET /v1/x HTTP/1.0\r\n"), last=True),
    passed("HTTP/1.0 without Host", head(b"", b"GET /v1/x HTTP/1.0\r\n", b""), last=True),
    passed("HTTP/1.0 with CL", head(CL, b"POST /v1/x HTTP/1.0\r\n") + b"hello", b"hello", last=True),
    passed("Connection close", head(b"Connection: close\r\n", _GET), last=True),
    passed("Expect 100-continue", head(b"Expect: 100-continue\r\n" + CL) + b"hello", b"hello"),
    passed("Expect in capitals", head(b"EXPECT: 100-CONTINUE\r\n" + CL) + b"hello", b"hello"),
    passed("Expect without a body", head(b"Expect: 100-continue\r\n", _GET)),
    passed("h2c upgrade", head(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", _GET)),
    passed("upgrade not named by Connection", head(b"Upgrade: h2c\r\n", _GET)),
    passed("method override", head(b"X-HTTP-Method-Override: DELETE\r\n" + CL) + b"hello", b"hello"),
    passed("encoded CRLF in target", head(b"", b"GET /v1/x?a=%0d%0aX:%20y HTTP/1.1\r\n")),
    passed("Latin-1 and empty values", head(b"X: \xe9\r\nX:\r\nX: \xff\r\n", _GET)),
]  # fmt: skip

CASES: Final = [
    *LENGTHS,
    *CODINGS,
    *CODINGS_MALFORMED,
    *CHUNKS,
    *NAMES,
    *HOSTS,
    *LINES,
    *TOLD_APART,
    *_ONLY_IN_RAW,
    *_PASSED,
]
