"""What the open API says to a call, before it is put on a wire. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from .fault_sources import Fault
from .intake import Answer

# HTTP status by error_code (spec §7.3); what is not here comes with 500.
_STATUS: Final = {
    **dict.fromkeys(("MKT.0101", "MKT.0102", "MKT.0199"), 400),
    **dict.fromkeys(("MKT.0150", "MKT.0151", "MKT.0154"), 401),
    "94060999": 200,
}


@dataclass(frozen=True)
class Said:
    """An answer: JSON, or text, or nothing. It comes after `delay_s`.

    `lost`: it never comes, the caller waits in vain. `unreachable`: nobody was there to ask.
    """

    status: int
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    lost: bool = False
    unreachable: bool = False


def said_of(answer: Answer) -> Said:
    """An answer of the open API as it stands."""
    return Said(answer.status, answer.as_json())


def unreachable() -> Said:
    """Nobody is there."""
    return Said(503, "service unavailable", unreachable=True)


def failed(fault: Fault) -> Said:
    """What a push meets when it fails; whether its records were stored is another matter."""
    if fault.kind in ("http_500", "http_5xx"):
        return Said(fault.status or 500, "internal error")
    if fault.kind == "throttle":
        code = fault.code or "APIGW.0308"
        said = {"error_code": code, "error_msg": "throttling threshold reached"}
        return Said(fault.status or 429, said, retry_after(fault))
    code = "MKT.0999" if fault.kind == "mkt_0999" else fault.code or "MKT.0100"
    status = fault.status or _STATUS.get(code, 500)
    return Said(status, {"error_code": code, "error_msg": "a fault that was ordered"})


def retry_after(fault: Fault) -> dict[str, str]:
    """When to come again."""
    return {"Retry-After": str(1 if fault.retry_after is None else fault.retry_after)}
