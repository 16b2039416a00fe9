"""How the operator's API takes what it is sent: a bounded body of a known shape."""

from typing import Final, TypeVar

import msgspec
from starlette.requests import Request

from billing_sync.bounded_bodies import bounded_body
from billing_sync.errors import BadQuestion

_BUDGET_S: Final = 5.0

Shape = TypeVar("Shape", bound=msgspec.Struct)


async def body_of(request: Request, shape: type[Shape], most: int, empty: bytes = b"") -> Shape:
    """What the body says, up to `most` bytes; `empty` is read in place of an empty one.

    Raises BadQuestion for a body that is too long, too slow or none of ours.
    """
    body = await bounded_body(request, most, _BUDGET_S)
    if len(body) > most:
        raise BadQuestion(f"the body is larger than {most} bytes")
    try:
        return msgspec.json.decode(body or empty, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise BadQuestion(f"the body cannot be read: {problem}") from None
