"""The authentication centre as a browser and a client meet it."""

from collections.abc import AsyncIterator
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from starlette.applications import Starlette

from tallygate.simulator.authority import Authority
from tallygate.simulator.directory import Person
from tallygate.simulator.sign_in import SignIn
from tallygate.simulator.sign_in_pages import login_page
from tests.tallygate.simulator.stage import HandClock
from tests.tallygate.simulator.test_authority import BACK, CHALLENGE, CLIENT, VERIFIER, company

pytestmark = pytest.mark.anyio

ASKED = {
    "response_type": "code",
    "client_id": "client-1",
    "redirect_uri": BACK,
    "scope": "get_user_info",
    "state": "a state/+",
}
AUTHORIZE = "/api/v1/oauth2/authorize"


@pytest.fixture
async def browser() -> AsyncIterator[httpx.AsyncClient]:
    directory = company()
    numbers = iter(range(1000))
    authority = Authority(directory, lambda: f"token-{next(numbers)}")
    app = Starlette(routes=SignIn(directory, authority, HandClock()).routes())
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://centre") as http:
        yield http


def sent_back(response: httpx.Response) -> dict[str, str]:
    assert response.status_code == 302
    target = response.headers["location"]
    assert target.startswith(BACK + "?")
    return dict(parse_qsl(urlsplit(target).query))


async def test_the_whole_way(browser: httpx.AsyncClient) -> None:
    """Page, person, code, tokens, who it is, a second time without a page, and out again."""
    page = await browser.get(AUTHORIZE, params=ASKED)
    assert "Ada (ada, admin)" in page.text
    assert "Bo" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    pkce = {**ASKED, "code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    back = sent_back(await browser.post(AUTHORIZE, params=pkce, data={"user_name": "ada"}))
    assert back["state"] == "a state/+"
    form = {**CLIENT, "grant_type": "authorization_code", "code": back["code"]}
    refused = await browser.post("/api/v1/oauth2/token", data=form)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    back = sent_back(await browser.get(AUTHORIZE, params=pkce))
    form |= {"code": back["code"], "code_verifier": VERIFIER}
    given = await browser.post("/api/v1/oauth2/token", data=form)
    assert given.headers["cache-control"] == "no-store"
    bearer = {"Authorization": f"Bearer {given.json()['access_token']}"}
    who = await browser.get("/api/v1/oauth2/userinfo", headers=bearer)
    assert who.json()["userName"] == "ada"
    out = await browser.get("/api/v1/logout", params={"redirect_url": BACK})
    assert out.headers["location"] == BACK
    assert (await browser.get("/api/v1/oauth2/userinfo", headers=bearer)).status_code == 401
    assert (await browser.get(AUTHORIZE, params=ASKED)).status_code == 200


async def test_the_portal(browser: httpx.AsyncClient) -> None:
    """It sends a code nobody asked for, and the tenant's id."""
    assert "Ada" in (await browser.get("/unified-login/")).text
    form = {"tenant_id": "t-1", "app_id": "app", "user_name": "ada"}
    back = sent_back(await browser.post("/unified-login/", data=form))
    assert back["tenant"] == "t-1"
    assert "state" not in back
    wrong = await browser.post("/unified-login/", data={**form, "app_id": "none"})
    assert wrong.status_code == 400


@pytest.mark.parametrize(
    "change",
    [
        {"client_id": "nobody"},
        {"redirect_uri": "https://elsewhere.example.com/"},
        {"redirect_uri": BACK + "/more"},
        {"response_type": "token"},
        {"code_challenge_method": "MD5"},
    ],
)
async def test_nobody_is_sent_anywhere(browser: httpx.AsyncClient, change: dict[str, str]) -> None:
    """A wrong question gets a page, not a redirect."""
    reply = await browser.get(AUTHORIZE, params={**ASKED, **change})
    assert reply.status_code == 400
    assert "location" not in reply.headers


async def test_out_to_nowhere_else(browser: httpx.AsyncClient) -> None:
    """Only to where an app lives."""
    out = await browser.get("/api/v1/logout", params={"redirect_url": "https://evil.example.com"})
    assert "location" not in out.headers


async def test_who_may_not_sign_in(browser: httpx.AsyncClient) -> None:
    """Disabled, or nobody."""
    for user_name in ("bo", "nobody", ""):
        reply = await browser.post(AUTHORIZE, params=ASKED, data={"user_name": user_name})
        assert reply.status_code == 400


async def test_the_token_endpoint_takes_forms_only(browser: httpx.AsyncClient) -> None:
    """Said as JSON."""
    reply = await browser.post("/api/v1/oauth2/token", json=CLIENT)
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_request")


async def test_names_cannot_break_the_page() -> None:
    """What a company calls itself is text."""
    tenant = company().tenant("t-1")
    tenant.name = "<script>"
    tenant.people["x"] = Person('"><b>', "<i>", "D")
    page = login_page(tenant)
    assert "<script>" not in page
    assert "<b>" not in page
    assert "<i>" not in page
