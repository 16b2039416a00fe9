"""Signing in through a tenant's centre on a real socket: who gets in, what he sees, how he leaves."""

import re
from collections.abc import AsyncIterator, Iterator
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx
import pytest
from redis.asyncio import Redis
from sqlalchemy import Engine
from sqlmodel import select
from starlette.routing import Route

from billing_sync.key_terms import KeyAsked
from billing_sync.kit_marks import Flag
from billing_sync.models import Instance
from billing_sync.people_models import PersonSession
from billing_sync.sites import public_site
from billing_sync.store.engine import reading, writing
from tests.auth_centre import AuthCentre, centre
from tests.billing_sync.books import START
from tests.billing_sync.people_site import BASE, PeopleSite, authorize, site, told

pytestmark = pytest.mark.anyio


@pytest.fixture
def database_kind() -> str:
    """Pages; what they stand on is tried on each kind of database in store/."""
    return "sqlite"


LOGIN = "/koogallery/oauth/login"
CALLBACK = "/koogallery/oauth/callback"
LOGOUT = "/koogallery/oauth/logout"
CSRF = re.compile(r'name="csrf" value="([0-9a-f]+)"')
AT = START - 1_000_000


@pytest.fixture
def auth() -> Iterator[AuthCentre]:
    with centre() as found:
        yield found


@pytest.fixture
async def people(engine: Engine, redis: Redis, auth: AuthCentre) -> AsyncIterator[PeopleSite]:
    async with site(engine, redis) as made:
        told(engine, "i", "t-1", auth.url, AT, {"ann": "admin", "bob": "user"})
        told(engine, "of-d", "t-2", auth.url, AT, {"bob": "admin", "cyd": "user"})
        yield made


class Browser:
    """One person's browser: cookies of ours and of the centre, and what it follows."""

    def __init__(self, people: PeopleSite, auth: AuthCentre, user: str) -> None:
        self.ours = people.browser()
        self.theirs = httpx.AsyncClient(base_url=auth.url, trust_env=False)
        for client in (self.ours, self.theirs):
            people.leaving.push_async_callback(client.aclose)
        auth.sessions[f"sso-{user}"] = user
        self.theirs.cookies.set("centre_session", f"sso-{user}")

    async def at_the_centre(self, reply: httpx.Response) -> str:
        """Where the centre sends the browser after `reply` sent it there."""
        assert reply.status_code == 303, reply.text
        answer = await self.theirs.get(reply.headers["location"])
        assert answer.status_code == 302, answer.text
        return answer.headers["location"].removeprefix(BASE)

    async def sign_in(self, tenant: str = "t-1") -> httpx.Response:
        """From the login address to whatever the callback answers."""
        back = await self.at_the_centre(await self.ours.get(f"{LOGIN}?tenant={tenant}"))
        return await self.ours.get(back)

    async def page(self, path: str = "/usage/me") -> httpx.Response:
        return await self.ours.get(path)


def sessions(people: PeopleSite) -> list[PersonSession]:
    with reading(people.engine) as session:
        return list(session.exec(select(PersonSession)))


async def test_in_and_out(people: PeopleSite, auth: AuthCentre) -> None:
    """The page of what his enterprise's user may see; then out here and at the centre."""
    ann = Browser(people, auth, "ann")
    reply = await ann.sign_in()
    assert (reply.status_code, reply.headers["location"]) == (303, "/usage/me")
    cookie = reply.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    page = await ann.page()
    assert page.status_code == 200
    assert "Signed in as Ann" in page.text
    assert ">i<" in page.text
    for unseen in (">k<", ">pack<", "of-d"):  # his customer's, and another's
        assert unseen not in page.text
    (kept,) = sessions(people)
    token = ann.ours.cookies["tallygate_person"]
    for secret in (token, *auth.access, *auth.refresh):
        assert secret not in kept.model_dump_json()
        assert secret not in page.text
    out = await ann.ours.post(LOGOUT, data={"csrf": CSRF.findall(page.text)[0]})
    (onward,) = re.findall(r'content="0; url=([^"]+)"', out.text)
    assert "form-action 'self'" in out.headers["content-security-policy"]
    assert sessions(people) == []
    left = await ann.theirs.get(onward.replace("&amp;", "&"))
    assert left.headers["location"] == f"{BASE}{LOGOUT}"
    assert "signed out" in (await ann.ours.get(LOGOUT)).text
    assert (await ann.page()).status_code == 401
    assert "sso-ann" not in auth.sessions


async def test_only_his_own_tenant(people: PeopleSite, auth: AuthCentre) -> None:
    """Another tenant's user sees another customer; a stranger nothing at all."""
    bob = Browser(people, auth, "bob")
    assert (await bob.sign_in("t-2")).status_code == 303
    page = (await bob.page("/usage/me?customer=c")).text
    assert "of-d" in page
    assert "Customer C" not in page
    csv = (await bob.page("/usage/me/usage.csv?customer=c")).text
    assert ",i," not in csv
    ann = Browser(people, auth, "ann")
    assert (await ann.sign_in("t-2")).status_code == 403
    assert sessions(people)[0].tenant_id == "t-2"
    assert len(sessions(people)) == 1
    assert (await ann.page()).status_code == 401


async def test_everything_without_a_session(people: PeopleSite) -> None:
    """Is told how to sign in, or refused; nothing leaks."""
    async with people.browser() as nobody:
        for path in ("/usage/me", "/usage/me/usage.csv"):
            for cookie in ("", "0" * 64, "x", "é"):
                headers = {b"Cookie": f"tallygate_person={cookie}".encode()} if cookie else {}
                reply = await nobody.get(path, headers=headers)
                assert reply.status_code == 401
                assert "Customer C" not in reply.text
        assert (await nobody.post("/usage/me/rotate")).status_code == 401
        assert (await nobody.post(LOGOUT)).status_code == 400
        assert (await nobody.get(LOGOUT)).status_code == 200
        assert (await nobody.get(LOGIN)).status_code == 200
        assert (await nobody.get(f"{LOGIN}?tenant=unknown")).status_code == 403
        assert (await nobody.get(CALLBACK)).status_code == 403


async def test_of_two_customers(people: PeopleSite, auth: AuthCentre) -> None:
    """One at a time; keys of each are replaced on his own page."""
    told(people.engine, "of-d", "t-1", auth.url, AT, {"ann": "admin"})
    key_id = (await people.control.key_ring.create(KeyAsked("d"))).row["id"]
    ann = Browser(people, auth, "ann")
    await ann.sign_in()
    assert ">of-d<" not in (await ann.page()).text
    page = (await ann.page("/usage/me?customer=d")).text
    assert ">of-d<" in page
    assert ">i<" not in page
    (action,) = re.findall(r'action="(/usage/me/rotate[^"]*)"', page)
    data = {"key_id": key_id, "csrf": CSRF.findall(page)[0]}
    assert (await ann.ours.post("/usage/me/rotate", data=data)).status_code == 409
    assert (await ann.ours.post(action, data=data)).status_code == 200
    csv = (await ann.page("/usage/me/usage.csv?by=day&customer=nobody")).text
    assert "of-d" not in csv


async def test_nobody_comes_too_often(people: PeopleSite) -> None:
    """Also without a session, and without writing anything."""
    async with people.browser() as nobody:
        nobody.cookies.set("tallygate_person", "0" * 64)
        codes = {(await nobody.get("/usage/me")).status_code for _ in range(200)}
        assert codes == {401}
        assert (await nobody.get("/usage/me")).status_code == 429
        codes = {(await nobody.get(LOGIN)).status_code for _ in range(120)}
        assert codes == {200}
        assert (await nobody.get(LOGIN)).status_code == 429


async def test_every_route(people: PeopleSite, auth: AuthCentre) -> None:
    """To nobody, to another tenant's user and to the holder of another customer's link: nothing leaks."""
    bob = Browser(people, auth, "bob")
    await bob.sign_in("t-2")
    nobody = Browser(people, auth, "nobody").ours
    other = people.link("d").removeprefix("/usage/")
    tried = 0
    for route in public_site(people.control).routes:
        assert isinstance(route, Route)
        for method in sorted(route.methods or ()):
            for token in ("me", other, "c", "i"):
                path = route.path.replace("{token}", token).replace("{name:path}", token)
                for browser in (nobody, bob.ours):
                    for asked in ("", "?customer=c&instance=i&tenant=t-1"):
                        reply = await browser.request(method, path + asked)
                        for secret in ("Customer C", ">pack<", ">k<", ",i,", "secret-1"):
                            assert secret not in reply.text, (method, path)
                        tried += 1
    assert tried > 100


async def test_a_whole_company_in_the_morning(people: PeopleSite, auth: AuthCentre) -> None:
    """Signs in from one address; who comes without an end is told to wait."""
    async with people.browser() as crowd:
        codes = [(await crowd.get(f"{LOGIN}?tenant=t-1")).status_code for _ in range(120)]
        assert set(codes) == {303}
        reply = await crowd.get(f"{LOGIN}?tenant=t-1")
        assert (reply.status_code, reply.headers["retry-after"]) == (429, "1")
        people.clock.advance(seconds=1)
        assert (await crowd.get(f"{LOGIN}?tenant=t-1")).status_code == 303


async def test_an_admin_where_keys_stay(engine: Engine, redis: Redis, auth: AuthCentre) -> None:
    """`rotate_keys: false`: he reads, and sees no key."""
    async with site(engine, redis, control={"sign_in": {"rotate_keys": False}}) as people:
        told(engine, "i", "t-1", auth.url, AT, {"ann": "admin"})
        key_id = (await people.control.key_ring.create(KeyAsked("c"))).row["id"]
        ann = Browser(people, auth, "ann")
        await ann.sign_in()
        page = (await ann.page()).text
        assert "rotate" not in page
        assert "keys-heading" not in page
        data = {"key_id": key_id, "csrf": CSRF.findall(page)[0]}
        assert (await ann.ours.post("/usage/me/rotate", data=data)).status_code == 400


async def test_roles(people: PeopleSite, auth: AuthCentre) -> None:
    """A user reads; an admin may replace keys, of his own customer alone."""
    mine = (await people.control.key_ring.create(KeyAsked("c"))).row["id"]
    theirs = (await people.control.key_ring.create(KeyAsked("d"))).row["id"]
    bob, ann = Browser(people, auth, "bob"), Browser(people, auth, "ann")
    await bob.sign_in("t-1")
    page = (await bob.page()).text
    assert "rotate" not in page
    (csrf,) = CSRF.findall(page)  # of the form to leave
    data = {"key_id": mine, "csrf": csrf}
    assert (await bob.ours.post("/usage/me/rotate", data=data)).status_code == 400
    await ann.sign_in("t-1")
    csrf = CSRF.findall((await ann.page()).text)[0]
    forged = await ann.ours.post("/usage/me/rotate", data=data)
    assert forged.status_code == 400  # another person's form
    wrong = await ann.ours.post("/usage/me/rotate", data={"key_id": theirs, "csrf": csrf})
    assert wrong.status_code == 409
    done = await ann.ours.post("/usage/me/rotate", data={"key_id": mine, "csrf": csrf})
    assert done.status_code == 200
    assert "tg-" in done.text


async def test_deleted_by_the_enterprise(people: PeopleSite, auth: AuthCentre) -> None:
    """From the next request on; and not in again."""
    for flag in (Flag.DELETE, Flag.CANCEL):
        user = "ann" if flag is Flag.DELETE else "bob"
        browser = Browser(people, auth, user)
        await browser.sign_in()
        assert (await browser.page()).status_code == 200
        authorize(people.engine, "i", "t-1", AT + 10, {user: "user"}, flag)
        assert (await browser.page()).status_code == 401
        assert (await browser.sign_in()).status_code == 403
    assert sessions(people) == []


async def test_the_instance_is_frozen(people: PeopleSite, auth: AuthCentre) -> None:
    """Then there is nothing to see."""
    ann = Browser(people, auth, "ann")
    await ann.sign_in()
    with writing(people.engine) as session:
        session.get_one(Instance, "i").status = "frozen"
    assert (await ann.page()).status_code == 401


async def test_sessions_end(people: PeopleSite, auth: AuthCentre) -> None:
    """When nobody was there for half an hour, and after eight hours in any case."""
    ann = Browser(people, auth, "ann")
    await ann.sign_in()
    for _ in range(2):
        people.clock.advance(seconds=1799)
        assert (await ann.page()).status_code == 200
    people.clock.advance(seconds=1800)
    assert (await ann.page()).status_code == 401
    await ann.sign_in()
    for _ in range(19):
        people.clock.advance(seconds=1500)
        assert (await ann.page()).status_code == 200
    people.clock.advance(seconds=300)
    assert (await ann.page()).status_code == 401
    assert sessions(people) == []


async def test_a_link_that_somebody_else_made(people: PeopleSite, auth: AuthCentre) -> None:
    """Signs nobody in as him: neither by a code alone nor by his own state."""
    eve, victim = Browser(people, auth, "bob"), Browser(people, auth, "ann")
    back = await eve.at_the_centre(await eve.ours.get(f"{LOGIN}?tenant=t-1"))
    assert (await victim.ours.get(back)).status_code == 403
    assert sessions(people) == []
    begun = await victim.ours.get(f"{LOGIN}?tenant=t-1")
    assert (await victim.ours.get(back)).status_code == 403  # a state, but not that of his browser
    code = auth.code("bob", redirect_uri=f"{BASE}{CALLBACK}")
    reply = await victim.ours.get(f"{CALLBACK}?code={code}&tenant=t-1")
    assert reply.status_code == 303  # begun anew, with a state of his own
    assert code in auth.codes  # it was not spent
    assert (await victim.ours.get(await victim.at_the_centre(reply))).status_code == 303
    assert "Signed in as Ann" in (await victim.page()).text
    del begun


@pytest.mark.parametrize("name", ["tenant", "tenantId", "tenant_id"])
async def test_from_the_portal(people: PeopleSite, auth: AuthCentre, name: str) -> None:
    """With a code and the tenant's id, whatever it is called."""
    ann = Browser(people, auth, "ann")
    code = auth.code("ann")
    for path in (f"{CALLBACK}?code={code}&{name}=t-1", f"{LOGIN}?{name}=t-1&code={code}"):
        back = await ann.at_the_centre(await ann.ours.get(path))
        assert (await ann.ours.get(back)).status_code == 303


async def test_a_centre_that_forgets_the_state(people: PeopleSite, auth: AuthCentre) -> None:
    """Sends nobody round for ever, and signs nobody in."""
    auth.forgets_state = True
    ann = Browser(people, auth, "ann")
    path = f"{LOGIN}?tenant=t-1"
    for _ in range(3):
        back = await ann.at_the_centre(await ann.ours.get(path))
        assert "state" not in parse_qs(urlsplit(back).query)
        path = f"{back}&tenant=t-1"
    assert (await ann.ours.get(path)).status_code == 403
    assert sessions(people) == []


async def test_targets_are_fixed(people: PeopleSite, auth: AuthCentre) -> None:
    """Whatever a link says, browsers go to the tenant's centre and to our own page."""
    ann = Browser(people, auth, "ann")
    evil = "next=https://evil.test&redirect_uri=https://evil.test&return_to=//evil.test"
    begun = await ann.ours.get(f"{LOGIN}?tenant=t-1&{evil}")
    assert begun.headers["location"].startswith(f"{auth.url}/api/v1/oauth2/authorize?")
    asked = parse_qs(urlsplit(begun.headers["location"]).query)
    assert asked["redirect_uri"] == [f"{BASE}{CALLBACK}"]
    assert asked["code_challenge_method"] == ["S256"]
    back = await ann.at_the_centre(begun)
    reply = await ann.ours.get(f"{back}&{evil}")
    assert reply.headers["location"] == "/usage/me"


@pytest.mark.parametrize(
    "told_as",
    ["http://centre.example.com", "https://10.0.0.1", "https://localhost", "https://a.test/x"],
)
async def test_a_centre_that_is_none(
    engine: Engine, redis: Redis, auth: AuthCentre, told_as: str
) -> None:
    """Is never asked."""
    async with site(engine, redis) as people:
        told(engine, "i", "t-1", told_as, AT, {"ann": "user"})
        async with people.browser() as browser:
            assert (await browser.get(f"{LOGIN}?tenant=t-1")).status_code == 403


async def test_a_code_is_good_once(people: PeopleSite, auth: AuthCentre) -> None:
    """And a cookie of a sign-in that was ended is good no more."""
    ann = Browser(people, auth, "ann")
    back = await ann.at_the_centre(await ann.ours.get(f"{LOGIN}?tenant=t-1"))
    begun = ann.ours.cookies["tallygate_sign_in"]
    assert (await ann.ours.get(back)).status_code == 303
    assert "tallygate_sign_in" not in ann.ours.cookies
    assert (await ann.ours.get(back)).status_code == 403
    ann.ours.cookies.set("tallygate_sign_in", begun)
    assert (await ann.ours.get(back)).status_code == 403
    assert len(sessions(people)) == 1


async def test_tokens_are_renewed(people: PeopleSite, auth: AuthCentre) -> None:
    """Before they end; who was signed out at the centre is out here."""
    auth.expires_in = "600"
    ann = Browser(people, auth, "ann")
    await ann.sign_in()
    for _ in range(2):
        people.clock.advance(seconds=600)
        assert (await ann.page()).status_code == 200
    assert auth.asked == ["authorization_code", "refresh_token", "refresh_token"]
    people.clock.advance(seconds=60)
    assert (await ann.page()).status_code == 200
    assert len(auth.asked) == 3
    auth.sign_everybody_out()
    people.clock.advance(seconds=600)
    assert (await ann.page()).status_code == 401
    assert sessions(people) == []


async def test_several_pages_at_once(people: PeopleSite, auth: AuthCentre) -> None:
    """Ask for new tokens once: a centre takes a refresh token only once."""
    auth.expires_in = 600
    ann = Browser(people, auth, "ann")
    await ann.sign_in()
    people.clock.advance(seconds=600)
    codes: list[int] = []

    async def load() -> None:
        codes.append((await ann.page()).status_code)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(load)
    assert codes == [200] * 5
    assert auth.asked.count("refresh_token") == 1


async def test_a_centre_that_is_away(people: PeopleSite, auth: AuthCentre) -> None:
    """Lets nobody in, and throws nobody out: what the enterprise told still holds."""
    auth.expires_in = 600
    ann, bob = Browser(people, auth, "ann"), Browser(people, auth, "bob")
    await ann.sign_in()
    auth.down = True
    assert (await bob.sign_in()).status_code == 502
    people.clock.advance(seconds=600)
    assert (await ann.page()).status_code == 200
    assert (await ann.page()).status_code == 200
    assert auth.asked.count("refresh_token") == 1
    auth.down = False
    people.clock.advance(seconds=60)
    assert (await ann.page()).status_code == 200
    assert auth.asked.count("refresh_token") == 2


async def test_a_centre_that_redirects_us(people: PeopleSite, auth: AuthCentre) -> None:
    """Gets the secret nowhere else."""
    auth.redirects_calls = True
    assert (await Browser(people, auth, "ann").sign_in()).status_code == 502


async def test_without_pkce(engine: Engine, redis: Redis, auth: AuthCentre) -> None:
    """Where it is off, and where the centre does not know it."""
    async with site(engine, redis, control={"sign_in": {"pkce": False}}) as people:
        told(engine, "i", "t-1", auth.url, AT, {"ann": "admin"})
        assert (await Browser(people, auth, "ann").sign_in()).status_code == 303
    auth.knows_pkce = False


async def test_refused_at_the_centre(people: PeopleSite, auth: AuthCentre) -> None:
    """Says so, and nothing of it comes from the address."""
    ann = Browser(people, auth, "ann")
    reply = await ann.ours.get(f"{CALLBACK}?error=access_denied&error_description=<b>&state=s")
    assert reply.status_code == 403
    assert "<b>" not in reply.text
    assert "access_denied" not in reply.text


async def test_behind_tls(people: PeopleSite, auth: AuthCentre) -> None:
    """Cookies are this host's alone, and travel by TLS alone."""
    ann = Browser(people, auth, "ann")
    ann.ours.headers["X-Forwarded-Proto"] = "https"
    reply = await ann.ours.get(f"{LOGIN}?tenant=t-1")
    cookie = reply.headers["set-cookie"]
    assert cookie.startswith("__Host-tallygate_sign_in=")
    assert {"Secure", "HttpOnly", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "Domain" not in cookie


async def test_no_secret_in_the_log(
    people: PeopleSite, auth: AuthCentre, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor who it was."""
    caplog.set_level("DEBUG")
    ann = Browser(people, auth, "ann")
    await ann.sign_in()
    await Browser(people, auth, "ann").sign_in("t-2")
    told_ = "\n".join(r.getMessage() for r in caplog.records if r.name.startswith("billing_sync"))
    assert "tenant t-1 signed in" in told_
    for secret in (ann.ours.cookies["tallygate_person"], "secret-1", "ann", *auth.access):
        assert secret not in told_
