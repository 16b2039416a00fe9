"""Standard Webhooks 1.0.0: secrets, signatures, and when a message is tried again. Pure.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
import zlib
from collections.abc import Iterable
from typing import Final

PREFIX: Final = "whsec_"
_KEY_BYTES: Final = range(24, 65)

# After the first, the second … attempt: the specification's own schedule, a little over three days.
_SECOND: Final = 1000
_HOUR: Final = 3_600_000
WAITS_MS: Final = (
    5 * _SECOND,
    300 * _SECOND,
    1800 * _SECOND,
    2 * _HOUR,
    5 * _HOUR,
    10 * _HOUR,
    14 * _HOUR,
    20 * _HOUR,
    24 * _HOUR,
)
MOST_ATTEMPTS: Final = len(WAITS_MS) + 1
_JITTER: Final = 10  # a wait grows by less than one part in so many


def key_of(secret: str) -> bytes:
    """The key in `whsec_` and base64. Raises ValueError, which never repeats the secret."""
    if not secret.startswith(PREFIX):
        raise ValueError(f"a secret begins with {PREFIX}, followed by 24 to 64 bytes in base64")
    try:
        text = secret.removeprefix(PREFIX)
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):  # the latter: not ASCII
        raise ValueError(f"what follows {PREFIX} is not base64") from None
    if len(key) not in _KEY_BYTES:
        raise ValueError(f"a secret holds 24 to 64 bytes; this one holds {len(key)}")
    return key


def headers(message_id: str, now_ms: int, body: bytes, secrets: Iterable[str]) -> dict[str, str]:
    """What proves a message: its id, the time of this attempt, and a signature for each secret.

    The id must not hold a full stop, which is what parts the signed text.
    """
    if "." in message_id:
        raise ValueError("a message's id holds no full stop")
    seconds = str(now_ms // 1000)
    signed = f"{message_id}.{seconds}.".encode() + body
    signatures = (hmac.digest(key_of(secret), signed, hashlib.sha256) for secret in secrets)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(f"v1,{base64.b64encode(s).decode()}" for s in signatures),
    }


def wait_ms(attempts: int, message_id: str, asked_ms: int = 0) -> int | None:
    """How long to wait after so many attempts; None to give up.

    `asked_ms` is what the receiver asked for (Retry-After). What is added so that messages that
    failed together do not come back together follows from the message, not from chance.
    """
    if attempts >= MOST_ATTEMPTS:
        return None
    wait = WAITS_MS[max(attempts, 1) - 1]
    spread = zlib.crc32(f"{message_id} {attempts}".encode()) % (wait // _JITTER)
    return max(wait, asked_ms) + spread
