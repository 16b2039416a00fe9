"""The requests in a client's bytes as our strict readers find them: a shell without sockets."""

from gateway.errors import BadFraming, BadRequest, GatewayError
from gateway.framing import request_body
from gateway.raw_heads import read_request
from gateway.strictness import origin_form
from tests.gateway.smuggling_terms import Forwarded


def requests_in(raw: bytes) -> tuple[list[Forwarded], GatewayError | None]:
    """Whole requests in order, and what refused the one behind them."""
    found: list[Forwarded] = []
    try:
        while raw:
            request, raw = _next(raw)
            found.append(request)
    except GatewayError as error:
        return found, error
    return found, None


def _next(raw: bytes) -> tuple[Forwarded, bytes]:
    end = raw.find(b"\r\n\r\n") + 4
    head = read_request(raw[:end] if end > 3 else raw)
    target = origin_form(head.method, head.target, head.headers)
    body = request_body(head.headers, head.http_version)
    try:
        content, rest = body.feed(raw[end:])
    except BadFraming as error:
        raise BadRequest from error
    if not body.over:
        raise BadRequest
    return Forwarded(head.method, target, content), rest
