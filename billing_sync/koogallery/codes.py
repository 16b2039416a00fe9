"""Result codes that the merchant answers callbacks with. Pure."""

from enum import StrEnum


class ResultCode(StrEnum):
    """`resultCode` of a reply (spec §2.4). KooGallery counts only the first as success."""

    SUCCESS = "000000"
    BAD_SIGNATURE = "000001"
    BAD_PARAMETER = "000002"
    UNKNOWN_INSTANCE = "000003"
    IN_PROCESS = "000004"
    INTERNAL = "000005"
    NO_RESOURCE = "000100"
    UNDECIPHERABLE = "000101"  # a secret of the Kit (spec §5)
    QUOTA_USED_UP = "000900"  # these four: getLicenseAsync alone (spec §4.1)
    OUTSIDE_VALIDITY = "000901"
    EXPIRY_NEEDED = "000902"
    FINGERPRINT_NEEDED = "000903"
