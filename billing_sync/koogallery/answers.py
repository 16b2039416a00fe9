"""Replies to callbacks and how they are written (spec §2.3, §3.4). Pure.

ASCII only, as the vendor asks for `memo`. Decimals become JSON numbers digit by digit: a float
would turn 0.1 + 0.2 into noise on a bill.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from typing import Final

from billing_sync.koogallery.codes import ResultCode

CONTENT_TYPE: Final = "application/json;charset=UTF-8"
_MAX_MESSAGE: Final = 255
_FOUR_DECIMALS: Final = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Answer:
    """One reply. `info` is None for every activity but queryInstance; `app_info`, `encrypt_type` and
    `licence` are V1.0's."""

    code: ResultCode
    message: str = "success"
    instance_id: str = ""
    info: tuple[dict[str, object], ...] | None = None
    app_info: Mapping[str, str] | None = None
    encrypt_type: str = ""
    licence: str = field(default="", repr=False)


def created(instance_id: str, *, settled: bool) -> Answer:
    """The reply to newInstance: done, or in process until the buyer is known."""
    if settled:
        return Answer(ResultCode.SUCCESS, instance_id=instance_id)
    return Answer(ResultCode.IN_PROCESS, "order not known yet, query later", instance_id)


def encode(answer: Answer) -> str:
    """The reply's JSON; `resultMsg` is cut to its 255 characters."""
    body: dict[str, object] = {
        "resultCode": answer.code.value,
        "resultMsg": answer.message[:_MAX_MESSAGE],
    }
    if answer.encrypt_type:
        body["encryptType"] = answer.encrypt_type
    if answer.instance_id:
        body["instanceId"] = answer.instance_id
    if answer.licence:
        body["license"] = answer.licence
    if answer.app_info is not None:
        body["appInfo"] = dict(answer.app_info)
    if answer.info is not None:
        body["info"] = list(answer.info)
    return _json(body)


def decode(text: str) -> Answer:
    """An answer stored in the inbox; those never carry `info`."""
    body = json.loads(text)
    return Answer(ResultCode(body["resultCode"]), body["resultMsg"], body.get("instanceId", ""))


def number(value: Decimal) -> str:
    """A JSON number with one to four decimals, rounded down: never more than was used."""
    digits = f"{value.quantize(_FOUR_DECIMALS, ROUND_DOWN):f}".rstrip("0")
    return digits + "0" if digits.endswith(".") else digits


def _json(value: object) -> str:
    match value:
        case Decimal():
            return number(value)
        case dict():
            return "{" + ",".join(f"{json.dumps(k)}:{_json(v)}" for k, v in value.items()) + "}"
        case list():
            return "[" + ",".join(_json(item) for item in value) + "]"
        case _:
            return json.dumps(value)
