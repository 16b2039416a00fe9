"""Keys in a running installation of two workers: what they open, and that all workers hear at once."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tallygate.demo.upstream import StubUpstream
from tests.installations import (
    ANY_PORT,
    CHAT,
    Served,
    configuration,
    eventually,
    ports_in_a_row,
    run,
    serve,
)
from tests.market import KEYS, Market, market
from tests.tallygate.serving import serving

OFFERS = [{"product_id": "T", "kind": "ON_DEMAND"}]
BODY = {"model": "m", "messages": [{"role": "user", "content": "two words"}], "max_tokens": 1}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Market]]:
    folder = tmp_path_factory.mktemp("keys")
    with ExitStack() as stack:
        koo = stack.enter_context(market(folder))
        url = stack.enter_context(serving(StubUpstream()))
        config = configuration(url)
        admin = f"127.0.0.1:{ports_in_a_row(2)}"
        config["gateway"] = {"listen": ANY_PORT, "admin_listen": admin, "workers": 2}
        config["koogallery"] = {**KEYS, "base_url": koo.url}
        config["routes"].append({"name": "other", "path": "/other", "upstream": [url]})
        served = stack.enter_context(serve(folder, config))
        koo.call(
            "PUT",
            "/settings",
            {"production_url": f"{served.plane('control')['public']}/koogallery"},
        )
        koo.call("PUT", "/products", {"products": OFFERS})
        yield served, koo
        assert served.command.end() == 0
        assert "Traceback" not in served.command.stderr


class Callers:
    """Connections that stay open, to all workers."""

    def __init__(self, served: Served, stack: ExitStack) -> None:
        self._url = served.gateway
        self._clients = [
            stack.enter_context(httpx.Client(timeout=30, trust_env=False)) for _ in range(8)
        ]

    def hear(self, key: str, path: str = CHAT) -> set[tuple[int, str]]:
        """Status and code of a call on each of them."""
        headers = {"Authorization": f"Bearer {key}"}
        replies = [c.post(self._url + path, json=BODY, headers=headers) for c in self._clients]
        return {
            (reply.status_code, reply.json().get("error", {}).get("code", "")) for reply in replies
        }


@pytest.fixture
def callers(shop: tuple[Served, Market]) -> Iterator[Callers]:
    with ExitStack() as stack:
        yield Callers(shop[0], stack)


def typed(served: Served, *words: str) -> Any:
    """What `tallygate keys … --json` says."""
    path = str(served.folder / "tallygate.yaml")
    done = run("keys", *words, "--json", "-c", path, folder=served.folder)
    assert done.process.returncode == 0, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr  # the log's line
    return json.loads(done.stdout)


def asked(served: Served, path: str, **body: Any) -> Any:
    """What the operator's API says to a POST."""
    token = (served.folder / "var" / "admin_token").read_text().strip()
    url = f"{served.plane('control')['admin']}/api/v1/keys{path}"
    reply = served.http.post(url, json=body, headers={"Authorization": f"Bearer {token}"})
    assert reply.is_success, reply.text
    return reply.json()


OPEN, UNKNOWN = {(200, "")}, {(401, "invalid_api_key")}


def test_all_workers_hear_of_a_key_and_of_its_end(
    shop: tuple[Served, Market], callers: Callers
) -> None:
    """Also where they have seen its heads before."""
    served, _ = shop
    made = typed(served, "create", "--customer", "cust-1", "--route", "chat")
    eventually(lambda: callers.hear(made["key"]) == OPEN)
    for _ in range(3):
        assert callers.hear(made["key"]) == OPEN
    assert callers.hear(made["key"], "/other/x") == {(403, "key_not_for_route")}
    typed(served, "revoke", made["id"])
    eventually(lambda: callers.hear(made["key"]) == UNKNOWN)


def test_a_key_ends_by_itself(shop: tuple[Served, Market], callers: Callers) -> None:
    """Without anybody telling."""
    made = asked(shop[0], "", customer_id="cust-1", expires="1s")
    assert callers.hear(made["key"]) <= OPEN | {(401, "key_expired")} | UNKNOWN
    eventually(lambda: callers.hear(made["key"]) == {(401, "key_expired")})


def test_a_buyer_finds_his_rotated_key(shop: tuple[Served, Market], callers: Callers) -> None:
    """At the marketplace's next question; both are good, until the old one's time is over."""
    served, koo = shop
    (line,) = koo.buy("domain-9", "T")
    first = line.app["password"]
    eventually(lambda: callers.hear(first) == OPEN)
    (row,) = served.api("keys", customer="domain-9")["data"]
    assert (row["shown"], row["delivered"]) == (f"{first[:9]}…", True)
    second = asked(served, f"/{row['id']}/rotate", overlap="0s")["key"]
    shown = koo.act(line.instance_id, "query")["info"][0]["appInfo"]
    assert shown["password"] == second
    eventually(lambda: callers.hear(second) == OPEN)
    assert callers.hear(first) == {(401, "key_expired")}
    assert koo.findings() == []


def test_the_last_use_is_known_soon(shop: tuple[Served, Market], callers: Callers) -> None:
    """Of every key that let somebody in."""
    served, _ = shop
    made = asked(served, "", customer_id="cust-1")
    eventually(lambda: callers.hear(made["key"]) == OPEN)

    def last_used() -> int:
        rows = served.api("keys", customer="cust-1")["data"]
        return next(int(row["last_used"]) for row in rows if row["id"] == made["id"])

    assert eventually(last_used) >= made["created"]
