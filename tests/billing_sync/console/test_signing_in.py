"""Who gets in, who does not, and that nothing is told to those who do not."""

from collections.abc import AsyncIterator

import anyio
import pytest

from billing_sync.console.site import console_routes
from billing_sync.web.security import CSP
from billing_sync.web.sessions import LIFE_MS
from tests.billing_sync.console.stage import NAME, TOKEN, Browser, Stage, csrf_of, text_of

pytestmark = pytest.mark.anyio

SIGN_IN = "/console/sign-in"


@pytest.fixture
def database_kind() -> str:
    """Nothing here asks the ledger."""
    return "sqlite"


async def test_signing_in(stranger: Browser) -> None:
    """With the token and a name; the cookie is nobody else's."""
    reply = await stranger.sign_in()
    assert (reply.status_code, reply.headers["location"]) == (303, "/console")
    cookie = reply.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Path=/console" in cookie
    assert "Secure" not in cookie
    page = await stranger.get("/console")
    assert page.status_code == 200
    assert NAME in page.text


async def test_over_tls_the_cookie_is_secure(stranger: Browser) -> None:
    """Also where a proxy ends it."""
    stranger.client.headers["X-Forwarded-Proto"] = "https"
    stranger.client.base_url = "https://control"
    assert "Secure" in (await stranger.sign_in()).headers["set-cookie"]


@pytest.mark.parametrize("token", ["", "t0ken", TOKEN + "x", TOKEN.upper(), "ü", "\x00"])
async def test_a_wrong_token(stranger: Browser, token: str) -> None:
    """Opens nothing, and is not shown."""
    reply = await stranger.sign_in(token)
    assert reply.status_code == 403
    assert "That is not the admin token." in reply.text
    assert not token or token not in reply.text
    assert "tallygate_console" not in reply.headers.get("set-cookie", "")
    assert (await stranger.get("/console")).status_code == 303


@pytest.mark.parametrize("name", ["", "x" * 65, "a\x07b"])
async def test_somebody_without_a_name(stranger: Browser, name: str) -> None:
    """Decides nothing here."""
    assert (await stranger.sign_in(name=name)).status_code == 400


async def test_too_many_tries(stranger: Browser, stage: Stage) -> None:
    """Five wrong ones a minute; the right token must wait as well."""
    for _ in range(5):
        assert (await stranger.sign_in("wrong")).status_code == 403
    reply = await stranger.sign_in()
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "60")
    stage.books.clock.advance(seconds=60)
    assert (await stranger.sign_in()).status_code == 303


async def test_many_tries_at_once(stranger: Browser) -> None:
    """Whose forms come slowly, all together, are no more tries than five."""
    csrf = await stranger.csrf(SIGN_IN)
    begun, statuses = [0], list[int]()
    all_wait = anyio.Event()

    async def form() -> AsyncIterator[bytes]:
        begun[0] += 1
        if begun[0] == 20:
            all_wait.set()
        await all_wait.wait()
        yield f"csrf={csrf}&token=wrong&name=x".encode()

    async def attempt() -> None:
        statuses.append((await stranger.client.post(SIGN_IN, content=form())).status_code)

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(attempt)
    assert sorted(statuses) == [403] * 5 + [429] * 15


async def test_signing_in_again(operator: Browser) -> None:
    """Ends the session that was."""
    before = operator.client.cookies["tallygate_console"]
    operator.client.cookies.clear()
    visit = await operator.csrf(SIGN_IN)
    operator.client.cookies.set("tallygate_console", before, path="/console")
    data = {"csrf": visit, "token": TOKEN, "name": "x"}
    assert (await operator.client.post(SIGN_IN, data=data)).status_code == 303
    operator.client.cookies.clear()
    operator.client.cookies.set("tallygate_console", before, path="/console")
    assert (await operator.get("/console")).status_code == 303


async def test_another_site_cannot_sign_anybody_in(stranger: Browser) -> None:
    """Its form lacks the token of the visit."""
    for csrf in ("", "0" * 64):
        data = {"csrf": csrf, "token": TOKEN, "name": "x"}
        assert (await stranger.client.post(SIGN_IN, data=data)).status_code == 403
    token = await stranger.csrf(SIGN_IN)
    stranger.client.cookies.clear()
    data = {"csrf": token, "token": TOKEN, "name": "x"}
    assert (await stranger.client.post(SIGN_IN, data=data)).status_code == 403


@pytest.mark.parametrize(
    ("asked", "after"),
    [
        ("/console/records?state=held", "/console/records?state=held"),
        ("https://evil.example/console", "/console"),
        ("//evil.example/console", "/console"),
        ("/console/../api/v1/usage", "/console"),
        ("/consolex", "/console"),
        ("/console\\@evil", "/console"),
        ("javascript:alert(1)", "/console"),
    ],
)
async def test_where_it_goes_on(stranger: Browser, asked: str, after: str) -> None:
    """Where one wanted to go, within the console."""
    data = {"csrf": await stranger.csrf(SIGN_IN), "token": TOKEN, "name": "x"}
    reply = await stranger.client.post(SIGN_IN, params={"next": asked}, data=data)
    assert reply.headers["location"] == after


async def test_signing_out(operator: Browser) -> None:
    """Ends the session also for whoever kept the cookie."""
    cookies = dict(operator.client.cookies)
    assert (await operator.send("/console/sign-out", "/console")).status_code == 303
    operator.client.cookies.update(cookies)
    assert (await operator.get("/console")).status_code == 303


async def test_a_session_ends(operator: Browser, stage: Stage) -> None:
    """After twelve hours."""
    stage.books.clock.advance(ms=LIFE_MS)
    reply = await operator.get("/console/records?state=held")
    assert reply.headers["location"] == (
        "/console/sign-in?next=%2Fconsole%2Frecords%3Fstate%3Dheld"
    )


def paths(stage: Stage, method: str) -> list[str]:
    found = []
    for route in console_routes(stage.ports):
        path = route.path
        for name in ("sn", "key_id", "id", "customer_id:path", "instance_id:path"):
            path = path.replace(f"{{{name}}}", "x")
        if method in (route.methods or ()) and "{" not in path and path != SIGN_IN:
            found.append(path)
    return found


async def test_strangers_see_nothing(stranger: Browser, stage: Stage) -> None:
    """No page, no part of one, with whatever cookie; all with the headers."""
    stage.books.buy("secret-instance", customer_id="secret-customer")
    assert len(paths(stage, "GET")) > 15
    for cookie in ("", "x", "0" * 64):
        stranger.client.cookies.set("tallygate_console", cookie, path="/console")
        for path in paths(stage, "GET"):
            reply = await stranger.get(path)
            part = await stranger.get(path, **{"HX-Request": "true"})
            if path == "/console/":
                continue
            assert (reply.status_code, part.status_code) == (303, 401), path
            assert "secret" not in reply.text + part.text
            assert reply.headers["content-security-policy"] == CSP


@pytest.mark.parametrize("token", [TOKEN, "sk-of-a-customer"])
async def test_tokens_of_the_api_open_no_page(stranger: Browser, stage: Stage, token: str) -> None:
    """A page is for a session: a browser sends no Bearer, and whoever does is no browser."""
    for path in paths(stage, "GET"):
        if path != "/console/":
            reply = await stranger.get(path, Authorization=f"Bearer {token}")
            assert reply.status_code == 303, path
    assert (await stranger.sign_in("sk-of-a-customer")).status_code == 403


async def test_strangers_do_nothing(stranger: Browser, stage: Stage) -> None:
    """Whatever they send."""
    assert len(paths(stage, "POST")) > 10
    for path in paths(stage, "POST"):
        reply = await stranger.client.post(path, data={"csrf": "0" * 64, "reason": "x"})
        assert reply.status_code == 401, path


async def test_forms_without_our_token_do_nothing(operator: Browser, stage: Stage) -> None:
    """Not even for somebody who signed in: another site may have sent them."""
    for path in paths(stage, "POST"):
        for csrf in ("", "0" * 64, csrf_of(await operator.get("/console"))[:-1]):
            reply = await operator.client.post(path, data={"csrf": csrf, "reason": "x"})
            assert reply.status_code == 403, path
    good = await operator.csrf("/console")
    reply = await operator.client.post(
        "/console/sign-out", data={"csrf": good}, headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert reply.status_code == 403


async def test_other_methods(operator: Browser, stage: Stage) -> None:
    """Pages are read, forms are sent, nothing else is served."""
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        for path in {*paths(stage, "GET"), *paths(stage, "POST")} - {"/console/"}:
            assert (await operator.client.request(method, path)).status_code == 405, path


async def test_the_token_stands_on_no_page(operator: Browser, stage: Stage) -> None:
    """Nor does the session's own."""
    session = operator.client.cookies["tallygate_console"]
    for path in paths(stage, "GET"):
        reply = await operator.get(path)
        assert TOKEN not in reply.text
        assert session not in reply.text


async def test_a_stop_is_said_on_every_page(operator: Browser, stage: Stage) -> None:
    """And what to do about it."""
    from billing_sync.store.stops import Stop

    stage.stops.append(Stop("set back <i>", 0))
    reply = await operator.get("/console/health")
    assert "set back &lt;i&gt;" in reply.text
    assert "tallygate recover" in text_of(reply)


def test_an_empty_token_is_none(stage: Stage) -> None:
    """It would let everybody in."""
    import dataclasses

    with pytest.raises(ValueError, match="admin_token"):
        console_routes(dataclasses.replace(stage.ports, admin_token=""))
