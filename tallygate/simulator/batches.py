"""The body of a usage push: one batch of records of the documented shape (spec §7.1, §7.4). Pure."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from .canonical import strict_loads
from .sdr import MANDATORY, OLD_MANDATORY, OLD_OPTIONAL, OPTIONAL

MAX_BATCH: Final = 1000
Record = Mapping[str, object]
_SHAPES: Final = {
    False: (MANDATORY, frozenset({*MANDATORY, *OPTIONAL})),
    True: (OLD_MANDATORY, frozenset({*OLD_MANDATORY, *OLD_OPTIONAL})),
}


class PushRefused(Exception):
    """The whole push is refused, with this HTTP status and error_code."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def read_batch(body: bytes, old: bool = False) -> list[Record]:
    """`usage_records` with exactly the documented keys; raises PushRefused."""
    try:
        value = strict_loads(body, number=Decimal)
    except (ValueError, ArithmeticError, RecursionError):
        raise PushRefused(400, "MKT.0101", "the body is not JSON") from None
    if not isinstance(value, dict) or set(value) != {"usage_records"}:
        raise PushRefused(400, "MKT.0101", "the body must hold usage_records and nothing else")
    records = value["usage_records"]
    if not isinstance(records, list) or not records:
        raise PushRefused(500, "MKT.0100", "usage_records must be a list of at least one record")
    if len(records) > MAX_BATCH:
        raise PushRefused(500, "MKT.9003", f"more than {MAX_BATCH} records")
    for record in records:
        _check_shape(record, old)
    return records


def _check_shape(record: object, old: bool) -> None:
    mandatory, known = _SHAPES[old]
    if not isinstance(record, dict):
        raise PushRefused(400, "MKT.0101", "a usage record must be an object")
    if missing := [name for name in mandatory if record.get(name) is None]:
        raise PushRefused(400, "MKT.0101", f"{missing[0]} is missing")
    if extra := sorted(record.keys() - known):
        raise PushRefused(400, "MKT.0101", f"{extra[0]} is no field of a usage record")
    if nested := [name for name, value in record.items() if isinstance(value, list | dict)]:
        raise PushRefused(400, "MKT.0101", f"{nested[0]} must be text or a number")
