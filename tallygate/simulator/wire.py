"""JSON in and out of the simulator's HTTP: bounded bodies, and fields read with clear refusals."""

import json
from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from .errors import BadRequest, TooLarge

MAX_BODY: Final = 2_097_152  # a thousand records at their longest are well below
MAX_TEXT: Final = 4096


async def read_body(request: Request) -> bytes:
    """The whole body; raises TooLarge above MAX_BODY."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise TooLarge(f"the body is larger than {MAX_BODY} bytes")
    return bytes(body)


async def read_object(request: Request) -> dict[str, object]:
    """The body as a JSON object, `{}` when it is empty; raises BadRequest."""
    body = await read_body(request)
    if not body:
        return {}
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON") from None
    return an_object(value)


def an_object(value: object) -> dict[str, object]:
    """The value itself when it is a JSON object; raises BadRequest."""
    if not isinstance(value, dict):
        raise BadRequest("this must be a JSON object")
    return value


def answer(content: object, status: int = 200) -> Response:
    """JSON; decimals are written as text so that no digit is lost."""
    text = json.dumps(content, ensure_ascii=False, default=str)
    return Response(text, status, media_type="application/json")


def only(value: Mapping[str, object], *names: str) -> None:
    """Raises BadRequest for a key that is none of `names`."""
    if unknown := sorted(set(value) - set(names)):
        raise BadRequest(f"unknown field {unknown[0]!r}; known are {', '.join(names)}")


def text(value: Mapping[str, object], name: str, default: str | None = None) -> str:
    """A text field of 1 to MAX_TEXT characters; raises BadRequest."""
    found = value.get(name, default)
    if not isinstance(found, str) or not 1 <= len(found) <= MAX_TEXT:
        raise BadRequest(f"{name} must be text of 1 to {MAX_TEXT} characters")
    return found


def flag(value: Mapping[str, object], name: str, default: bool) -> bool:
    """A boolean field; raises BadRequest."""
    found = value.get(name, default)
    if not isinstance(found, bool):
        raise BadRequest(f"{name} must be true or false")
    return found


def whole(value: Mapping[str, object], name: str, default: int, bounds: tuple[int, int]) -> int:
    """An integer field within `bounds`, both included; raises BadRequest."""
    found = value.get(name, default)
    low, high = bounds
    if isinstance(found, bool) or not isinstance(found, int) or not low <= found <= high:
        raise BadRequest(f"{name} must be an integer from {low} to {high}")
    return found


def number(
    value: Mapping[str, object], name: str, default: float, bounds: tuple[float, float]
) -> float:
    """A number within `bounds`, both included; raises BadRequest."""
    found = value.get(name, default)
    low, high = bounds
    if isinstance(found, bool) or not isinstance(found, int | float) or not low <= found <= high:
        raise BadRequest(f"{name} must be a number from {low} to {high}")
    return float(found)


def objects(value: Mapping[str, object], name: str, most: int) -> list[Mapping[str, object]]:
    """A list of at most `most` objects, empty when absent; raises BadRequest."""
    found = value.get(name, [])
    if not isinstance(found, list) or len(found) > most:
        raise BadRequest(f"{name} must be a list of at most {most} objects")
    if not all(isinstance(item, dict) for item in found):
        raise BadRequest(f"every entry of {name} must be an object")
    return found


def texts(value: Mapping[str, object], name: str) -> list[str]:
    """A list of texts, empty when absent; raises BadRequest."""
    found = value.get(name, [])
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise BadRequest(f"{name} must be a list of texts")
    return found
