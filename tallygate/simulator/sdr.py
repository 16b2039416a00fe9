"""One usage record as a service detail record: reading it and judging it alone. Pure.

The rules are those of spec §7.1 and §7.2. Duplicates need the other records: see `validation`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from .models import Instance, Kind
from .times import DAY_MS, parse_record_time

MAX_USAGE: Final = Decimal("99999999.9999")  # Double(12,4)
MAX_PLACES: Final = 4
MAX_AGE_MS: Final = 21 * DAY_MS
MANDATORY: Final = ("begin_time", "end_time", "instance_id", "record_time", "usage_value")
OPTIONAL: Final = ("metering_sn", "relate_pkg_instance")
OLD_MANDATORY: Final = (*MANDATORY, "product_id")  # spec §7.4
OLD_OPTIONAL: Final = ("relate_pkg_instance",)
_PLAIN_DECIMAL = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?")


class Refused(Exception):
    """This record never becomes a charge; the text says why."""


@dataclass(frozen=True, slots=True)
class Sdr:
    """A record that can be read. Times in ms."""

    instance_id: str
    begin_ms: int
    end_ms: int
    record_ms: int
    usage: Decimal
    metering_sn: str | None = None
    package: str | None = None

    @property
    def interval(self) -> tuple[str, int, int]:
        return self.instance_id, self.begin_ms, self.end_ms

    def repeats(self, other: "Sdr") -> bool:
        """Whether this is the other one sent again: the same charge under the same number, if any."""
        mine = (self.interval, self.usage, self.package, self.metering_sn)
        theirs = (other.interval, other.usage, other.package, other.metering_sn)
        return mine == theirs


def read_sdr(record: Mapping[str, object]) -> Sdr:
    """Fields and formats; raises Refused."""
    return Sdr(
        instance_id=_text(record, "instance_id") or "",
        begin_ms=_time(record, "begin_time"),
        end_ms=_time(record, "end_time"),
        record_ms=_time(record, "record_time"),
        usage=read_usage(record.get("usage_value")),
        metering_sn=_text(record, "metering_sn"),
        package=_text(record, "relate_pkg_instance"),
    )


def read_usage(value: object) -> Decimal:
    """`usage_value`, a string or a number: above 0, four decimals, Double(12,4); raises Refused."""
    usage = _decimal(value)
    exponent = usage.as_tuple().exponent
    if not isinstance(exponent, int) or -exponent > MAX_PLACES:
        raise Refused(f"usage_value has more than {MAX_PLACES} decimals")
    if usage <= 0:
        raise Refused("usage_value must be above 0")
    if usage > MAX_USAGE:
        raise Refused(f"usage_value is above {MAX_USAGE}")
    return usage


def judge_instance(instance: Instance | None) -> Instance:
    """The pay-per-use instance the record charges; raises Refused."""
    if instance is None:
        raise Refused("instance_id is unknown")
    if instance.product.kind is not Kind.ON_DEMAND:
        raise Refused(
            f"instance_id is of a {instance.product.kind} product; usage is reported for the "
            "pay-per-use instance"
        )
    return instance


def judge_times(sdr: Sdr, instance: Instance, received_ms: int) -> None:
    """Rules 3 and 6 of §7.2; raises Refused.

    The wire has whole seconds, so the start of the resource is compared as a whole second.
    """
    if sdr.begin_ms < instance.started_ms // 1000 * 1000:
        raise Refused("begin_time is before the start of the resource")
    if sdr.begin_ms > sdr.end_ms:
        raise Refused("begin_time is after end_time")
    if sdr.end_ms > sdr.record_ms:
        raise Refused("end_time is after record_time")
    if sdr.record_ms > received_ms:
        raise Refused("record_time is in the future")
    if instance.closed_ms is not None and sdr.end_ms > instance.closed_ms:
        raise Refused("end_time is after the close of the resource")
    if received_ms - sdr.begin_ms > MAX_AGE_MS:
        raise Refused("begin_time is more than 21 days ago")


def _decimal(value: object) -> Decimal:
    if isinstance(value, str) and len(value) <= 20 and _PLAIN_DECIMAL.fullmatch(value):
        return Decimal(value)
    if isinstance(value, Decimal) and value.is_finite():
        return value
    raise Refused("usage_value must be a number, or a plain decimal of at most 20 characters")


def _time(record: Mapping[str, object], name: str) -> int:
    at_ms = parse_record_time(record.get(name))
    if at_ms is None:
        raise Refused(f"{name} must be yyyyMMdd'T'HHmmss'Z'")
    return at_ms


def _text(record: Mapping[str, object], name: str) -> str | None:
    value = record.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= 64:
        raise Refused(f"{name} must be text of 1 to 64 characters")
    return value
