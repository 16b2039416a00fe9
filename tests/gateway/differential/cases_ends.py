"""Exchanges that end too soon: the upstream cuts, or the client leaves, at every stage."""

from tests.gateway.differential.cases_framing import (
    BODY,
    CHUNKED_HEAD,
    CHUNKS,
    GET,
    OK,
    PAUSE,
    SIZED,
    head,
    reply,
)
from tests.gateway.differential.cases_usage import CHAT, STREAMING, call, stream_of
from tests.gateway.differential.scripts import Case, Step

CLOSE, RESET, LEFT = Step.CLOSE, Step.RESET, Step.LEFT

TORSO = stream_of(CHAT)[:-2]
TORSO_BEGIN = [*TORSO[:2], b"".join(each for each in TORSO[2:4] if isinstance(each, bytes))]

CUTS = [
    Case("before a head, POST", [SIZED + BODY], [[CLOSE]]),
    Case("reset before a head, POST", [SIZED + BODY], [[RESET]]),
    Case("inside a head", [SIZED + BODY], [[OK[:20], PAUSE, CLOSE]]),
    Case("after a head", [GET], [[OK[:-5], PAUSE, CLOSE]]),
    Case("inside a sized body", [GET], [[OK[:-2], PAUSE, CLOSE]]),
    Case("inside a sized body, at once", [GET], [[OK[:-2], CLOSE]]),
    Case("after a chunked head", [GET], [[CHUNKED_HEAD, PAUSE, CLOSE]]),
    Case("inside a chunk", [GET], [[CHUNKED_HEAD, CHUNKS[0][:4], PAUSE, CLOSE]]),
    Case("between chunks", [GET], [[CHUNKED_HEAD, *CHUNKS[:2], PAUSE, CLOSE]]),
    Case("inside the last chunk", [GET], [[CHUNKED_HEAD, *CHUNKS[:2], b"0\r\n", PAUSE, CLOSE]]),
    Case("inside a stream with usage", [call("chat", STREAMING)], [[*TORSO, PAUSE, CLOSE]]),
    Case("for HTTP/1.0, inside a body of chunks", [head(version=b"1.0")], [[CHUNKED_HEAD, *CHUNKS[:2], PAUSE, CLOSE]],
        differs=frozenset({"replies"}), because="uvicorn ends it cleanly, we reset"),
    Case("reset inside a body", [GET], [[CHUNKED_HEAD, *CHUNKS[:2], PAUSE, RESET]]),
    Case("a bad size of a chunk", [GET], [[CHUNKED_HEAD, CHUNKS[0], PAUSE, b"zz\r\nlo\r\n"]]),
    Case("a chunk longer than its size", [GET], [[CHUNKED_HEAD, b"3\r\nhello\r\n0\r\n\r\n", PAUSE, CLOSE]]),
    Case("a bad chunk at once", [GET], [[CHUNKED_HEAD + CHUNKS[0] + b"zz\r\n", PAUSE, CLOSE]]),
    Case("closing client, before a head", [head(b"POST", b"/v1/x", b"Connection: close", b"Content-Length: 0")], [[CLOSE]]),
    Case("HTTP/1.0 client, before a head", [head(b"POST", b"/v1/x", b"Content-Length: 0", version=b"1.0")], [[CLOSE]]),
]  # fmt: skip

LEAVING = [
    case
    for policy in ("drain", "abort")
    for case in (
        Case(f"before a reply, {policy}", [GET, Step.ASKED, CLOSE], [[LEFT, PAUSE, OK]], policy=policy),
        Case(f"before a reply, with a body, {policy}", [SIZED + BODY, Step.ASKED, CLOSE], [[LEFT, PAUSE, OK]], policy=policy),
        Case(f"inside the body, {policy}", [SIZED + BODY[:3], Step.ASKED, CLOSE], [[LEFT]], policy=policy, early=True,
            differs=frozenset({"seen"}), because="how much was sent before is up to chance"),
        Case(f"inside a stream, {policy}", [call("chat", STREAMING), Step.REPLIED, CLOSE], [[*TORSO_BEGIN, LEFT, PAUSE, *TORSO[4:], b"0\r\n\r\n"]], policy=policy),
        Case(f"by a reset, {policy}", [call("chat", STREAMING), Step.REPLIED, RESET], [[*TORSO_BEGIN, LEFT, PAUSE, *TORSO[4:], b"0\r\n\r\n"]], policy=policy),
        Case(f"inside a sized body, {policy}", [GET, Step.REPLIED, CLOSE], [[reply(b"hello")[:-2], LEFT, PAUSE, b"lo"]], policy=policy),
        Case(f"and the upstream cuts too, {policy}", [GET, Step.REPLIED, CLOSE], [[CHUNKED_HEAD, CHUNKS[0], LEFT, CLOSE]], policy=policy),
    )
]  # fmt: skip
