"""Every documented error code of the open APIs, and what an attempt that met it came to (spec §7.3,
§7.5, §7.6). Pure.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple


class Kind(StrEnum):
    """What an attempt came to."""

    ACCEPTED = "accepted"  # taken at the interface; validated later, in the background
    TRANSIENT = "transient"  # not taken; the same bytes may pass later
    PERMANENT = "permanent"  # not taken; the same bytes never will be until someone acts
    AMBIGUOUS = "ambiguous"  # nobody knows; resend the same bytes


class Blame(StrEnum):
    """Whose fault a failure is: splitting a batch helps only against bad records."""

    NOBODY = ""
    RECORDS = "records"
    CALLER = "caller"  # keys, address, rights, or our haste: every batch would fail alike


class Meaning(NamedTuple):
    """One row of the table; `text` is for people."""

    kind: Kind
    blame: Blame
    text: str


def _records(text: str) -> Meaning:
    return Meaning(Kind.PERMANENT, Blame.RECORDS, text)


def _caller(text: str) -> Meaning:
    return Meaning(Kind.PERMANENT, Blame.CALLER, text)


_TOO_OFTEN: Final = Meaning(Kind.TRANSIENT, Blame.CALLER, "called too often")

# By the number of the code: MKT of the usage push, CBC on the pages of the order query.
NUMBERS: Final[Mapping[str, Meaning]] = {
    "0000": Meaning(Kind.ACCEPTED, Blame.NOBODY, "success"),
    # It may come after the records were stored: they go again, and count once (§7.2, rule 5).
    "0999": Meaning(Kind.AMBIGUOUS, Blame.NOBODY, "internal error"),
    "0250": _TOO_OFTEN,
    "0100": _records("parameter check failed: range or format"),
    "0101": _records("a parameter is missing or too many"),
    "0102": _caller("the body signature is wrong: check koogallery.access_key"),
    "0199": _records("another parameter error"),
    "0150": _records("an instance of another seller"),
    "0151": _caller("no authority: the account is no seller"),
    "0154": _caller("illegal token: check koogallery.ak and sk"),
    "9001": _records("the instance id is not known"),
    "9002": _records("an invalid usage entity"),
    "9003": _records("more records than are allowed"),
    "9004": _records("begin_time is older than 21 days"),
}

# The usage push names record-level errors with the first, in a reply of HTTP 200.
RECORDS_REFUSED: Final = "94060999"
_ISV_FAMILY: Final = "9406"  # one of them is "ISV status invalid"

# Of authorization codes (spec §4.2), from the vendor's page of their error codes.
CODES: Final[Mapping[str, Meaning]] = {
    "92020000": Meaning(Kind.ACCEPTED, Blame.NOBODY, "success"),
    "92020001": Meaning(Kind.AMBIGUOUS, Blame.NOBODY, "internal error"),
    "92020002": _records("a parameter is wrong"),
    "92020003": _records("the code's state does not allow it: is it activated already?"),
    "92020004": _records("the buyer has not received the code yet"),
    "92020005": _records("there is no such authorization code"),
    "92020011": _records("the code is not activated"),
    "92020020": _records("one of the codes is not valid"),
    "95000001": _records("a parameter is missing, too long or malformed"),
    "95000002": _caller("this method is not supported there"),
    "95000003": _caller("this Content-Type is not supported there"),
    "95000004": _records("the request cannot be read there"),
}

# Of the API gateway in front, by number; others of it are judged by their HTTP status.
GATEWAY: Final[Mapping[str, Meaning]] = {
    "0101": _caller("there is no such API at this host: check koogallery.site and base_url"),
    "0203": Meaning(Kind.AMBIGUOUS, Blame.NOBODY, "the service behind the gateway timed out"),
    "0301": _caller("AK or SK is wrong, or this machine's clock"),
    "0302": _caller("this account may not call the API"),
    "0303": _caller("AK or SK is wrong, or this machine's clock"),
    "0304": _caller("this application may not call the API"),
    "0305": _caller("AK or SK is wrong, or this machine's clock"),
    "0306": _caller("access was denied"),
    "0307": _caller("the token must be renewed"),
    "0308": _TOO_OFTEN,
    "0310": _caller("the project cannot be used"),
    "0401": _caller("the address of this machine is not known there"),
    "0402": _caller("the address of this machine may not call"),
}
_GATEWAYS: Final = frozenset({"APIG", "APIGW"})


def meaning_of(code: str) -> Meaning | None:
    """The row of a code; None for one that nobody documented."""
    if code == RECORDS_REFUSED:
        return _records("some records are refused")
    if code in CODES:
        return CODES[code]
    if code.startswith(_ISV_FAMILY):
        return _caller("the seller's status does not allow it")
    family, _, number = code.partition(".")
    if family in ("MKT", "CBC"):
        return NUMBERS.get(number)
    return GATEWAY.get(number) if family in _GATEWAYS else None
