"""What the gateway says when it answers by itself."""

import json
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from gateway.errors import (
    GatewayError,
    Unexpected,
    body_of,
    headers_of,
)
from gateway.standing_errors import REFUSED, InstanceFrozen
from gateway.statuses import REFUSALS, Standing


def every(kind: type[GatewayError] = GatewayError) -> Iterator[type[GatewayError]]:
    """All errors of the tree below its root."""
    for child in kind.__subclasses__():
        yield child
        yield from every(child)


@pytest.mark.parametrize("kind", list(every()))
def test_every_error_has_a_status_a_code_and_a_sentence(kind: type[GatewayError]) -> None:
    """Clients switch on the code, people read the message in their language."""
    error = kind()
    content = json.loads(body_of(error, "id-1"))["error"]
    assert HTTPStatus(kind.status) >= 400
    assert content == {
        "code": kind.code,
        "message": str(error),
        "message_zh": error.text_zh,
        "request_id": "id-1",
    }
    assert str(error).endswith(".")
    assert kind is Unexpected or "message_zh" in vars(kind)  # its own, not its parent's
    assert error.text_zh.endswith("。")


def test_codes_are_not_shared() -> None:
    """One code, one meaning."""
    codes = [kind.code for kind in every()]
    assert len(set(codes)) == len(codes)


def test_the_head_names_the_request_and_the_length() -> None:
    """As JSON, with what the error adds."""
    body = body_of(InstanceFrozen(), "id-1")
    assert headers_of(InstanceFrozen(), "id-1", len(body)) == [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", b"id-1"),
    ]


def test_a_message_of_its_own_replaces_the_usual_one() -> None:
    """Same code, said more precisely."""
    said = json.loads(body_of(InstanceFrozen("Frozen by us."), "i"))["error"]
    assert (said["message"], said["message_zh"]) == ("Frozen by us.", InstanceFrozen.message_zh)
    said = json.loads(body_of(InstanceFrozen("Frozen by us.", "已冻结。"), "i"))["error"]
    assert said["message_zh"] == "已冻结。"


def test_chinese_goes_out_as_it_is() -> None:
    """Whoever reads the reply with curl reads Chinese; what is no text at all breaks nothing."""
    assert "已被冻结".encode() in body_of(InstanceFrozen(), "i")
    assert json.loads(body_of(InstanceFrozen("\ud800."), "i"))["error"]["message"] == "?."


@pytest.mark.parametrize("standing", list(REFUSED))
def test_every_standing_that_refuses_is_an_error(standing: Standing) -> None:
    """What the table says is what is answered."""
    status, code, text, text_zh, seconds = REFUSALS[standing]
    error = REFUSED[standing]()
    assert (error.status, error.code, str(error), error.text_zh) == (status, code, text, text_zh)
    assert dict(error.headers) == ({b"retry-after": b"%d" % seconds} if seconds else {})
