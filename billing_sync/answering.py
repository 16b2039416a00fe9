"""How every call of the marketplace is answered, whatever happens: HTTP 200 with a result code, signed."""

import logging
import traceback
from collections.abc import Awaitable, Callable

from starlette.responses import Response

from billing_sync.errors import BadEvent, BadSignature, Undecipherable
from billing_sync.koogallery import answers, v1_signing
from billing_sync.koogallery.answers import Answer
from billing_sync.koogallery.codes import ResultCode

_log = logging.getLogger(__name__)


async def guarded(judge: Callable[[], Awaitable[Answer]]) -> Answer:
    """What `judge` answers, and a result code for whatever it raises."""
    try:
        return await judge()
    except BadSignature as reason:
        return Answer(ResultCode.BAD_SIGNATURE, str(reason))
    except BadEvent as reason:
        return Answer(ResultCode.BAD_PARAMETER, str(reason))
    except Undecipherable as reason:
        return Answer(ResultCode.UNDECIPHERABLE, str(reason))
    except Exception as error:  # noqa: BLE001  (the marketplace must get a reply it can read)
        # Only where and what: messages of SQL errors quote their parameters.
        _log.error("callback failed: %s", _origin(error))
        return Answer(ResultCode.INTERNAL, "internal error, try again")


def _origin(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    places = " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames))
    return f"{type(error).__name__} at {places}"


def unknown(instance_id: str) -> Answer:
    """Nobody bought that."""
    return Answer(ResultCode.UNKNOWN_INSTANCE, f"unknown instanceId: {instance_id}")


def signed(answer: Answer, key: str) -> Response:
    """The reply, with `Body-Sign` unless there is no key to sign with."""
    body = answers.encode(answer).encode()
    response = Response(body, headers={"Content-Type": answers.CONTENT_TYPE})
    if key:
        # Spelt as documented, where the server lets it through: Response would write it small.
        signature = v1_signing.body_sign(key, body)
        response.raw_headers.append((v1_signing.BODY_SIGN.encode(), signature.encode()))
    return response
