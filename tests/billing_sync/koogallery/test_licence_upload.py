"""The bytes of an upload."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.koogallery.aksk import authorization, canonical_request
from billing_sync.koogallery.licence_upload import multipart_of
from billing_sync.licences import Made, made_of
from tests.billing_sync.licensing import Part, parts_read


def parts_of(made: Made) -> dict[str, Part]:
    """As another parser reads them."""
    body = multipart_of(made)
    return parts_read(body.content_type, body.content)


@given(st.binary(min_size=1, max_size=300))
def test_any_file_arrives_as_it_is(content: bytes) -> None:
    """Line ends, boundaries of others and zeros included."""
    parts = parts_of(Made("FILE", "a.lic", content))
    said = json.loads(parts["isvUpdateFileReq"].content)
    assert said == {
        "type": "FILE",
        "file_name": "a.lic",
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    body = multipart_of(Made("FILE", "a.lic", content)).content
    assert b"\r\n\r\n" + content + b"\r\n--tallygate-" in body


@given(st.text(min_size=1, max_size=300))
def test_any_string_arrives_as_it_is(text: str) -> None:
    """In the note, which is JSON."""
    try:
        made = made_of(text)
    except Exception:  # noqa: BLE001  (a lone surrogate is no text)
        return
    parts = parts_of(made)
    assert list(parts) == ["isvUpdateFileReq"]
    assert parts["isvUpdateFileReq"].kind == "application/json"
    assert json.loads(parts["isvUpdateFileReq"].content) == {
        "type": "CHARACTERS",
        "characters": text,
    }


def test_the_same_licence_gives_the_same_bytes() -> None:
    """And a licence that holds its own boundary another one."""
    made = Made("FILE", "a.lic", b"licence")
    first = multipart_of(made)
    assert multipart_of(made) == first
    boundary = first.content_type.split("=")[1].encode()
    other = multipart_of(Made("FILE", "a.lic", boundary))
    assert other.content.count(other.content_type.split("=")[1].encode()) == 3


@pytest.mark.parametrize("body", [b"", b"anything"])
def test_the_body_is_not_signed(body: bytes) -> None:
    """UNSIGNED-PAYLOAD stands where its hash would, and is signed itself."""
    headers = {
        "host": "h",
        "x-sdk-date": "20260101T000000Z",
        "X-Sdk-Content-Sha256": "UNSIGNED-PAYLOAD",
    }
    lines = canonical_request("POST", "https://h/p", headers, body).split("\n")
    assert lines[-1] == "UNSIGNED-PAYLOAD"
    assert "x-sdk-content-sha256:UNSIGNED-PAYLOAD" in lines
    signed = authorization(("a", "b"), "POST", "https://h/p", headers, body)
    assert "SignedHeaders=host;x-sdk-content-sha256;x-sdk-date," in signed
    assert signed == authorization(("a", "b"), "POST", "https://h/p", headers, b"other")
