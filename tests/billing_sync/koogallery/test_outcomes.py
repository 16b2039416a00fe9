"""Judging the answers to a push: every documented code, and what nobody documented."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.koogallery.outcomes import Blame, Kind, classify, seconds_of


def body(code: str, **more: object) -> bytes:
    return json.dumps({"error_code": code, "error_msg": "m", **more}).encode()


@pytest.mark.parametrize(
    ("status", "code", "kind", "blame"),
    [
        (200, "MKT.0000", "accepted", ""),
        (500, "MKT.0999", "ambiguous", ""),
        (500, "MKT.0100", "permanent", "records"),
        (400, "MKT.0101", "permanent", "records"),
        (400, "MKT.0102", "permanent", "caller"),
        (400, "MKT.0199", "permanent", "records"),
        (401, "MKT.0150", "permanent", "records"),
        (401, "MKT.0151", "permanent", "caller"),
        (401, "MKT.0154", "permanent", "caller"),
        (500, "MKT.9001", "permanent", "records"),
        (500, "MKT.9002", "permanent", "records"),
        (500, "MKT.9003", "permanent", "records"),
        (500, "MKT.9004", "permanent", "records"),
        (200, "94060999", "permanent", "records"),
        (200, "94060001", "permanent", "caller"),
        (406, "CBC.0250", "transient", "caller"),
        (429, "APIGW.0308", "transient", "caller"),
        (401, "APIGW.0301", "permanent", "caller"),
        (504, "APIGW.0201", "ambiguous", ""),
        (500, "MKT.7777", "ambiguous", ""),
        (500, "MKT.0000", "ambiguous", ""),
        (200, "NEW.1", "ambiguous", ""),
    ],
)
def test_codes(status: int, code: str, kind: str, blame: str) -> None:
    """Each code has its class; the code and the message are kept for whoever looks."""
    outcome = classify(status, body(code))
    assert (outcome.kind, outcome.blame) == (Kind(kind), Blame(blame))
    assert (outcome.code, outcome.message) == (code, "m")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, "ambiguous"),
        (302, "permanent"),
        (403, "permanent"),
        (404, "permanent"),
        (408, "transient"),
        (413, "permanent"),
        (429, "transient"),
        (500, "ambiguous"),
        (503, "ambiguous"),
    ],
)
@pytest.mark.parametrize(
    "reply", [b"", b"<html>", b"[1]", b"{}", b"\xff", b"[" * 60_000], ids=range(6)
)
def test_without_a_code(status: int, kind: str, reply: bytes) -> None:
    """What has no code is judged by its status; a 5xx may come after the records were stored."""
    outcome = classify(status, reply)
    assert outcome.kind is Kind(kind)
    assert outcome.code == f"HTTP {status}"


def test_too_large_for_now() -> None:
    """413 with Retry-After is a wait (spec §7.6), without it the batch must shrink."""
    assert classify(413, b"", 5.0).kind is Kind.TRANSIENT
    assert classify(413, b"").blame is Blame.RECORDS


def test_abnormal_records_are_named() -> None:
    """The serial numbers of refused records are found at any depth, each once."""
    data = {"abnormal_usage_data": [{"metering_sn": "a"}, {"x": {"metering_sn": "b"}}, "a"]}
    outcome = classify(200, body("94060999", data=data, more=[{"metering_sn": "a"}]))
    assert sorted(outcome.abnormal) == ["a", "b"]
    assert classify(200, body("MKT.0000", data=data)).abnormal == ()


def test_abnormal_records_without_a_number_are_named_by_their_place() -> None:
    """The old interface knows no metering_sn; half a place is none."""
    place = {"instance_id": "i", "begin_time": "b", "end_time": "e"}
    bad = [place, place | {"end_time": 7}, {"instance_id": "j"}, place | {"metering_sn": "a"}]
    outcome = classify(200, body("94060999", abnormal_usage_data=bad))
    assert (outcome.abnormal, outcome.abnormal_places) == (("a",), (("i", "b", "e"),))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("5", 5.0),
        ("0", 0.0),
        ("9" * 30, 3600.0),
        ("-1", None),
        ("soon", None),
        (None, None),
        ("", None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    """Seconds count, up to an hour; anything else is no advice."""
    assert seconds_of(header) == seconds


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Mon, 21 Sep 2026 14:13:50 GMT", 30.0),
        ("Mon, 21 Sep 2026 14:13:10 GMT", 0.0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 3600.0),
        ("Mon, 21 Sep 2026 99:13:50 GMT", None),
        ("soon", None),
        ("7", 7.0),
    ],
)
def test_retry_after_at_a_date(header: str, seconds: float | None) -> None:
    """Counted from now; what is past is at once, what is no date no advice."""
    assert seconds_of(header, 1_790_000_000_000) == seconds


@given(st.integers(100, 599), st.binary(max_size=100))
def test_no_reply_breaks_it(status: int, reply: bytes) -> None:
    """Only a known success is ever accepted."""
    outcome = classify(status, reply)
    assert outcome.kind is not Kind.ACCEPTED or b"0000" in reply


def test_words_that_no_ledger_could_hold() -> None:
    """A NUL or half a character in the marketplace's message does not keep it from being stored."""
    body = b'{"error_code": "MKT.0150", "error_msg": "a\\u0000b\\ud800c"}'
    assert classify(400, body).message == "a b c"
