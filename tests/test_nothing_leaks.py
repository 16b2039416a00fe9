"""Every page and endpoint, without a token, with a customer's, with another's: nothing leaks.

A whole installation, two customers whose every datum bears a mark, and everybody who might ask.
"""

import csv
import io
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Final

import httpx
import pytest
import yaml
from redis.asyncio import Redis
from sqlalchemy import Engine

from billing_sync.koogallery.kit_fields import MAX_BODY
from billing_sync.sites import admin_site, public_site
from gateway.app import build_admin
from tests.billing_sync.people_site import site
from tests.installations import CHAT, eventually
from tests.leaks import routes
from tests.leaks.customers import AZURITE, BASALT, BOTH, Person
from tests.leaks.house import Caller, House, csrf_of, filled, house
from tests.leaks.replies import faults, leaked, said, secrets_in, unguarded
from tests.servers import ask

OTHER: Final = {AZURITE: BASALT, BASALT: AZURITE}
ODD_METHODS: Final = ("HEAD", "OPTIONS", "TRACE", "PUT", "PATCH", "DELETE", "PROPFIND")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("house")) as made:
        for person in BOTH:
            eventually(partial(chatted, made, person))
        yield made
        assert made.served.command.end() == 0
        logged = made.served.command.stderr + made.served.command.stdout
        assert secrets_in(logged, made.secrets) == []
        assert "Traceback" not in logged


def chatted(made: House, person: Person) -> bool:
    """Whether a call with his own key was taken."""
    caller = Caller(person.word, headers={"Authorization": f"Bearer {made.keys[person.word]}"})
    body = {"model": "m", "messages": [{"role": "user", "content": person.word}], "max_tokens": 3}
    return made.call(caller, "POST", made.gateway + CHAT, json=body).status_code == 200


def foreign(caller: Caller) -> tuple[Person, ...]:
    """Whose marks this caller must never see."""
    return (OTHER[caller.of],) if caller.of else BOTH


def body_for(path: str, person: Person) -> dict[str, Any]:
    """A body that would do harm, were it taken."""
    customer, instance = person.named("koo"), person.named("inst")
    told = {"customer_id": customer, "reason": "harm", "author": "nobody", "key_id": "1"}
    if path.endswith(("adjustments", "assign")):
        told |= {"id": "harm", "instance_id": instance, "quantity": "1"}
    return told


@pytest.mark.anyio
async def test_every_route_is_known(engine: Engine, redis: Redis) -> None:
    """Who adds a route says in leaks/routes.py whom it is for."""
    async with site(engine, redis) as people:
        public = routes.served(public_site(people.control))
        admin = routes.served(admin_site(people.control))
    listed = routes.calls(routes.MARKET, routes.CUSTOMER, routes.PUBLIC_OPEN)
    assert sorted(public) == sorted(listed)
    operators = (routes.API, routes.CONSOLE, routes.ADMIN_OPEN, routes.METRICS)
    assert sorted(admin) == sorted(routes.calls(*operators))
    gateway = build_admin(None, lambda: None, dict)  # type: ignore[arg-type]  # nobody scrapes
    assert routes.served(gateway) == routes.calls(routes.GATEWAY_ADMIN)


def test_customers_see_their_own_alone(served: House) -> None:
    """By key, link or session; whoever has none, or one that is over, sees nobody's."""
    shown: dict[str, int] = {}
    for caller in served.outsiders():
        for method, path in routes.calls(routes.CUSTOMER, routes.PUBLIC_OPEN):
            for victim in BOTH if path in PAGES else BOTH[-1:]:
                values = {"token": caller.token, "name:path": victim.named("x")}
                asked = {"customer": victim.named("koo"), "instance": victim.named("inst")}
                reply = served.call(
                    caller, method, served.public + filled(path, values), params=asked
                )
                trial = (caller.name, method, path)
                text = _without_asked(said(reply), asked)
                assert leaked(text, foreign(caller)) == [], trial
                assert secrets_in(_without_own(text, caller), served.secrets) == [], trial
                assert faults(reply) == [], trial
                own = leaked(text, (caller.of,)) if caller.of else []
                shown[caller.name] = shown.get(caller.name, 0) + (path in PAGES and bool(own))
    seeing = {name for name, pages in shown.items() if pages}
    assert seeing == {f"{kind} of {person.word}" for kind in ("link", "person") for person in BOTH}


def test_nobody_plays_the_marketplace(served: House) -> None:
    """A call that is not signed is refused, in words that say nothing of anybody."""
    callers = {caller.name: caller for caller in served.outsiders()}
    asked = {"activity": "queryInstance", "instanceId": AZURITE.named("inst")}
    for name in ("nobody", "key of azurite", "person of basalt"):
        for method, path in routes.calls(routes.MARKET):
            how = {"params": asked} if method == "GET" else {"json": asked}
            reply = served.call(callers[name], method, served.public + path, **how)
            assert reply.json()["resultCode"] != "000000", (name, method, path)
            text = _without_asked(said(reply), asked)
            assert leaked(text, BOTH) == [], (name, method, path)
            assert secrets_in(text, served.secrets) == [], (name, method, path)
            assert faults(reply) == [], (name, method, path)


def test_gateways_tell_each_his_own(served: House) -> None:
    """A key opens its owner's figures; links, sessions and the admin token open nothing."""
    for caller in [*served.outsiders(), served.operator]:
        quota = served.call(caller, "GET", f"{served.gateway}/-/quota")
        called = served.call(caller, "POST", served.gateway + CHAT, content=b"{")
        for reply in (quota, called):
            assert leaked(said(reply), foreign(caller)) == [], caller.name
            assert secrets_in(said(reply), served.secrets) == [], caller.name
        if caller.name.startswith("key of"):
            assert caller.of
            assert leaked(said(quota), [caller.of]), caller.name
            assert quota.headers["cache-control"] == "no-store"
        else:
            assert (quota.status_code, called.status_code) == (401, 401), caller.name
            assert faults(quota) + faults(called) == [], caller.name


PAGES: Final = ("/usage/{token}", "/usage/{token}/usage.csv")


def _without_asked(text: str, asked: dict[str, str]) -> str:
    """What a caller put into the address himself tells him nothing."""
    for value in asked.values():
        text = text.replace(value, "")
    return text


def _without_own(text: str, caller: Caller) -> str:
    """The forms of a page name the link that opened it."""
    return text.replace(caller.token.lower(), "") if caller.token not in ("me", "guess") else text


def test_only_the_operator_gets_in(served: House) -> None:
    """Nothing on the admin listener opens to anything of a customer's, nor does anything happen."""
    before = books(served)
    for caller in served.outsiders():
        for method, path in routes.calls(routes.API, routes.CONSOLE):
            victim = OTHER[caller.of] if caller.of else AZURITE
            url, told = served.admin + filled(path, served.ids_of(victim)), body_for(path, victim)
            api, reads = path.startswith("/api/"), method == "GET"
            how = {} if reads else {"json" if api else "data": told}
            reply = served.call(caller, method, url, **how)
            trial = (caller.name, method, path)
            assert reply.status_code == (303 if reads and not api else 401), trial
            text = said(reply)
            assert leaked(text, BOTH) == [], trial
            assert secrets_in(text, served.secrets) == [], trial
            assert faults(reply) == [], trial
            assert unguarded(reply) == [], trial
    assert books(served) == before


def books(made: House) -> list[Any]:
    """Everything that a call could have changed. When a key was used is told a little later."""
    lists = ("keys", "adjustments", "suspense/assignments", "mappings", "records", "alerts")
    url = f"{made.admin}/api/v1/"
    found = [made.call(made.operator, "GET", url + each).json() for each in (*lists, "licences")]
    return [
        {k: v for k, v in row.items() if k != "last_used"} for each in found for row in each["data"]
    ]


def test_nobody_learns_anything(served: House) -> None:
    """What is open to everybody says nothing of anybody; metrics name ids alone."""
    nobody = served.nobody()
    for base, table in (
        (served.admin, routes.ADMIN_OPEN),
        (served.gateway_admin, routes.GATEWAY_ADMIN),
        (served.public, routes.PUBLIC_OPEN),
    ):
        for method, path in routes.calls(table):
            reply = served.call(nobody, method, base + filled(path, {"name:path": "x"}))
            assert leaked(said(reply), BOTH) == [], path
            assert secrets_in(said(reply), served.secrets) == [], path
            assert faults(reply) == [], path
    text = served.call(nobody, "GET", f"{served.admin}/metrics").text
    ids = {person.named(what) for person in BOTH for what in ("koo", "pack")}
    for named in ids:
        text = text.replace(f'"{named}"', "")
    assert re.findall("[^\n]*(?:azurite|basalt)[^\n]*", text.lower()) == []
    assert secrets_in(text, served.secrets) == []


def test_odd_methods(served: House) -> None:
    """No method that a route does not take does or tells anything."""
    nobody = served.nobody("127.0.0.5")
    everything = (
        (served.public, routes.calls(routes.MARKET, routes.CUSTOMER, routes.PUBLIC_OPEN)),
        (served.admin, routes.calls(routes.API, routes.CONSOLE, routes.ADMIN_OPEN)),
        (served.gateway_admin, routes.calls(routes.GATEWAY_ADMIN)),
        (served.gateway, [("GET", "/-/quota"), ("POST", CHAT)]),
    )
    for base, calls in everything:
        values = {**served.ids_of(AZURITE), "token": "me"}
        for path in {path for _, path in calls}:
            taken = {method for method, each in calls if each == path}
            for method in ODD_METHODS:
                reply = served.call(nobody, method, base + filled(path, values))
                trial = (method, path, reply.status_code)
                assert leaked(said(reply), BOTH) == [], trial
                assert faults(reply) == [], trial
                if method not in (*taken, "HEAD"):
                    assert 400 <= reply.status_code < 500 or reply.status_code == 501, trial
                if method == "TRACE":
                    assert "accept" not in reply.text.lower(), trial


def test_operators_are_told_no_secrets(served: House) -> None:
    """Lists, pages, metrics and the document; what buyers choose is shown as text."""
    console = served.signed_in()
    live = ("<script>alert", "<img src=x", "<b>azurite", '"><script')
    asked = {"q": "koo", "customer": AZURITE.named("koo"), "id": AZURITE.named("inst")}
    for method, path in routes.calls(
        routes.API, routes.CONSOLE, routes.METRICS, routes.GATEWAY_ADMIN
    ):
        if method != "GET":
            continue
        caller = console if path.startswith("/console") else served.operator
        base = served.gateway_admin if path.startswith("/-/") else served.admin
        for ids in (served.ids_of(AZURITE), odd_ids()):
            for wanted in ({}, asked if path.startswith("/console") else {}):
                reply = served.call(caller, method, base + filled(path, ids), params=wanted)
                assert reply.status_code in (200, 404), (path, reply.text)
                text = reply.text
                assert secrets_in(text, served.secrets) == [], path
                assert not [each for each in live if html(reply) and each in text], path
                if path.startswith(("/api", "/console")):
                    assert unguarded(reply) == [], path
    page = served.call(console, "GET", f"{served.admin}/console/customers/{AZURITE.named('koo')}")
    assert "&lt;script&gt;alert" in page.text
    link = next(each for each in served.outsiders() if each.name == "link of azurite")
    page = served.call(link, "GET", f"{served.public}/usage/{link.token}")
    assert "&lt;script&gt;alert" in page.text
    assert not [each for each in live if each in page.text]


def html(reply: httpx.Response) -> bool:
    return str(reply.headers.get("content-type", "")).startswith("text/html")


def odd_ids() -> dict[str, str]:
    """Ids that end up in pages."""
    odd = "%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E"
    names = ("sn", "key_id", "product_id:path", "id", "customer_id:path", "instance_id:path")
    return dict.fromkeys((*names, "name:path"), odd)


def test_forms_of_the_console_need_their_token(served: House) -> None:
    """Neither without it, nor with another session's, nor sent by another site, does one act."""
    console, other = served.signed_in(), served.signed_in()
    url = served.admin
    right = csrf_of(served.call(console, "GET", f"{url}/console").text)
    foreign_token = csrf_of(served.call(other, "GET", f"{url}/console").text)
    before = books(served)
    forgeries: list[tuple[dict[str, str], dict[str, str]]] = [
        ({}, {}),
        ({"csrf": ""}, {}),
        ({"csrf": foreign_token}, {}),
        ({"csrf": right}, {"Sec-Fetch-Site": "cross-site"}),
        ({"csrf": right}, {"Sec-Fetch-Site": "same-site"}),
    ]
    for method, path in routes.calls(routes.CONSOLE, "POST /console/sign-in"):
        if method != "POST":
            continue
        for field, headers in forgeries:
            told = body_for(path, AZURITE) | field
            where = url + filled(path, served.ids_of(AZURITE))
            reply = served.call(console, "POST", where, headers, data=told)
            assert reply.status_code == 403, (path, field, reply.status_code)
    for method, path in routes.calls(routes.API):
        where = url + filled(path, served.ids_of(AZURITE))
        assert served.call(console, method, where).status_code == 401, path  # a cookie is no token
    assert books(served) == before
    assert served.call(console, "GET", f"{url}/console").status_code == 200  # signed in still


def test_forms_of_customers_need_their_token(served: House) -> None:
    """A key is replaced only by the page of who may, and signing out needs a form of ours."""
    before = books(served)
    pages = {each.name: each for each in served.outsiders()}
    link, person = pages["link of azurite"], pages["person of azurite"]
    other = served.call(
        pages["link of basalt"], "GET", f"{served.public}/usage/{served.links['basalt']}"
    )
    for caller in (link, person):
        where = f"{served.public}/usage/{caller.token}/rotate"
        for csrf in ("", csrf_of(other.text)):
            told = {"csrf": csrf, "key_id": served.key_ids["azurite"]}
            assert served.call(caller, "POST", where, data=told).status_code == 400
        mine = served.call(caller, "GET", f"{served.public}/usage/{caller.token}")
        told = {"csrf": csrf_of(mine.text), "key_id": served.key_ids["basalt"]}
        refused = served.call(caller, "POST", where, data=told)
        assert refused.status_code == 409
        assert leaked(said(refused), [BASALT]) == []
    where = f"{served.public}/koogallery/oauth/logout"
    assert served.call(person, "POST", where).status_code == 400
    assert served.call(person, "GET", f"{served.public}/usage/me").status_code == 200
    assert books(served) == before


def test_headers_of_pages(served: House) -> None:
    """Nothing personal is kept, framed, guessed at or sent on; cookies are for us alone."""
    callers = served.outsiders()
    for caller in callers:
        for path in PAGES:
            reply = served.call(
                caller, "GET", served.public + filled(path, {"token": caller.token})
            )
            assert unguarded(reply) == [], (caller.name, path)
            if html(reply):
                assert reply.headers["x-frame-options"] == "DENY"
    assert (
        unguarded(served.call(callers[0], "GET", f"{served.public}/koogallery/oauth/login")) == []
    )
    for path in ("", "/nothing", "/api/v1/nothing", "/healthz", "/metrics"):
        assert unguarded(served.call(callers[0], "GET", served.admin + path)) == [], path
    for scheme, secure in (("http", False), ("https", True)):
        asked = {"X-Forwarded-Proto": scheme}
        page = served.call(served.nobody(), "GET", f"{served.admin}/console/sign-in", asked)
        cookie = page.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert ("secure" in cookie) == secure


def test_files_for_spreadsheets(served: House) -> None:
    """An instance whose id begins as a formula stands as text in the file."""
    link = next(each for each in served.outsiders() if each.name == "link of azurite")
    reply = served.call(link, "GET", f"{served.public}/usage/{link.token}/usage.csv")
    cells = [cell for row in csv.reader(io.StringIO(reply.text)) for cell in row]
    assert f"'{AZURITE.formula}" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]


HOSTS: Final = ("evil.example.com", "[", "a/b?c#d", "x" * 4000, "")
PATHS: Final = (
    "//usage/me",
    "/usage/me/",
    "//evil.example.com/usage/me",
    "/usage/..%2fapi%2fv1%2fusage",
    "/usage/%2e%2e/api/v1/usage",
    "/usage/../api/v1/keys",
    "/usage/me;/usage.csv",
    "/usage/me%00",
    "/usage/%00",
    "/usage/%252e%252e%252fconsole",
    "/usage/{link}/../{other}",
    "/usage/{link}%2f..%2f{other}",
    "/usage/{link}/",
    "/usage/{link}/usage.csv/",
    "/usage/{link}.{other}",
    "/usage/{link}%0a",
    "/usage/%c3%28",
    "/usage/%ed%a0%80",
    "/usage/static/..%2f..%2f..%2f..%2fetc%2fpasswd",
    "/usage/static/%2e%2e/%2e%2e/forms.py",
    "/usage/" + "a" * 60_000,
    "/console/static/../../web/forms.py",
    "/console/static/..%2f..%2fsessions.py",
    "/console/",
    "/console/customers/",
    "//console/customers",
    "/console/customers/%00",
    "/console/customers/%0d%0aSet-Cookie:%20a=b",
    "/console//customers",
    "/console/sign-in/",
    "/console/sign-in?next=//evil.example.com/console",
    "/console/..;/api/v1/keys",
    "/api/v1/usage/",
    "/api/v1/keys;a=b",
    "/api/v1/../../metrics",
    "/api/v1/%2e%2e/keys",
    "/API/V1/KEYS",
    "/v1/../-/quota",
    "/-/quota/",
    "/-/quota%00",
    "/-//quota",
    "/-/healthz/",
    "/healthz/",
    "http://evil.example.com/usage/me",
    "http://evil.example.com/api/v1/keys",
    "*",
)


def test_tricks_with_addresses(served: House) -> None:
    """None leads into another room, to another site, or to a word about our workings."""
    names = {"{link}": served.links["azurite"], "{other}": served.links["basalt"][:-1] + "%00"}
    for base in (served.public, served.admin, served.gateway, served.gateway_admin):
        for target in PATHS:
            asked = target
            for name, value in names.items():
                asked = asked.replace(name, value)
            _told_nothing(served, base, asked, "evil.example.com")
        for host in HOSTS:
            for target in ("/usage/me", "/console", "/console/customers", "/api/v1/x", "/healthz"):
                _told_nothing(served, base, target, host)


def _told_nothing(made: House, base: str, target: str, host: str) -> None:
    answer = asked_raw(base, f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
    trial = (base, target[:80], host[:80], answer[:200])
    status = answer.split(" ")[1]
    assert status.startswith(("2", "3", "4")) or status == "501", trial
    assert not leaked(answer.lower(), BOTH), trial
    assert not secrets_in(answer, {k: v for k, v in made.secrets.items() if "link" not in k}), trial
    head = answer.partition("\r\n\r\n")[0].lower()
    assert "location: http" not in head, trial
    assert "location: //" not in head, trial
    assert "\r\nserver:" not in head, trial
    assert "set-cookie: a=b" not in head, trial
    for word in ("traceback", "root:x:", "def ", ".py"):
        assert word not in answer.lower(), trial


def asked_raw(base: str, request: str, more: bytes = b"") -> str:
    """What is answered to these very bytes."""
    port = int(base.rpartition(":")[2])
    return ask(port, request.encode("latin-1") + more).decode("utf-8", "replace")


MORE_THAN_ANY: Final = max(MAX_BODY.values()) + 500_000


def test_endless_bodies(served: House) -> None:
    """Whoever announces 10 MB and sends a part is answered long before the rest: it is not kept."""
    console = served.signed_in()
    cookie = f"tallygate_console={console.cookies['tallygate_console']}"
    bearer = f"Authorization: Bearer {served.admin_token}"
    calls = [(served.public, call, "") for call in routes.calls(routes.MARKET, routes.CUSTOMER)]
    calls += [(served.admin, call, bearer) for call in routes.calls(routes.API)]
    calls += [(served.admin, call, f"Cookie: {cookie}") for call in routes.calls(routes.CONSOLE)]
    calls.append((served.admin, ("POST", "/console/sign-in"), ""))
    unread = ("/retry", "/sign-out")  # which need no body
    ids = served.ids_of(AZURITE) | {"token": served.links["azurite"], "key_id": "999"}
    before = books(served)
    for base, (method, path), header in calls:
        again = path.startswith(("//", "/koogallery/"))  # another spelling of the same
        if method == "GET" or again or path.endswith(unread):
            continue
        head = f"{method} {filled(path, ids)} HTTP/1.1\r\nHost: h\r\nContent-Length: 10000000\r\n"
        head += f"Connection: close\r\n{header}\r\n" if header else "Connection: close\r\n"
        answer = asked_raw(base, head + "\r\n", b"x" * MORE_THAN_ANY)
        assert answer[9:10] in ("2", "4"), (path, answer[:100])
    assert books(served) == before


def test_a_new_admin_token(served: House) -> None:
    """Ends every session of the console, and the old token opens nothing; customers stay signed in."""
    console, old = served.signed_in(), served.operator
    path = served.served.folder / "tallygate.yaml"
    config = yaml.safe_load(path.read_text())
    served.admin_token = config["control"]["admin_token"] = "another-admin-token-0f0f"
    served.secrets["new admin token"] = served.admin_token
    path.write_text(yaml.safe_dump(config))
    served.served.command.tell(signal.SIGHUP)
    usage = f"{served.admin}/api/v1/keys"
    eventually(lambda: _status(served, served.operator, usage) == 200)
    assert _status(served, old, usage) == 401
    assert _status(served, console, f"{served.admin}/console") == 303
    person = next(each for each in served.outsiders() if each.name == "person of azurite")
    assert _status(served, person, f"{served.public}/usage/me") == 200


def _status(made: House, caller: Caller, url: str) -> int:
    with suppress(httpx.TransportError):
        return made.call(caller, "GET", url).status_code
    return 0
