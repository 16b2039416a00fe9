"""What the gateway says when it answers by itself."""

import json
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from gateway.errors import GatewayError, InstanceFrozen, body_of, headers_of


def every(kind: type[GatewayError] = GatewayError) -> Iterator[type[GatewayError]]:
    """All errors of the tree below its root."""
    for child in kind.__subclasses__():
        yield child
        yield from every(child)


@pytest.mark.parametrize("kind", list(every()))
def test_every_error_has_a_status_a_code_and_a_sentence(kind: type[GatewayError]) -> None:
    """Clients switch on the code, people read the message."""
    error = kind()
    content = json.loads(body_of(error, "id-1"))["error"]
    assert HTTPStatus(kind.status) >= 400
    assert content == {"code": kind.code, "message": str(error), "request_id": "id-1"}
    assert str(error).endswith(".")


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
    assert json.loads(body_of(InstanceFrozen("示例"), "i"))["error"]["message"] == "示例"
