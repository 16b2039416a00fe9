"""A running installation with two customers, and everybody who might come to its doors."""

import hashlib
import hmac
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from billing_sync.link_tokens import Link, UsageLinks
from billing_sync.signing_in import SESSION_PURPOSE
from billing_sync.store.engine import writing
from metering import keys
from metering.clock import SystemClock
from tallygate.config import load
from tallygate.demo.upstream import StubUpstream
from tallygate.installation import Installation
from tallygate.ledgers import open_ledger
from tests.installations import Served, configuration, ports_in_a_row, serve
from tests.leaks.customers import AZURITE, BOTH, PRODUCTS, Person, seed, signed_in
from tests.tallygate.serving import serving

SETTINGS: Final = {
    "access_key": "market-access-key-0123",
    "kit_key": "market-kit-key-4567",
    "ak": "market-ak-89ab",
    "sk": "market-sk-cdef",
}
HOOK: Final = "http://127.0.0.1:1/hook-path-token-55aa"
HOOK_SECRET: Final = "whsec_" + "c2VjcmV0LW9mLWhvb2tzLXNlY3JldC1vZi1ob29rcw=="


@dataclass
class Caller:
    """Somebody with what he shows; `token` is what he puts into the address of a page.

    Each comes from an address of his own, so that nobody is refused for what others did.
    """

    name: str
    of: Person | None = None
    token: str = "guess"
    headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)
    address: str = "127.0.0.1"

    def sent(self, more: dict[str, str]) -> dict[str, str]:
        """The headers of a request."""
        told = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())}
        return {**self.headers, **(told if self.cookies else {}), **more}


@dataclass
class House:
    """`keys`, `links` and `sessions` by the customer's word."""

    served: Served
    secret: bytes
    admin_token: str
    public: str
    admin: str
    gateway: str
    gateway_admin: str
    secrets: dict[str, str]
    keys: dict[str, str] = field(default_factory=dict)
    key_ids: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)
    expired: str = ""
    revoked: str = ""
    _clients: dict[str, httpx.Client] = field(default_factory=dict)

    def call(
        self,
        caller: Caller,
        method: str,
        url: str,
        headers: dict[str, str] | None = None,
        **how: Any,
    ) -> httpx.Response:
        """One request, of which no cookie is kept."""
        client = self._clients.get(caller.address)
        if client is None:
            transport = httpx.HTTPTransport(local_address=caller.address)
            client = httpx.Client(transport=transport, timeout=30, trust_env=False)
            self._clients[caller.address] = client
        client.cookies.clear()
        return client.request(method, url, headers=caller.sent(headers or {}), **how)

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    @property
    def operator(self) -> Caller:
        headers = {"Authorization": f"Bearer {self.admin_token}"}
        return Caller("operator", headers=headers, address="127.0.0.2")

    def nobody(self, address: str = "127.0.0.3") -> Caller:
        return Caller("nobody", address=address)

    def outsiders(self) -> list[Caller]:
        """Everybody but the operator, at every door."""
        found = [
            self.nobody(),
            Caller("wrong", headers={"Authorization": "Bearer wrong"}),
            Caller("expired link", token=self.expired),
            Caller("revoked link", token=self.revoked),
            Caller("wrong session", token="me", cookies={"tallygate_person": "0" * 64}),
            Caller("forged console", cookies={"tallygate_console": "0" * 64}),
        ]
        for person in BOTH:
            key, link, session = (
                book[person.word] for book in (self.keys, self.links, self.sessions)
            )
            bearer = {"Authorization": f"Bearer {key}"}
            found += [
                Caller(f"key of {person.word}", person, token=key, headers=bearer),
                Caller(
                    f"link of {person.word}",
                    person,
                    token=link,
                    headers={"Authorization": f"Bearer {link}"},
                ),
                Caller(
                    f"person of {person.word}",
                    person,
                    token="me",
                    headers={"Authorization": f"Bearer {session}"},
                    cookies={"tallygate_person": session, "tallygate_console": session},
                ),
            ]
        for number, caller in enumerate(found):
            caller.address = f"127.0.1.{number + 1}"
        return found

    def signed_in(self) -> Caller:
        """The operator in his console."""
        caller = Caller("console", address="127.0.0.4")
        url = f"{self.admin}/console/sign-in"
        page = self.call(caller, "GET", url)
        caller.cookies = {"tallygate_visit": page.cookies["tallygate_visit"]}
        form = {"csrf": csrf_of(page.text), "token": self.admin_token, "name": "Ann"}
        reply = self.call(caller, "POST", url, data=form)
        assert reply.status_code == 303, reply.text
        caller.cookies = {"tallygate_console": reply.cookies["tallygate_console"]}
        return caller

    def ids_of(self, person: Person) -> dict[str, str]:
        """What stands for the places in addresses."""
        return {
            "sn": person.named("sn"),
            "key_id": self.key_ids[person.word],
            "product_id:path": "T",
            "id": person.named("alert"),
            "customer_id:path": person.named("koo"),
            "instance_id:path": person.named("inst"),
            "name:path": "nothing",
        }

    def post(self, path: str, **body: Any) -> Any:
        reply = self.call(self.operator, "POST", f"{self.admin}/api/v1/{path}", json=body)
        assert reply.status_code in (200, 201), reply.text
        return reply.json()


def csrf_of(html: str) -> str:
    found = re.search('name="csrf" value="([0-9a-f]+)"', html)
    assert found, html[:500]
    return found[1]


def filled(path: str, values: dict[str, str]) -> str:
    """The path with its places filled. Raises KeyError for a place nobody knows of."""
    return re.sub(r"\{([^}]+)\}", lambda found: values[found[1]], path)


@contextmanager
def house(folder: Path) -> Iterator[House]:
    """`tallygate serve` with all of it, ended in good order."""
    with ExitStack() as stack:
        port = ports_in_a_row(2)
        config = configuration(stack.enter_context(serving(StubUpstream())), products=PRODUCTS)
        config["control"] = {
            "listen": f"127.0.0.1:{port}",
            "admin_listen": f"127.0.0.1:{port + 1}",
            "public_url": f"http://127.0.0.1:{port}",
            "links": {"rotate_keys": True},
        }
        config["customers"] = []
        config["koogallery"] = {"base_url": "http://127.0.0.1:1", **SETTINGS}
        config["alerts"] = {"webhooks": [{"url": HOOK, "secrets": [HOOK_SECRET]}]}
        served = stack.enter_context(serve(folder, config))
        made = _opened(served)
        stack.callback(made.close)
        yield made


def _opened(served: Served) -> House:
    installation = Installation(load(served.folder / "tallygate.yaml", {}))
    secret, admin_token = installation.secret(), installation.admin_token()
    control, gateway = served.plane("control"), served.plane("gateway")
    made = House(
        served,
        secret,
        admin_token,
        control["public"],
        control["admin"],
        gateway["public"],
        gateway["admin"],
        {"admin token": admin_token, "secret_key": secret.decode(), "webhook": HOOK_SECRET},
    )
    made.secrets |= {"url of a webhook": HOOK, **SETTINGS}
    now = SystemClock().now_ms()
    engine = open_ledger(installation)
    session_key = keys.derive(secret, SESSION_PURPOSE)
    links = UsageLinks.of("", secret)
    for person in BOTH:
        made.secrets[f"client secret of {person.word}"] = seed(engine, secret, person, now)
        token = os.urandom(32).hex()
        session_id = _hmac(session_key, token)
        with writing(engine) as session:
            session.add(signed_in(person, "admin", session_id, now))
        made.sessions[person.word] = token
        made.secrets[f"session of {person.word}"] = token
        made.secrets[f"id of the session of {person.word}"] = session_id
    engine.dispose()
    for person in BOTH:
        _give(made, person)
    made.expired = links.url(Link(AZURITE.named("koo"), expires=now // 1000 - 1, revision=1))[7:]
    return made


def _give(made: House, person: Person) -> None:
    """A key, a link that holds, and one that was revoked."""
    customer = person.named("koo")
    key = made.post("keys", customer_id=customer, name=person.named("key"))
    made.keys[person.word], made.key_ids[person.word] = key["key"], str(key["id"])
    digest = keys.digest(keys.pepper(made.secret), key["key"])
    made.secrets |= {f"key of {person.word}": key["key"], f"digest of {person.word}": digest}
    made.revoked = made.post("links", customer_id=customer)["url"].rpartition("/")[2]
    made.post("links/revoke", customer_id=customer)
    made.links[person.word] = made.post("links", customer_id=customer)["url"].rpartition("/")[2]
    made.secrets[f"link of {person.word}"] = made.links[person.word]


def _hmac(key: bytes, token: str) -> str:
    return hmac.new(key, token.encode(), hashlib.sha256).hexdigest()
