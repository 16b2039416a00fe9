"""What a query shows, judged without SQL."""

import json
from decimal import Decimal

from billing_sync.figures import UsageFigure
from billing_sync.koogallery.query import (
    MAX_URL,
    Addresses,
    Shown,
    answer,
    app_info,
    statistical_time,
)

AT = 1_669_257_378_256


def test_statistical_time() -> None:
    """UTC with milliseconds, seventeen digits."""
    assert statistical_time(AT) == "20221124023618256"
    assert statistical_time(AT - 256) == "20221124023618000"


def test_a_package_shows_each_instance_it_gave_to() -> None:
    """One entry per related pay-per-use instance."""
    figures = [UsageFigure("a", Decimal("3.5"), AT), UsageFigure("b", Decimal(0), AT)]
    (entry,) = answer(["p"], {"p": Shown(True)}, {"p": figures}, AT).info or ()
    assert entry["usageInfo"] == [
        {
            "relatedInstanceId": "a",
            "usageValue": Decimal("3.5"),
            "statisticalTime": "20221124023618256",
        },
        {
            "relatedInstanceId": "b",
            "usageValue": Decimal(0),
            "statisticalTime": "20221124023618256",
        },
    ]


def test_nothing_used_is_zero_now() -> None:
    """An instance without figures still shows usage, as the platform's check demands."""
    (entry,) = answer(["i"], {"i": Shown(True)}, {}, AT).info or ()
    assert entry["usageInfo"] == [
        {"usageValue": Decimal(0), "statisticalTime": "20221124023618256"}
    ]


def test_unknown_outweighs_waiting() -> None:
    """An unknown id gives 000003 and is named; the others are still shown, in the order asked."""
    shown = {"a": Shown(True), "b": Shown(False)}
    reply = answer(["x", "b", "a"], shown, {}, AT)
    assert (reply.code, reply.message) == ("000003", "unknown instanceId: x")
    assert [entry["instanceId"] for entry in reply.info or ()] == ["b", "a"]


def test_waiting_is_in_process() -> None:
    """An instance whose buyer is not known shows neither access data nor usage."""
    reply = answer(["b"], {"b": Shown(False)}, {}, AT)
    assert reply.code == "000004"
    assert reply.info == ({"instanceId": "b"},)


def test_access_data_fits_the_table() -> None:
    """Even with the longest address and Chinese written as escapes, the memo fits 1024."""
    url = "https://" + "x" * (MAX_URL - 8)
    info = app_info(Addresses(url), "c" * 200, "tg-key")
    assert len(json.dumps(info["memo"])) <= 1024
    assert len(info["userName"]) == 128
    assert info["password"] == "tg-key"
    assert url in info["memo"]


def test_a_key_that_cannot_be_read_is_left_out() -> None:
    """Without a key there is no password, but still an address."""
    assert set(app_info(Addresses("https://a"), "c", None)) == {"frontEndUrl", "userName", "memo"}
