"""Forms: ours are read, others' are refused, and nothing is without a bound."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from billing_sync.errors import BadQuestion, Forged
from billing_sync.web.forms import fields_of, form_of


async def take(request: Request) -> Response:
    try:
        return JSONResponse(dict(await form_of(request, "right")))
    except Forged as problem:
        return JSONResponse(str(problem), 403)
    except BadQuestion as problem:
        return JSONResponse(str(problem), 400)


client = TestClient(Starlette(routes=[Route("/", take, methods=["POST"])]))


def test_a_form() -> None:
    """Its fields, without the token and blanks around them."""
    reply = client.post("/", data={"csrf": "right", "reason": " 退款 ", "empty": ""})
    assert (reply.status_code, reply.json()) == (200, {"reason": "退款", "empty": ""})


@pytest.mark.parametrize("data", [{}, {"csrf": ""}, {"csrf": "righ"}, {"csrf": "wrong"}])
def test_a_form_without_our_token(data: dict[str, str]) -> None:
    """Was not made by our page."""
    assert client.post("/", data=data).status_code == 403


@pytest.mark.parametrize(
    ("site", "status"),
    [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)],
)
def test_a_form_from_another_site(site: str, status: int) -> None:
    """The browser says so, whatever it holds."""
    reply = client.post("/", data={"csrf": "right"}, headers={"Sec-Fetch-Site": site})
    assert reply.status_code == status


@pytest.mark.parametrize(
    "body", ["csrf=right&a=1&a=2", "csrf=right&a=%ff", "a=" + "x" * 20_000, "&a=1" * 100]
)
def test_what_is_no_form(body: str) -> None:
    """Is refused in a sentence."""
    reply = client.post("/", content=body)
    assert reply.status_code == 400
    assert "form" in reply.json()


@given(st.text())
def test_any_text(body: str) -> None:
    """Is read or refused."""
    with contextlib.suppress(BadQuestion):
        assert all(value == value.strip() for value in fields_of(body).values())
