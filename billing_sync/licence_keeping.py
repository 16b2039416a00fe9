"""Seals and opens what is kept of licences: one place that knows the installation's secret."""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field

from billing_sync import licence_sealing
from billing_sync.licence_models import Licence
from billing_sync.licences import CHARACTERS, Made


@dataclass(frozen=True)
class Keeper:
    """`randomness(n)` gives n random bytes."""

    secret: bytes = field(repr=False)
    randomness: Callable[[int], bytes]

    def digest(self, fingerprint: str) -> str:
        """What a device is found by."""
        return licence_sealing.digest(self.secret, fingerprint)

    def code_id(self, code: str) -> str:
        """What an authorization code is found by."""
        return licence_sealing.code_id(self.secret, code)

    def seal(self, row_id: str, plain: bytes) -> str:
        """For the row of this id alone."""
        nonce = self.randomness(licence_sealing.NONCE)
        return licence_sealing.seal(self.secret, plain, row_id, nonce)

    def fingerprint(self, row: Licence) -> str:
        """What was asked with. Raises Undecipherable."""
        return licence_sealing.unseal(self.secret, row.asked, row.id).decode()

    def made(self, row: Licence) -> Made:
        """The licence. Raises Undecipherable."""
        content = licence_sealing.unseal(self.secret, row.sealed, row.id)
        return Made(row.kind, row.file_name, content)

    def as_text(self, row: Licence) -> str:
        """The licence for a reply that knows only strings: a file as base64 [assumed]."""
        made = self.made(row)
        text = made.content if made.kind == CHARACTERS else base64.b64encode(made.content)
        return text.decode()
