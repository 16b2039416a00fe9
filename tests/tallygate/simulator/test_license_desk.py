"""Uploads of licences and calls about codes: right ones are kept, wrong ones refused and named."""

import hashlib
import json
from typing import Any

import pytest

from tallygate.simulator.aksk import SignedRequest, signature
from tallygate.simulator.in_process import Simulator
from tallygate.simulator.license_book import Code, CodeState, Wish
from tallygate.simulator.license_desk import ACTIVATE_PATH, HEARTBEAT_PATH
from tallygate.simulator.multipart import Part
from tallygate.simulator.said import Said
from tallygate.simulator.times import DAY_MS, format_record_time
from tests.tallygate.simulator.stage import AK, NOW_MS, SK, HandClock, aksk_headers, settings
from tests.tallygate.simulator.test_multipart import TYPE, form

HOST = "mkt.example.com"
EVENT = "event-1"
UPLOAD = f"/api/mkp-openapi-public/global/v1/market-event/{EVENT}/file"
JSON = "application/json"


@pytest.fixture
def market() -> Simulator:
    made = Simulator(settings(app_key="app", app_secret="app-secret"), HandClock())
    made.marketplace.licenses.ask(Wish(EVENT, "i-1", {"eventId": EVENT}))
    made.marketplace.licenses.add_code(Code("PL1", NOW_MS + DAY_MS))
    return made


def signed(path: str, body: bytes, content_type: str, *, unsigned: bool = False) -> SignedRequest:
    """By AK and SK; `unsigned` leaves the body out of it."""
    headers = aksk_headers("POST", path, "", body, NOW_MS, HOST)
    if unsigned:
        headers = unsigned_headers(path)
    return SignedRequest("POST", path, "", headers | {"content-type": content_type}, body)


def unsigned_headers(path: str) -> dict[str, str]:
    headers = {
        "host": HOST,
        "x-sdk-date": format_record_time(NOW_MS),
        "x-sdk-content-sha256": "UNSIGNED-PAYLOAD",
    }
    names = sorted(headers)
    value = signature(SignedRequest("POST", path, "", headers, b""), names, SK)
    authorization = (
        f"SDK-HMAC-SHA256 Access={AK}, SignedHeaders={';'.join(names)}, Signature={value}"
    )
    return headers | {"authorization": authorization}


def text_form(characters: object = "LICENCE", **more: Any) -> bytes:
    fields = {"type": "CHARACTERS", "characters": characters, **more}
    return form(Part("isvUpdateFileReq", json.dumps(fields).encode(), JSON))


def file_form(content: bytes = b"\x00lic\r\n", **more: Any) -> bytes:
    digest = hashlib.sha256(content).hexdigest()
    fields = {"type": "FILE", "file_name": "a.lic", "sha256": digest, **more}
    given = {name: value for name, value in fields.items() if value is not None}
    return form(
        Part("isvUpdateFileReq", json.dumps(given).encode(), JSON),
        Part("file", content, "application/octet-stream", "a.lic"),
    )


def code_of(said: Said) -> str:
    assert isinstance(said.body, dict)
    return str(said.body["error_code"])


@pytest.mark.parametrize("unsigned", [False, True])
@pytest.mark.parametrize("body", [text_form(), file_form(), file_form(characters=None)])
def test_an_upload_is_kept(market: Simulator, body: bytes, unsigned: bool) -> None:
    """Text and file, with the body signed and without."""
    said = market.desk.answer(signed(UPLOAD, body, TYPE, unsigned=unsigned))
    assert (said.status, code_of(said)) == (200, "MKT.0000")
    [upload] = market.marketplace.licenses.wishes[EVENT].uploads
    assert upload.content in (b"LICENCE", b"\x00lic\r\n")
    assert market.findings.total == 0


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (text_form(""), "MKT.0101"),
        (text_form("x" * 1025), "MKT.0101"),
        (text_form(type="characters"), "MKT.0101"),
        (text_form(event_id=EVENT), "MKT.0101"),
        (text_form(7), "MKT.0101"),
        (file_form(sha256="0" * 64), "MKT.0100"),
        (file_form(sha256=None), "MKT.0101"),
        (file_form(file_name=None), "MKT.0101"),
        (file_form(file_name="x" * 1025), "MKT.0101"),
        (form(Part("isvUpdateFileReq", b"{}", JSON)), "MKT.0101"),
        (form(Part("isvUpdateFileReq", b"{", JSON)), "MKT.0101"),
        (form(Part("isvUpdateFileReq", b"[]", JSON)), "MKT.0101"),
        (form(Part("isvUpdateFileReq", b'{"type":"FILE"}', "text/plain")), "MKT.0101"),
        (form(Part("isvUpdateFileReq", b'{"type":"FILE"}', JSON)), "MKT.0101"),
        (form(Part("file", b"1", JSON, "a")), "MKT.0101"),
        (b"{}", "MKT.0101"),
    ],
)
def test_a_wrong_upload(market: Simulator, body: bytes, code: str) -> None:
    """Refused with the documented code, kept nowhere, and a finding."""
    said = market.desk.answer(signed(UPLOAD, body, TYPE))
    assert code_of(said) == code
    assert not market.marketplace.licenses.wishes[EVENT].uploads
    assert [each["check"] for each in market.findings.as_json()] == ["license-refused"]


def test_an_upload_nobody_asked_for(market: Simulator) -> None:
    """The event is unknown."""
    path = UPLOAD.replace(EVENT, "other")
    said = market.desk.answer(signed(path, text_form(), TYPE))
    assert (said.status, code_of(said)) == (400, "MKT.0199")


def test_a_forged_upload(market: Simulator) -> None:
    """Another SK, or another body under a signature that covers it."""
    good = signed(UPLOAD, text_form(), TYPE)
    other = SignedRequest("POST", UPLOAD, "", good.headers, text_form("OTHER"))
    said = market.desk.answer(other)
    assert (said.status, code_of(said)) == (401, "MKT.0154")


def test_another_licence_for_the_same_wish(market: Simulator) -> None:
    """Taken, and a finding; the same one again is none."""
    for characters, findings in (("A", 0), ("A", 0), ("B", 1)):
        said = market.desk.answer(signed(UPLOAD, text_form(characters), TYPE))
        assert said.status == 200
        assert market.findings.total == findings


def test_faults_of_uploads(market: Simulator) -> None:
    """One that was stored and never answered, and one that was not."""
    market.faults.set({"license": [{"kind": "timeout_after_accept"}, {"kind": "http_500"}]})
    assert market.desk.answer(signed(UPLOAD, text_form(), TYPE)).lost
    assert market.marketplace.licenses.wishes[EVENT].delivered
    assert market.desk.answer(signed(UPLOAD, text_form(), TYPE)).status == 500


def about_code(market: Simulator, path: str, body: object, **more: str) -> Said:
    raw = json.dumps(body).encode()
    request = signed(path, raw, JSON)
    return market.desk.answer(SignedRequest("POST", path, "", {**request.headers, **more}, raw))


def test_a_code_is_activated_once(market: Simulator) -> None:
    """A heartbeat before is refused, after it shows the state."""
    about = {"license": "PL1"}
    assert code_of(about_code(market, HEARTBEAT_PATH, about)) == "92020011"
    assert code_of(about_code(market, ACTIVATE_PATH, about)) == "92020000"
    assert code_of(about_code(market, ACTIVATE_PATH, about)) == "92020003"
    market.marketplace.licenses.code("PL1").state = CodeState.FROZEN
    said = about_code(market, HEARTBEAT_PATH, about)
    assert isinstance(said.body, dict)
    assert json.loads(said.body["data"]["license_code_info"])["status"] == "FROZEN"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"license": "PL2"}, "92020005"),
        ({}, "92020002"),
        ({"license": "x" * 65}, "92020002"),
        ({"license": 7}, "92020002"),
        ([], "92020002"),
    ],
)
def test_wrong_calls_about_codes(market: Simulator, body: object, code: str) -> None:
    """Each is a finding."""
    assert code_of(about_code(market, ACTIVATE_PATH, body)) == code
    assert [each["check"] for each in market.findings.as_json()] == ["code-refused"]


def test_an_app_signs_too(market: Simulator) -> None:
    """With x-stage: RELEASE, and only with it."""
    body = b'{"license":"PL1"}'
    for stage, status in (({"x-stage": "RELEASE"}, 200), ({}, 401)):
        headers = {"host": HOST, "x-sdk-date": format_record_time(NOW_MS), **stage}
        names = sorted(headers)
        request = SignedRequest("POST", ACTIVATE_PATH, "", headers, body)
        value = signature(request, names, "app-secret")
        headers["authorization"] = (
            f"SDK-HMAC-SHA256 Access=app, SignedHeaders={';'.join(names)}, Signature={value}"
        )
        said = market.desk.answer(SignedRequest("POST", ACTIVATE_PATH, "", headers, body))
        assert said.status == status
