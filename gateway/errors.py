"""What the gateway itself answers when it does not forward a request, or cannot. Pure.

GatewayError
 ├── BadRequest 400 bad_request
 │    ├── BadPath 400 bad_path
 │    ├── BadIdentity 400 bad_identity
 │    └── UpgradeRequired 426 upgrade_required
 ├── Unauthenticated 401 invalid_api_key
 │    └── MissingKey 401 missing_api_key
 ├── NotEntitled 403 not_entitled
 │    ├── InstanceFrozen 403 instance_frozen
 │    ├── InstanceReleased 403 instance_released
 │    └── InstanceNotReady 403 instance_not_ready
 ├── UnknownRoute 404 unknown_route
 ├── RequestTimeout 408 request_timeout
 ├── TargetTooLong 414 target_too_long
 ├── ExpectationFailed 417 expectation_failed
 ├── HeadTooLarge 431 head_too_large
 ├── Unexpected 500 internal_error
 ├── MethodNotImplemented 501 method_not_implemented
 ├── UnsupportedTransferCoding 501 unsupported_transfer_coding
 ├── UpstreamUnavailable 502 upstream_unreachable
 │    └── UpstreamProtocol 502 upstream_protocol
 ├── Overloaded 503 overloaded
 ├── NotCounted 503 metering_unavailable
 ├── UpstreamTimeout 504 upstream_timeout
 └── VersionNotSupported 505 http_version_not_supported

None of these is ever billed: an exchange that ends in one has no usage record.

BadFraming, and UnknownCoding below it, is no answer: whether it becomes a 400, a 501 or a 502 depends
on the side it comes from.
"""

import json
from collections.abc import Mapping
from typing import ClassVar, Final

Headers = list[tuple[bytes, bytes]]
Fields = tuple[tuple[bytes, bytes], ...]

_CLOSE: Final[Fields] = ((b"connection", b"close"),)


class BadFraming(Exception):
    """Nobody can say where a message ends; `content` is what was read of its body just before."""

    content: bytes = b""


class UnknownCoding(BadFraming):
    """The message is framed by a transfer coding other than `chunked`."""


class GatewayError(Exception):
    """Root of the gateway's errors; `message` is shown to the customer."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    message: ClassVar[str] = "The gateway failed. Try again."
    headers: ClassVar[Fields] = ()

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.message)
        self.details: Mapping[str, object] = {}  # that go into the body
        self.more_headers: Fields = ()


class BadRequest(GatewayError):
    status = 400
    code = "bad_request"
    message = "The request is not valid HTTP/1.1."
    headers: ClassVar[Fields] = _CLOSE  # nobody knows where the next request would start


class BadPath(BadRequest):
    code = "bad_path"
    headers: ClassVar[Fields] = ()
    message = "The path must be absolute and normalised: no '//', '.', '..' or '\\'."


class BadIdentity(BadRequest):
    code = "bad_identity"
    headers: ClassVar[Fields] = ()
    message = "X-Customer-Id must be given once, with 1 to 64 characters."


class UpgradeRequired(BadRequest):
    status = 426
    code = "upgrade_required"
    message = "The only WebSocket version spoken here is 13."
    headers: ClassVar[Fields] = ((b"sec-websocket-version", b"13"), (b"upgrade", b"websocket"))


class Unauthenticated(GatewayError):
    status = 401
    code = "invalid_api_key"
    message = "The API key is not known here."
    headers: ClassVar[Fields] = ((b"www-authenticate", b"Bearer"),)


class MissingKey(Unauthenticated):
    code = "missing_api_key"
    message = "Send your API key as 'Authorization: Bearer <key>', 'X-Api-Key' or 'api-key'."


class NotEntitled(GatewayError):
    status = 403
    code = "not_entitled"
    message = "You have not bought a product that is sold here."


class InstanceFrozen(NotEntitled):
    code = "instance_frozen"
    message = "Your instance is frozen. Renew it, or settle what is due, to go on."


class InstanceReleased(NotEntitled):
    code = "instance_released"
    message = "Your instance has been released. Buy the product again to go on."


class InstanceNotReady(NotEntitled):
    code = "instance_not_ready"
    message = "Your instance is still being created. Try again in a moment."
    headers: ClassVar[Fields] = ((b"retry-after", b"5"),)


class UnknownRoute(GatewayError):
    status = 404
    code = "unknown_route"
    message = "Nothing is served at this path."


class RequestTimeout(GatewayError):
    status = 408
    code = "request_timeout"
    message = "The request body did not arrive in time."
    headers: ClassVar[Fields] = _CLOSE


class TargetTooLong(GatewayError):
    status = 414
    code = "target_too_long"
    message = "The request line is too long."
    headers: ClassVar[Fields] = _CLOSE


class ExpectationFailed(GatewayError):
    status = 417
    code = "expectation_failed"
    message = "The only expectation known here is '100-continue'."
    headers: ClassVar[Fields] = _CLOSE


class HeadTooLarge(GatewayError):
    status = 431
    code = "head_too_large"
    message = "The request line and headers are too large together."
    headers: ClassVar[Fields] = _CLOSE


class Unexpected(GatewayError):
    """Something we did not foresee; the log has it."""


class MethodNotImplemented(GatewayError):
    status = 501
    code = "method_not_implemented"
    message = "The gateway opens no tunnels."
    headers: ClassVar[Fields] = _CLOSE


class UnsupportedTransferCoding(GatewayError):
    status = 501
    code = "unsupported_transfer_coding"
    message = "The only transfer coding known here is 'chunked'."
    headers: ClassVar[Fields] = _CLOSE


class UpstreamUnavailable(GatewayError):
    status = 502
    code = "upstream_unreachable"
    message = "The service behind the gateway cannot be reached."


class UpstreamProtocol(UpstreamUnavailable):
    code = "upstream_protocol"
    message = "The service behind the gateway broke off or did not answer in HTTP."


class Overloaded(GatewayError):
    status = 503
    code = "overloaded"
    message = "Too many calls are open at once. Try again in a moment."
    headers: ClassVar[Fields] = ((b"retry-after", b"1"),)


class NotCounted(GatewayError):
    status = 503
    code = "metering_unavailable"
    message = "The call could not be counted, so it is not served. Try again in a moment."
    headers: ClassVar[Fields] = ((b"retry-after", b"5"),)


class UpstreamTimeout(GatewayError):
    status = 504
    code = "upstream_timeout"
    message = "The service behind the gateway did not answer in time."


class VersionNotSupported(GatewayError):
    status = 505
    code = "http_version_not_supported"
    message = "This is spoken here: HTTP/1.0 and HTTP/1.1."
    headers: ClassVar[Fields] = _CLOSE


def body_of(error: GatewayError, request_id: str) -> bytes:
    """The documented JSON body of an error."""
    content = {"code": error.code, "message": str(error), "request_id": request_id}
    return json.dumps({"error": content | dict(error.details)}, separators=(",", ":")).encode()


def headers_of(error: GatewayError, request_id: str, length: int) -> Headers:
    """The headers that go with `body_of`; `length` is that body's."""
    return [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % length),
        (b"x-request-id", request_id.encode()),
        *error.headers,
        *error.more_headers,
    ]
