"""What an LLM API would answer to a POST, by path. Pure.

Deterministic, so that a client can count by itself: tokens in are the words of the prompt, tokens
out are what the request's maximum says, and a stream carries one content delta for each of them.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from tallygate.demo import completion_replies, message_replies, response_replies
from tallygate.demo.asked import Asked, BadRequest, read_asked


class Reply(NamedTuple):
    """A JSON body in one piece, or the events of an SSE stream."""

    pieces: tuple[bytes, ...]
    stream: bool
    tokens_in: int
    tokens_out: int


def reply_to(path: str, request: Any) -> Reply | None:
    """The reply to `request`, None where there is no such endpoint. Raises BadRequest."""
    endpoint = _ENDPOINTS.get(path)
    if endpoint is None:
        return None
    if not isinstance(request, dict):
        raise BadRequest("the body must be a JSON object")
    asked = read_asked(request, endpoint.prompt, endpoint.maximum)
    events = endpoint.events if asked.stream else None
    pieces = (events or endpoint.body)(asked)
    return Reply(pieces, events is not None, asked.tokens_in, asked.tokens_out)


_Build = Callable[[Asked], tuple[bytes, ...]]


class _Endpoint(NamedTuple):
    """Which fields hold the prompt and the maximum, and who builds the reply."""

    prompt: tuple[str, ...]
    maximum: tuple[str, ...]
    body: _Build
    events: _Build | None


_ENDPOINTS: Final[Mapping[str, _Endpoint]] = {
    "/v1/chat/completions": _Endpoint(
        ("messages",),
        ("max_completion_tokens", "max_tokens"),
        completion_replies.chat_body,
        completion_replies.chat_events,
    ),
    "/v1/completions": _Endpoint(
        ("prompt",), ("max_tokens",), completion_replies.text_body, completion_replies.text_events
    ),
    "/v1/embeddings": _Endpoint(("input",), (), completion_replies.embeddings_body, None),
    "/v1/responses": _Endpoint(
        ("instructions", "input"),
        ("max_output_tokens",),
        response_replies.response_body,
        response_replies.response_events,
    ),
    "/v1/messages": _Endpoint(
        ("system", "messages"),
        ("max_tokens",),
        message_replies.message_body,
        message_replies.message_events,
    ),
}
