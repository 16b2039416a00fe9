"""What forms of customers' pages carry, so that no other site can send one. Pure."""

import hashlib
import hmac
from typing import Final

from metering import keys

_PURPOSE: Final = "tallygate forms of usage pages"


class FormTokens:
    """`secret` is the installation's."""

    def __init__(self, secret: bytes) -> None:
        self._key = keys.derive(secret, _PURPOSE)

    def of(self, holder: str) -> str:
        """For whoever holds this link or this session."""
        return hmac.new(self._key, holder.encode(), hashlib.sha256).hexdigest()
