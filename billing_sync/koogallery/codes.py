"""Result codes: those the merchant answers callbacks with, and those the open APIs answer. Pure."""

from enum import StrEnum
from typing import Final


class ResultCode(StrEnum):
    """`resultCode` of a reply (spec §2.4). KooGallery counts only the first as success."""

    SUCCESS = "000000"
    BAD_SIGNATURE = "000001"
    BAD_PARAMETER = "000002"
    UNKNOWN_INSTANCE = "000003"
    IN_PROCESS = "000004"
    INTERNAL = "000005"
    NO_RESOURCE = "000100"


OPEN_API_SUCCESS: Final = frozenset({"MKT.0000", "CBC.0000"})

# The usage push names record-level errors with this one (spec §7.3).
RECORDS_REFUSED: Final = "94060999"


def open_api_number(code: str) -> str:
    """`0999` of `MKT.0999` or `CBC.0999`; empty for every other family of codes."""
    family, _, number = code.partition(".")
    return number if family in ("MKT", "CBC") else ""
