"""What the gateway itself answers when it does not forward a request, or cannot. Pure.

GatewayError
 ├── BadRequest 400 bad_request
 │    ├── BadPath 400 bad_path
 │    ├── BadIdentity 400 bad_identity
 │    └── UpgradeRequired 426 upgrade_required
 ├── Unauthenticated 401 invalid_api_key
 │    ├── MissingKey 401 missing_api_key
 │    └── KeyExpired 401 key_expired
 ├── NotEntitled 403 not_entitled
 │    ├── KeyNotForRoute 403 key_not_for_route
 │    └── those of standing_errors.py
 ├── UnknownRoute 404 unknown_route
 ├── MethodNotAllowed 405 method_not_allowed
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
 ├── EntitlementsStale 503 entitlements_stale
 ├── QuotaUnreadable 503 quota_unreadable
 ├── UpstreamTimeout 504 upstream_timeout
 └── VersionNotSupported 505 http_version_not_supported

None of these is ever billed: an exchange that ends in one has no usage record.

BadFraming, and UnknownCoding below it, is no answer: whether it becomes a 400, a 501 or a 502 depends
on the side it comes from.
"""

import json
from collections.abc import Mapping
from typing import ClassVar, Final

from gateway.statuses import REFUSALS, Standing

Headers = list[tuple[bytes, bytes]]
Fields = tuple[tuple[bytes, bytes], ...]

_CLOSE: Final[Fields] = ((b"connection", b"close"),)


class BadFraming(Exception):
    """Nobody can say where a message ends; `content` is what was read of its body just before."""

    content: bytes = b""


class UnknownCoding(BadFraming):
    """The message is framed by a transfer coding other than `chunked`."""


class GatewayError(Exception):
    """Root of the gateway's errors; both messages are shown to the customer."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    message: ClassVar[str] = "The gateway failed. Try again."
    message_zh: ClassVar[str] = "网关内部错误，请重试。"
    headers: ClassVar[Fields] = ()

    def __init__(self, message: str | None = None, message_zh: str | None = None) -> None:
        super().__init__(message or self.message)
        self.text_zh = message_zh or self.message_zh
        self.details: Mapping[str, object] = {}  # that go into the body
        self.more_headers: Fields = ()


def said_of(standing: Standing) -> tuple[int, str, str, str, Fields]:
    """Status, code, texts and headers of a standing that refuses."""
    status, code, text, text_zh, seconds = REFUSALS[standing]
    return status, code, text, text_zh, ((b"retry-after", b"%d" % seconds),) if seconds else ()


class BadRequest(GatewayError):
    status = 400
    code = "bad_request"
    message = "The request is not valid HTTP/1.1."
    message_zh = "请求不是有效的 HTTP/1.1 报文。"
    headers: ClassVar[Fields] = _CLOSE  # nobody knows where the next request would start


class BadPath(BadRequest):
    code = "bad_path"
    headers: ClassVar[Fields] = ()
    message = "The path must be absolute and normalised: no '//', '.', '..' or '\\'."
    message_zh = "路径必须为绝对路径且已规范化：不得包含“//”、“.”、“..”或“\\”。"


class BadIdentity(BadRequest):
    code = "bad_identity"
    headers: ClassVar[Fields] = ()
    message = "X-Customer-Id must be given once, with 1 to 64 characters."
    message_zh = "X-Customer-Id 必须且只能出现一次，长度为 1 到 64 个字符。"


class UpgradeRequired(BadRequest):
    status = 426
    code = "upgrade_required"
    message = "The only WebSocket version spoken here is 13."
    message_zh = "此处仅支持 WebSocket 版本 13。"
    headers: ClassVar[Fields] = ((b"sec-websocket-version", b"13"), (b"upgrade", b"websocket"))


class Unauthenticated(GatewayError):
    status = 401
    code = "invalid_api_key"
    message = "The API key is not known here."
    message_zh = "API Key 无效。"
    headers: ClassVar[Fields] = ((b"www-authenticate", b"Bearer"),)


class MissingKey(Unauthenticated):
    code = "missing_api_key"
    message = "Send your API key as 'Authorization: Bearer <key>', 'X-Api-Key' or 'api-key'."
    message_zh = "请通过“Authorization: Bearer <key>”、“X-Api-Key”或“api-key”提供您的 API Key。"


class KeyExpired(Unauthenticated):
    code = "key_expired"
    message = "This API key has expired. Use the key that took its place, or ask for a new one."
    message_zh = "该 API Key 已过期，请使用替换它的新 API Key，或申请新的 API Key。"


class NotEntitled(GatewayError):
    status, code, message, message_zh, headers = said_of(Standing.NOT_BOUGHT)


class KeyNotForRoute(NotEntitled):
    code = "key_not_for_route"
    message = "This API key is not meant for this path. Use one that is."
    message_zh = "该 API Key 不适用于此路径，请使用适用的 API Key。"


class UnknownRoute(GatewayError):
    status = 404
    code = "unknown_route"
    message = "Nothing is served at this path."
    message_zh = "此路径未提供任何服务。"


class MethodNotAllowed(GatewayError):
    status = 405
    code = "method_not_allowed"
    message = "This path is only read: use GET."
    message_zh = "此路径仅支持 GET 方法。"
    headers: ClassVar[Fields] = ((b"allow", b"GET, HEAD"),)


class RequestTimeout(GatewayError):
    status = 408
    code = "request_timeout"
    message = "The request body did not arrive in time."
    message_zh = "未能及时收到请求体。"
    headers: ClassVar[Fields] = _CLOSE


class TargetTooLong(GatewayError):
    status = 414
    code = "target_too_long"
    message = "The request line is too long."
    message_zh = "请求行过长。"
    headers: ClassVar[Fields] = _CLOSE


class ExpectationFailed(GatewayError):
    status = 417
    code = "expectation_failed"
    message = "The only expectation known here is '100-continue'."
    message_zh = "Expect 仅支持“100-continue”。"
    headers: ClassVar[Fields] = _CLOSE


class HeadTooLarge(GatewayError):
    status = 431
    code = "head_too_large"
    message = "The request line and headers are too large together."
    message_zh = "请求行与请求头总长度过大。"
    headers: ClassVar[Fields] = _CLOSE


class Unexpected(GatewayError):
    """Something we did not foresee; the log has it."""


class MethodNotImplemented(GatewayError):
    status = 501
    code = "method_not_implemented"
    message = "The gateway opens no tunnels."
    message_zh = "网关不支持建立隧道。"
    headers: ClassVar[Fields] = _CLOSE


class UnsupportedTransferCoding(GatewayError):
    status = 501
    code = "unsupported_transfer_coding"
    message = "The only transfer coding known here is 'chunked'."
    message_zh = "传输编码仅支持“chunked”。"
    headers: ClassVar[Fields] = _CLOSE


class UpstreamUnavailable(GatewayError):
    status = 502
    code = "upstream_unreachable"
    message = "The service behind the gateway cannot be reached."
    message_zh = "网关后端的服务无法访问。"


class UpstreamProtocol(UpstreamUnavailable):
    code = "upstream_protocol"
    message = "The service behind the gateway broke off or did not answer in HTTP."
    message_zh = "网关后端的服务中断了响应，或未按 HTTP 协议应答。"


class Overloaded(GatewayError):
    status = 503
    code = "overloaded"
    message = "Too many calls are open at once. Try again in a moment."
    message_zh = "当前并发请求过多，请稍后重试。"
    headers: ClassVar[Fields] = ((b"retry-after", b"1"),)


class NotCounted(GatewayError):
    status = 503
    code = "metering_unavailable"
    message = "The call could not be counted, so it is not served. Try again in a moment."
    message_zh = "此次调用无法计量，因此未提供服务，请稍后重试。"
    headers: ClassVar[Fields] = ((b"retry-after", b"5"),)


class EntitlementsStale(GatewayError):
    status = 503
    code = "entitlements_stale"
    message = "Nobody can say at the moment who may call. Try again in a moment."
    message_zh = "暂时无法确认调用权限，请稍后重试。"
    headers: ClassVar[Fields] = ((b"retry-after", b"5"),)


class QuotaUnreadable(GatewayError):
    status = 503
    code = "quota_unreadable"
    message = "What is left cannot be asked for at the moment. Try again in a moment."
    message_zh = "暂时无法查询剩余额度，请稍后重试。"
    headers: ClassVar[Fields] = ((b"retry-after", b"1"),)


class UpstreamTimeout(GatewayError):
    status = 504
    code = "upstream_timeout"
    message = "The service behind the gateway did not answer in time."
    message_zh = "网关后端的服务未能及时应答。"


class VersionNotSupported(GatewayError):
    status = 505
    code = "http_version_not_supported"
    message = "This is spoken here: HTTP/1.0 and HTTP/1.1."
    message_zh = "此处仅支持 HTTP/1.0 和 HTTP/1.1。"
    headers: ClassVar[Fields] = _CLOSE


def body_of(error: GatewayError, request_id: str) -> bytes:
    """The documented JSON body of an error."""
    content = {
        "code": error.code,
        "message": str(error),
        "message_zh": error.text_zh,
        "request_id": request_id,
        **error.details,
    }
    text = json.dumps({"error": content}, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def headers_of(error: GatewayError, request_id: str, length: int) -> Headers:
    """The headers that go with `body_of`; `length` is that body's."""
    return [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % length),
        (b"x-request-id", request_id.encode()),
        *error.headers,
        *error.more_headers,
    ]
