"""`alerts:` of the configuration: what is taken, what is refused, and what is never shown."""

import base64
from pathlib import Path
from typing import Any

import pytest

from billing_sync.alert_settings import AlertSettings
from tallygate.config import ConfigInvalid, parse

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef" * 2).decode()
HOOK = {"url": "https://ops.example.com/hooks/t0ken?a=b", "secrets": [SECRET]}


def alerts(**given: Any) -> AlertSettings:
    return AlertSettings.model_validate(given)


def test_without_a_word_about_it() -> None:
    """Thresholds are watched, and nobody is told."""
    assert alerts().terms == ((80, 95, 100), ())


def test_thresholds_in_any_order() -> None:
    """The ledger has them ascending; none switches alerts off."""
    assert alerts(thresholds=[100, 5]).terms.thresholds == (5, 100)
    assert alerts(thresholds=[]).terms.thresholds == ()


def test_names_say_where_and_not_how() -> None:
    """The host, and something that tells URLs there apart; no path, no query, no secret."""
    two = alerts(webhooks=[HOOK, HOOK | {"url": "https://ops.example.com/other"}])
    one, other = two.terms.webhooks
    assert one != other
    assert one.startswith("ops.example.com/")
    assert len(one) == len("ops.example.com/") + 12
    shown = repr(two) + str(two)
    assert "t0ken" not in shown
    assert SECRET not in shown


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:9/x", "http://[::1]:8080", "https://10.0.0.1", "http://hooks", "https://a.b/?c=d"],
)  # fmt: skip
def test_webhooks_may_be_in_our_own_network(url: str) -> None:
    """Who writes the configuration runs the installation."""
    assert alerts(webhooks=[HOOK | {"url": url}]).webhooks[0].url == url


def refusal(section: str) -> str:
    with pytest.raises(ConfigInvalid) as refused:
        parse(f"alerts: {section}", {"HOOK": SECRET}, base=Path("/"))
    return str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "ops.example.com/hook",
        "ftp://ops.example.com",
        "https://",
        "https://ops.example.com:0/",
        "https://ops.example.com:99999/",
        "http://[::1",
        "https://ops.example.com/a b",
        "https://höst.example.com",
        "https://user:t0ken@ops.example.com",
        "https://ops.example.com/#part",
        "https://ops.example.com/" + "a" * 2048,
    ],
)
def test_what_cannot_be_posted_to(url: str) -> None:
    """One line that names the place; a password in it is not repeated."""
    said = refusal(f'{{webhooks: [{{url: "{url}", secrets: ["${{HOOK}}"]}}]}}')
    assert said.startswith("alerts.webhooks[0].url: ")
    assert len(said.splitlines()) == 1
    assert "t0ken" not in said


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("{thresholds: [0]}", "alerts.thresholds[0]"),
        ("{thresholds: [101]}", "alerts.thresholds[0]"),
        ("{thresholds: [79.5]}", "alerts.thresholds[0]"),
        ("{thresholds: [80, 80]}", "alerts.thresholds: names a percentage twice"),
        ("{webhooks: [{url: 'http://a'}]}", "alerts.webhooks[0].secrets: missing"),
        ("{webhooks: [{url: 'http://a', secrets: []}]}", "alerts.webhooks[0].secrets"),
        ("{webhooks: [{url: 'http://a', secrets: [s3cret]}]}", "begins with whsec_"),
        ("{webhooks: [{url: 'http://a', secrets: ['${NONE}']}]}", "NONE is not set"),
        ("{webhook: []}", "did you mean 'webhooks'?"),
    ],
)
def test_what_makes_no_sense(section: str, said: str) -> None:
    """Is refused with its place, and without the secret."""
    text = refusal(section)
    assert said in text
    assert "s3cret" not in text


def test_one_webhook_twice_is_refused() -> None:
    """It would be told everything twice, and could not be told apart."""
    hook = "{url: 'http://a', secrets: ['${HOOK}']}"
    assert "alerts.webhooks: names a URL twice" in refusal(f"{{webhooks: [{hook}, {hook}]}}")
