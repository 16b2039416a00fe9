"""Single callbacks as the console's interface debugging sends them (spec §9)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from .checks import SUCCESS
from .clock import Clock
from .conversation import Answered, Conversation
from .info_checks import Asked, check_info
from .orders import LINE_SUFFIX
from .times import DAY_MS, format_compact_time, license_time

UNKNOWN_INSTANCE: Final = "000003"


@dataclass(frozen=True)
class Subject:
    """What the callbacks are about; `order_id` None takes the mock order of the activity."""

    instance_id: str
    order_id: str | None = None
    status: str = "FREEZE"
    test_flag: bool = True


@dataclass(frozen=True)
class Case:
    """One callback to send, `repeat` times; `accepted` None means the activity's own codes."""

    body: Mapping[str, object]
    tamper: str = "none"
    repeat: int = 1
    accepted: frozenset[str] | None = None


Fields = Callable[[Subject, int], Mapping[str, object]]


def _create(subject: Subject, _: int) -> Mapping[str, object]:
    return {**_order(subject, "MOCKONDEMAND"), "businessId": str(uuid4())}


def _refresh(subject: Subject, now_ms: int) -> Mapping[str, object]:
    expires = format_compact_time(now_ms + 30 * DAY_MS)
    return {**_order(subject, "MOCKMONTYRENEW"), "scene": "RENEWAL", "expireTime": expires}


def _upgrade(subject: Subject, _: int) -> Mapping[str, object]:
    return _order(subject, "MOCKMONTYCHANGE")


def _check_change(_subject: Subject, _now_ms: int) -> Mapping[str, object]:
    product = {"productId": "MOCK-PERIOD", "skuCode": "SKU-MOCK-PERIOD", "productName": "Mock"}
    return {"productInfo": product}


def _license(_subject: Subject, now_ms: int) -> Mapping[str, object]:
    return {
        "effectiveTime": license_time(now_ms),
        "expireTime": license_time(now_ms + 365 * DAY_MS),
        "eventId": "debug-event",
        "deviceFingerprint": "debug-device",
    }


def _order(subject: Subject, mock: str) -> dict[str, object]:
    order_id = subject.order_id or mock
    return {"orderId": order_id, "orderLineId": order_id + LINE_SUFFIX}


# In the order of an instance's life; out of order means backwards.
ACTIVITIES: Final[Mapping[str, Fields]] = {
    "newInstance": _create,
    "queryInstance": lambda _subject, _now_ms: {},
    "refreshInstance": _refresh,
    "upgradeInstance": _upgrade,
    "changeInstanceCheck": _check_change,
    "updateInstanceStatus": lambda subject, _now_ms: {"status": subject.status},
    "releaseInstance": lambda _subject, _now_ms: {},
}
LICENSES: Final[Mapping[str, Fields]] = {
    "getLicenseAsync": _license,
    "refreshLicenseCode": _refresh,
    "updateLicenseCodeStatus": lambda subject, _now_ms: {"status": subject.status},
    "releaseLicenseCode": lambda _subject, _now_ms: {},
}


def body_of(activity: str, subject: Subject, now_ms: int) -> dict[str, object]:
    """The request body of spec §2.6-2.12 and §4; codes are named by `license`."""
    fields = {**ACTIVITIES, **LICENSES}[activity]
    body: dict[str, object] = {"activity": activity, **fields(subject, now_ms)}
    if activity != "newInstance":
        body["license" if "LicenseCode" in activity else "instanceId"] = subject.instance_id
    if subject.test_flag:
        body["testFlag"] = "1"
    return body


def backwards(subject: Subject, now_ms: int) -> list[Case]:
    """Everything from release back to refresh. Only a debug call must know every instance."""
    codes = frozenset({SUCCESS} if subject.test_flag else {SUCCESS, UNKNOWN_INSTANCE})
    late = list(ACTIVITIES)[:1:-1]
    return [Case(body_of(name, subject, now_ms), accepted=codes) for name in late]


async def play_case(case: Case, conversation: Conversation, clock: Clock) -> list[Answered]:
    """Sends it and checks the replies, those of queryInstance down to each entry."""
    answers = await conversation.call_raw(case.body, case.tamper, case.repeat, case.accepted)
    if case.body["activity"] == "queryInstance":
        asked = [Asked(each) for each in str(case.body["instanceId"]).split(",")]
        for answered in answers:
            if answered.reply.result_code == SUCCESS and case.tamper == "none":
                found = check_info(answered.reply, asked, clock.now_ms())
                conversation.note(answered, found, "queryInstance")
    return answers
