"""Check 8: the `info` of queryInstance, instance by instance (spec §2.7 and §9). Pure."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from .checks import Reply
from .fields import APP_INFO, DASHBOARD_URL, INSTANCE_ID, RELATED_INSTANCE_ID, check_texts
from .findings import Finding
from .times import MINUTE_MS, parse_compact_time

MAX_USAGE: Final = Decimal("99999999.9999")  # Double(12,4)
_PLAIN_DECIMAL = re.compile(r"[0-9]+(?:\.[0-9]+)?")


@dataclass(frozen=True)
class Asked:
    """One instance that was asked for.

    `metered`: usageInfo must be there. `related`: of a package, the pay-per-use instances that its
    entries may name; None for what is no package.
    """

    instance_id: str
    metered: bool = False
    related: frozenset[str] | None = None


def check_info(reply: Reply, asked: Sequence[Asked], now_ms: int) -> list[Finding]:
    """Findings on the `info` of a successful reply."""
    info = (reply.body or {}).get("info")
    if not isinstance(info, list):
        return [Finding("info", "reply lacks info, a list of InstanceInfo")]
    entries = [entry for entry in info if isinstance(entry, dict)]
    findings = [*_check_shape(info), *_check_ids(entries, asked)]
    for entry in entries:
        findings += _check_memo(entry, reply.content)
    by_id = {entry.get("instanceId"): entry for entry in entries if _has_id(entry)}
    for each in asked:
        findings += _check_entry(by_id.get(each.instance_id, {}), each, now_ms)
    return findings


def entry_of(reply: Reply, instance_id: str) -> Mapping[str, object] | None:
    """The InstanceInfo of one instance, if the reply has it."""
    info = (reply.body or {}).get("info")
    for entry in info if isinstance(info, list) else []:
        if isinstance(entry, dict) and entry.get("instanceId") == instance_id:
            return entry
    return None


def _has_id(entry: Mapping[str, object]) -> bool:
    return isinstance(entry.get("instanceId"), str)


def _check_shape(info: Sequence[object]) -> Iterator[Finding]:
    for entry in info:
        if isinstance(entry, dict):
            yield from check_texts(entry, (INSTANCE_ID,), "info[].")
        else:
            yield Finding("info", "an entry of info is not an object")


def _check_ids(
    entries: Sequence[Mapping[str, object]], asked: Sequence[Asked]
) -> Iterator[Finding]:
    wanted = {each.instance_id for each in asked}
    given = [str(entry["instanceId"]) for entry in entries if _has_id(entry)]
    for missing in sorted(wanted - set(given)):
        yield Finding("info", "info has no entry for this instance", missing)
    for extra in sorted(set(given) - wanted):
        yield Finding("info", f"info has an entry nobody asked for: {extra[:64]!r}")
    if len(set(given)) != len(given):
        yield Finding("info", "info has one instance twice")


def _check_entry(entry: Mapping[str, object], asked: Asked, now_ms: int) -> Iterator[Finding]:
    if not entry:
        return
    app_info = entry.get("appInfo")
    if isinstance(app_info, dict):
        yield from check_texts(app_info, APP_INFO, "appInfo.")
    elif app_info is not None:
        yield Finding("info", "appInfo must be an object", asked.instance_id)
    usage = entry.get("usageInfo")
    if isinstance(usage, list):
        yield from _check_usage_list(usage, asked, now_ms)
    elif usage is not None or asked.metered:
        yield Finding("info", "usageInfo must be a list of UsageInfo", asked.instance_id)


def _check_usage_list(usage: list[object], asked: Asked, now_ms: int) -> Iterator[Finding]:
    if asked.metered and not usage and asked.related != frozenset():
        yield Finding("info", "usageInfo is empty", asked.instance_id)
    for one in usage:
        if isinstance(one, dict):
            yield from _check_usage(one, asked, now_ms)
        else:
            yield Finding("info", "an entry of usageInfo is not an object", asked.instance_id)


def _check_usage(usage: Mapping[str, object], asked: Asked, now_ms: int) -> Iterator[Finding]:
    yield from check_texts(usage, (RELATED_INSTANCE_ID, DASHBOARD_URL), "usageInfo[].")
    if wrong := wrong_usage_value(usage.get("usageValue")):
        yield Finding("usage-value", f"usageValue {wrong}", asked.instance_id)
    at_ms = parse_compact_time(usage.get("statisticalTime"))
    if at_ms is None or len(str(usage.get("statisticalTime"))) != 17:
        message = "statisticalTime is missing or not yyyyMMddHHmmssSSS"
        yield Finding("statistical-time", message, asked.instance_id)
    elif at_ms > now_ms + MINUTE_MS:
        message = "statisticalTime is in the future; it must be UTC"
        yield Finding("statistical-time", message, asked.instance_id)
    if asked.related is not None and usage.get("relatedInstanceId") not in asked.related:
        message = "relatedInstanceId is no pay-per-use instance that this package is for"
        yield Finding("related-instance", message, asked.instance_id)


def wrong_usage_value(value: object) -> str:
    """What is wrong with a Double(12,4) of at most 20 characters; empty when nothing is."""
    if value is None:
        return "is missing: reply lacks it"
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        return "is not a number"
    if len(str(value)) > 20:
        return "is longer than 20 characters"
    if isinstance(value, str) and not _PLAIN_DECIMAL.fullmatch(value):
        return "is not a plain decimal"
    number = Decimal(value)
    if not 0 <= number <= MAX_USAGE:
        return f"is not between 0 and {MAX_USAGE}"
    exponent = number.as_tuple().exponent
    return "has more than 4 decimals" if isinstance(exponent, int) and exponent < -4 else ""


def _check_memo(entry: Mapping[str, object], content: bytes) -> Iterator[Finding]:
    r"""The page asks for Chinese text of `memo` as \uXXXX escapes."""
    app_info = entry.get("appInfo")
    memo = app_info.get("memo") if isinstance(app_info, dict) else None
    if not isinstance(memo, str) or memo.isascii():
        return
    if json.dumps(memo, ensure_ascii=False).encode(errors="replace") in content:
        yield Finding("field", "appInfo.memo: other than ASCII must be written as \\uXXXX")
