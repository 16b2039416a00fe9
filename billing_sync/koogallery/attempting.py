"""One call of an open API that changes something: whether it did, or may have, or may be sent again."""

import httpx

from billing_sync.koogallery.client import NOT_SENT, Call, OpenApi
from billing_sync.koogallery.outcomes import Blame, Kind, PushOutcome, classify


async def attempt(api: OpenApi, call: Call, auth: httpx.Auth | None) -> PushOutcome:
    """Make it once, and judge what became of it. Never raises for what the network does."""
    try:
        reply = await api.call(call, auth)
    except (httpx.UnsupportedProtocol, httpx.InvalidURL):
        text = "koogallery.base_url is no URL"
        return PushOutcome(Kind.PERMANENT, "configuration", text, blame=Blame.CALLER)
    except NOT_SENT as error:
        return PushOutcome(Kind.TRANSIENT, type(error).__name__, "was not sent")
    except (httpx.HTTPError, TimeoutError) as error:
        return PushOutcome(Kind.AMBIGUOUS, type(error).__name__, "no answer after sending")
    return classify(reply.status, reply.body, reply.retry_after_s)
