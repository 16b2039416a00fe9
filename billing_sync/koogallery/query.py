"""What queryInstance shows of an instance: access data and cumulative usage (spec §2.7). Pure.

Debugging requests get it made up, from themselves alone (spec §2.5).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, NamedTuple

from billing_sync.figures import UsageFigure
from billing_sync.koogallery.answers import Answer
from billing_sync.koogallery.codes import ResultCode

MAX_URL: Final = 512
_DEBUG_CUSTOMER: Final = "debug"
_DEBUG_KEY: Final = "tg-debug"
_MEMO: Final = (
    "调用方法：请求地址以 {url} 开头，请求头加 Authorization: Bearer <password>。"
    "password 即 API 密钥，请勿外传。\n"
    "How to call: send requests to addresses that begin as above, with the header "
    "Authorization: Bearer <password>. The password is your API key; keep it secret."
)


class Addresses(NamedTuple):
    """Where the buyer calls, and his page in a browser; without one he is told the first."""

    api: str
    page: str = ""

    @property
    def front_end(self) -> str:
        """`frontEndUrl`."""
        return self.page if 0 < len(self.page) <= MAX_URL else self.api


@dataclass(frozen=True, slots=True)
class Shown:
    """An instance as the marketplace shows it. Without `settled` its buyer is not known yet.

    `page` is where its usage can be seen, if anywhere."""

    settled: bool
    app_info: Mapping[str, str] | None = None
    page: str = ""


def app_info(addresses: Addresses, customer_id: str, key: str | None) -> dict[str, str]:
    """How the buyer calls: `password` is the API key, left out when it cannot be read."""
    info = {"frontEndUrl": addresses.front_end, "userName": customer_id[:128]}
    if key is not None:
        info["password"] = key
    return {**info, "memo": _MEMO.format(url=addresses.api)}


def debug_app_info(addresses: Addresses) -> dict[str, str]:
    """The access data that debugging requests are shown; its page opens nothing."""
    return app_info(addresses, _DEBUG_CUSTOMER, _DEBUG_KEY)


def debug_answer(ids: Sequence[str], addresses: Addresses, now_ms: int) -> Answer:
    """Whatever ids are asked for, they exist and have used nothing."""
    made_up = Shown(True, debug_app_info(addresses), addresses.page)
    return answer(ids, dict.fromkeys(ids, made_up), {}, now_ms)


def statistical_time(at_ms: int) -> str:
    """`yyyyMMddHHmmssSSS`, UTC."""
    moment = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{moment:%Y%m%d%H%M%S}{at_ms % 1000:03d}"


def usage_info(
    figures: Sequence[UsageFigure], now_ms: int, page: str = ""
) -> list[dict[str, object]]:
    """At least one entry: pay-per-use and package instances must show one, nothing used is 0."""
    shown = figures or [UsageFigure(None, Decimal(0), now_ms)]
    return [_entry(figure, page if len(page) <= MAX_URL else "") for figure in shown]


def _entry(figure: UsageFigure, page: str) -> dict[str, object]:
    related = figure.related_instance_id
    return {
        **({"relatedInstanceId": related} if related else {}),
        "usageValue": figure.value,
        "statisticalTime": statistical_time(figure.at_ms),
        **({"dashboardUrl": page} if page else {}),
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
        entry["usageInfo"] = usage_info(figures, now_ms, shown.page)
    return entry
