"""The lines of the push log that remember corrections, so that a ledger that was set back learns of
them again. Pure."""

from typing import Annotated

import msgspec

Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Signed = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Adjusted(msgspec.Struct, frozen=True, tag="adjustment"):
    """An adjustment that is about to be committed; `quantity` in meter units."""

    id: str
    at: Number
    instance_id: str
    customer_id: str
    meter: str
    quantity: Signed
    author: str
    reason: str


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """A part of an assignment: which suspense it is taken from, and how much."""

    product_id: str
    route: str
    grade: str
    origin: Number
    quantity: Number


class Assigned(msgspec.Struct, frozen=True, tag="assignment"):
    """An assignment of suspense that is about to be committed."""

    id: str
    at: Number
    customer_id: str
    instance_id: str
    meter: str
    author: str
    reason: str
    pieces: tuple[Piece, ...]

    @property
    def quantity(self) -> int:
        """All of it, in meter units."""
        return sum(piece.quantity for piece in self.pieces)


Correction = Adjusted | Assigned
