"""What queryInstance shows of an instance: access data and cumulative usage (spec §2.7). Pure.

Debugging requests get it made up, from themselves alone (spec §2.5).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from billing_sync.figures import UsageFigure
from billing_sync.koogallery.answers import Answer
from billing_sync.koogallery.codes import ResultCode

MAX_URL: Final = 512
_DEBUG_CUSTOMER: Final = "debug"
_DEBUG_KEY: Final = "tg-debug"
_MEMO: Final = (
    "调用方法：请求地址以 {url} 开头，请求头加 Authorization: Bearer <password>。"
    "password 即 API 密钥，请勿外传。\n"
    "How to call: send requests to addresses below the one above, with the header "
    "Authorization: Bearer <password>. The password is your API key; keep it secret."
)


@dataclass(frozen=True, slots=True)
class Shown:
    """An instance as the buyer's page sees it. Without `settled` its buyer is not known yet."""

    settled: bool
    app_info: Mapping[str, str] | None = None


def app_info(front_end_url: str, customer_id: str, key: str | None) -> dict[str, str]:
    """How the buyer calls: `password` is the API key, left out when it cannot be read."""
    info = {"frontEndUrl": front_end_url, "userName": customer_id[:128]}
    if key is not None:
        info["password"] = key
    return {**info, "memo": _MEMO.format(url=front_end_url)}


def debug_app_info(front_end_url: str) -> dict[str, str]:
    """The access data that debugging requests are shown."""
    return app_info(front_end_url, _DEBUG_CUSTOMER, _DEBUG_KEY)


def debug_answer(ids: Sequence[str], front_end_url: str, now_ms: int) -> Answer:
    """Whatever ids are asked for, they exist and have used nothing."""
    made_up = Shown(True, debug_app_info(front_end_url))
    return answer(ids, dict.fromkeys(ids, made_up), {}, now_ms)


def statistical_time(at_ms: int) -> str:
    """`yyyyMMddHHmmssSSS`, UTC."""
    moment = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{moment:%Y%m%d%H%M%S}{at_ms % 1000:03d}"


def usage_info(figures: Sequence[UsageFigure], now_ms: int) -> list[dict[str, object]]:
    """At least one entry: pay-per-use and package instances must show one, nothing used is 0."""
    return [_entry(figure) for figure in figures or [UsageFigure(None, Decimal(0), now_ms)]]


def _entry(figure: UsageFigure) -> dict[str, object]:
    related = figure.related_instance_id
    return {
        **({"relatedInstanceId": related} if related else {}),
        "usageValue": figure.value,
        "statisticalTime": statistical_time(figure.at_ms),
    }


def answer(
    ids: Sequence[str],
    shown: Mapping[str, Shown],
    figures: Mapping[str, Sequence[UsageFigure]],
    now_ms: int,
) -> Answer:
    """An entry for each known id, in the order asked. An unknown id outweighs one in process."""
    known = [instance_id for instance_id in ids if instance_id in shown]
    unknown = [instance_id for instance_id in ids if instance_id not in shown]
    waiting = [instance_id for instance_id in known if not shown[instance_id].settled]
    info = tuple(_info(i, shown[i], figures.get(i, ()), now_ms) for i in known)
    if unknown:
        message = f"unknown instanceId: {', '.join(unknown)}"
        return Answer(ResultCode.UNKNOWN_INSTANCE, message, info=info)
    if waiting:
        message = f"order not known yet: {', '.join(waiting)}"
        return Answer(ResultCode.IN_PROCESS, message, info=info)
    return Answer(ResultCode.SUCCESS, info=info)


def _info(
    instance_id: str, shown: Shown, figures: Sequence[UsageFigure], now_ms: int
) -> dict[str, object]:
    entry: dict[str, object] = {"instanceId": instance_id}
    if shown.app_info is not None:
        entry["appInfo"] = dict(shown.app_info)
    if shown.settled:
        entry["usageInfo"] = usage_info(figures, now_ms)
    return entry
