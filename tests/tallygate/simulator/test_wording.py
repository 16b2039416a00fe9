"""The marketplace's own words for findings."""

import pytest

from tallygate.simulator.checks import Reply, check_reply
from tallygate.simulator.findings import Finding
from tallygate.simulator.wording import shown_for


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        (Reply(None, "", b"", 1, "refused"), "production address unreachable"),
        (Reply(None, "", b"", 1, "time-out 20 s"), "time-out 20 s"),
        (Reply(200, "application/json", b'{"resultCode":"000000"}', 1), "parse failed"),
        (Reply(200, "application/json", b"<html>", 1), "parse failed"),
        (
            Reply(500, "application/json", b'{"resultCode":"000000","resultMsg":"m"}', 1),
            "httpCode=500",
        ),
        (
            Reply(200, "text/html", b'{"resultCode":"000000","resultMsg":"m"}', 1),
            "content type wrong",
        ),
        (
            Reply(200, "application/json", b'{"resultCode":"000005","resultMsg":"m"}', 1),
            "production interface returned an error",
        ),
        (
            Reply(200, "application/json", b'{"resultCode":"000000","resultMsg":"m"}', 30_000),
            "time-out 20 s",
        ),
    ],
)
def test_findings_of_every_reply(reply: Reply, shown: str) -> None:
    """Checks 1 to 6 of §9."""
    found = check_reply("releaseInstance", reply, frozenset({"000000"}))
    assert [shown_for(each) for each in found] == [shown]


def test_what_a_reply_lacks() -> None:
    """Check 7 names the field."""
    reply = Reply(200, "application/json", b'{"resultCode":"000000","resultMsg":"m"}', 1)
    found = check_reply("newInstance", reply, frozenset({"000000"}))
    assert [shown_for(each) for each in found] == ["reply lacks instanceId"]


def test_what_only_we_notice() -> None:
    """Has no words there."""
    assert shown_for(Finding("idempotency", "another instanceId than the first time")) == ""
    assert shown_for(Finding("field", "memo is longer than 1024 characters")) == ""
