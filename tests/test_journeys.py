"""Whole journeys over real processes and real sockets, as customers, merchants and the marketplace go."""

import os
import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml
from redis import Redis

from metering import entitlements
from metering.embedded import socket_path
from tallygate.demo.upstream import StubUpstream
from tests.installations import (
    KEY,
    Served,
    configuration,
    eventually,
    run,
    running_in,
    serve,
)
from tests.market import KEYS, Line, Market, market
from tests.servers import Received, Upstream, upstream
from tests.tallygate.serving import serving

PRODUCTS = [
    {"product_id": "T", "routes": ["chat", "plain", "dead", "mute"], "meter": "tokens_total"},
    {"product_id": "calls", "routes": ["chat"], "meter": "requests"},
    {"product_id": "tokens", "routes": ["chat"], "meter": "tokens_out", "unit": 1000},
    {"product_id": "pack", "package": {"items": [{"of": "tokens", "quota": 100}]}},
    {
        "product_id": "bundle",
        "package": {
            "items": [{"of": "calls", "quota": 100}, {"of": "tokens", "quota": 0.05}],
            "stop_before_excess": True,
        },
    },
]
OFFERS = [
    {"product_id": "calls", "kind": "ON_DEMAND"},
    {"product_id": "tokens", "kind": "ON_DEMAND"},
    {"product_id": "pack", "kind": "ON_DEMAND_PKG", "covers": ["tokens"]},
    {
        "product_id": "bundle",
        "kind": "ON_DEMAND_PKG",
        "covers": ["calls", "tokens"],
        "stop_before_excess": True,
    },
]
PROSE = b"I am no JSON at all, \xff."


def answer(request: Received) -> None:
    """Prose for /plain; silence for /mute."""
    if request.target.startswith(b"/plain"):
        request.reply(PROSE, b"Content-Type: application/json", b"X-Mine: kept")
    else:
        request.wait_for_hang_up()


def route(name: str, url: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "path": f"/{name}", "upstream": [url], **more}


@pytest.fixture(scope="module")
def strange() -> Iterator[Upstream]:
    """An upstream that does not answer like an LLM API."""
    with upstream(answer) as server:
        yield server


@pytest.fixture(scope="module")
def stub() -> Iterator[str]:
    """An upstream that does."""
    with serving(StubUpstream()) as url:
        yield url


@pytest.fixture(scope="module")
def shops(
    tmp_path_factory: pytest.TempPathFactory, stub: str, strange: Upstream
) -> Iterator[tuple[Served, Market]]:
    """One installation and its marketplace for all journeys that leave them running."""
    folder = tmp_path_factory.mktemp("journeys")
    with ExitStack() as stack:
        koo = stack.enter_context(market(folder))
        config = configuration(stub, products=PRODUCTS)
        config["routes"] += [
            route("plain", strange.url),
            route("dead", "http://127.0.0.1:1"),
            route("mute", strange.url, timeouts={"head": 0.2}),
        ]
        config["gateway"]["public_url"] = "https://api.example.com"
        config["koogallery"] = {**KEYS, "base_url": koo.url}
        served = stack.enter_context(serve(folder, config))
        production = f"{served.plane('control')['public']}/koogallery"
        koo.call("PUT", "/settings", {"production_url": production})
        koo.call("PUT", "/products", {"products": OFFERS})
        yield served, koo
        assert served.command.end() == 0
        assert "Traceback" not in served.command.stderr


@pytest.fixture
def served(shops: tuple[Served, Market]) -> Served:
    return shops[0]


@pytest.fixture
def koo(shops: tuple[Served, Market]) -> Iterator[Market]:
    """The marketplace, which finds nothing wrong with us in the end."""
    yield shops[1]
    assert shops[1].findings() == []


@pytest.fixture(scope="module", autouse=True)
def early_purchase(shops: tuple[Served, Market]) -> Line:
    """Bought long before it is released, so that nobody has to wait for that."""
    (line,) = shops[1].buy("domain-4", "calls")
    return line


# The first call...


def test_the_first_call_is_counted_as_the_readme_says(tmp_path: Path, stub: str) -> None:
    """`tallygate init`, `tallygate serve`, one call with the key it printed, `GET /api/v1/usage`."""
    path = tmp_path / "tallygate.yaml"
    made = run("init", str(path), folder=tmp_path)
    assert made.process.returncode == 0
    key = re.search(r"its customer cust-1 is (\S+)", made.stdout)
    assert key
    text = path.read_text().replace("http://127.0.0.1:9000", stub)
    text = re.sub(r"#?(\b|admin_)listen: 127.0.0.1:80\d\d", r"\1listen: 127.0.0.1:0", text)
    with serve(tmp_path, yaml.safe_load(text)) as served:
        assert served.chat(key[1]).status_code == 200
        served.counted(5, "tokens_total", customer="cust-1", instance="inst-1")
        use_the_official_sdk(served, key[1])
        served.counted(3, customer="cust-1")


def use_the_official_sdk(served: Served, key: str) -> None:
    """Two calls, one of them streamed."""
    client = openai.OpenAI(
        base_url=f"{served.gateway}/v1",
        api_key=key,
        http_client=openai.DefaultHttpxClient(trust_env=False),
    )
    with client:
        asked: Any = {"model": "m", "messages": [{"role": "user", "content": "two words"}]}
        whole = client.chat.completions.create(**asked, max_tokens=4)
        assert whole.usage
        assert whole.usage.completion_tokens == 4
        pieces = list(client.chat.completions.create(**asked, max_tokens=4, stream=True))
        assert all(piece.usage is None for piece in pieces)


# Buying, using, freezing, releasing...


@dataclass
class Caller:
    """A customer who keeps his own count of what he got."""

    served: Served
    key: str
    tokens: int = 0

    def call(self, tokens: int, **more: Any) -> bool:
        """One call; whether it was served."""
        served = self.served.chat(self.key, tokens, **more).status_code == 200
        self.tokens += tokens * served
        return served

    def refused(self) -> tuple[int, str] | None:
        """Status and documented code of a call that is refused; None when it is served."""
        reply = self.served.chat(self.key, 3)
        if reply.status_code != 200:
            return documented(reply)
        self.tokens += 3
        return None


def test_what_is_bought_is_used_and_billed_until_it_is_released(
    served: Served, koo: Market
) -> None:
    """From the order to the last record: every token once, none after the release."""
    (line,) = koo.buy("domain-1", "tokens")
    assert line.app["frontEndUrl"] == "https://api.example.com"
    assert line.app["userName"]
    assert line.app["memo"]
    buyer = Caller(served, line.app["password"])
    eventually(lambda: buyer.call(7))
    assert buyer.call(8, stream=True)
    eventually(lambda: koo.used(line.instance_id) == Decimal("0.015"))

    koo.act(line.instance_id, "freeze")
    assert eventually(buyer.refused) == (403, "instance_frozen")
    koo.act(line.instance_id, "unfreeze")
    eventually(lambda: buyer.call(5))

    line.ripen()
    koo.act(line.instance_id, "release")
    assert eventually(buyer.refused) == (403, "instance_released")
    held = koo.collected(line.instance_id, str(Decimal(buyer.tokens) / 1000))
    assert held[-1]["end_time"] <= released(koo, line.instance_id)


def documented(reply: httpx.Response) -> tuple[int, str]:
    """Status and code of the gateway's own answer, whose body is whole."""
    assert reply.headers["content-type"] == "application/json"
    error = reply.json()["error"]
    assert sorted(error) == ["code", "message", "message_zh", "request_id"]
    assert error["message"]
    assert error["request_id"] == reply.headers["x-request-id"]
    return reply.status_code, error["code"]


def released(koo: Market, instance_id: str) -> str:
    """When the marketplace released the instance, as records write times."""
    all_of_them = koo.call("GET", "/instances")["instances"]
    (found,) = [each for each in all_of_them if each["instance_id"] == instance_id]
    moment = datetime.fromtimestamp(found["closed_ms"] / 1000, UTC)
    return moment.strftime("%Y%m%dT%H%M%SZ")


def test_a_package_says_which_instance_used_it(served: Served, koo: Market) -> None:
    """Its usageInfo names the pay-per-use instance of the same buyer."""
    (tokens,) = koo.buy("domain-2", "tokens")
    (pack,) = koo.buy("domain-2", "pack")
    key = tokens.app["password"]
    eventually(lambda: served.chat(key, tokens=12).status_code == 200)

    def used() -> dict[str, Any] | None:
        (entry,) = koo.usage_info(pack.instance_id)
        return entry if entry["usageValue"] else None

    entry = eventually(used)
    assert entry["relatedInstanceId"] == tokens.instance_id
    assert Decimal(str(entry["usageValue"])) == Decimal("0.012")


def test_a_package_of_two_items_says_what_it_gave_to_each(served: Served, koo: Market) -> None:
    """As 100 SMS and 50 MMS of one package (spec §2.7); the records of both name the package.

    Two calls of 25 tokens use it up, a third is not made.
    """
    calls, tokens, bundle = koo.buy("domain-5", "calls", "tokens", "bundle")
    key = calls.app["password"]
    answers: list[int] = []

    def used_up() -> bool:
        answers.append(served.chat(key, tokens=25).status_code)
        return answers[-1] == 402

    def used() -> dict[str, Decimal]:
        entries = koo.usage_info(bundle.instance_id)
        assert len(entries) == 2
        return {e["relatedInstanceId"]: Decimal(str(e["usageValue"])) for e in entries}

    eventually(lambda: bundle.instance_id in {p["package_id"] for p in served.quota(key)})
    eventually(used_up)
    assert answers.count(200) == 2
    expected = {calls.instance_id: Decimal(2), tokens.instance_id: Decimal("0.05")}
    eventually(lambda: used() == expected)
    tokens.ripen()
    for line in (calls, tokens):
        koo.act(line.instance_id, "release")
        held = koo.collected(line.instance_id, str(expected[line.instance_id]))
        assert {record["relate_pkg_instance"] for record in held} == {bundle.instance_id}


def test_an_order_without_its_buyer_is_in_process_and_settled_later(
    served: Served, koo: Market
) -> None:
    """000004 until the marketplace shows who bought it; then the buyer may call."""
    order = koo.order("domain-3", "calls", buyer=False)
    reveal = threading.Timer(1.0, lambda: koo.call("POST", f"/orders/{order}/reveal"))
    reveal.start()
    (line,) = koo.open(order)
    reveal.join()
    eventually(lambda: served.chat(line.app["password"]).status_code == 200)
    eventually(lambda: koo.used(line.instance_id) == 1)


def test_a_push_whose_answer_is_lost_counts_once(
    served: Served, koo: Market, early_purchase: Line
) -> None:
    """The marketplace took it and fell silent: the same record goes again."""
    line = early_purchase
    key = line.app["password"]
    eventually(lambda: served.chat(key).status_code == 200)
    eventually(lambda: koo.used(line.instance_id) == 1)
    line.ripen()
    fault = {"kind": "timeout_after_accept", "times": 1, "seconds": 0.1}
    koo.call("POST", "/faults", {"push": [fault]})
    koo.act(line.instance_id, "release")
    eventually(lambda: not koo.call("POST", "/faults", {})["push"])
    assert len(koo.collected(line.instance_id, "1")) == 1
    eventually(lambda: records(served, line.instance_id) == {"sent"})
    assert len(koo.records(line.instance_id)) == 1


def records(served: Served, instance_id: str) -> set[str]:
    """The states of the instance's records in the ledger."""
    return {record["state"] for record in served.api("records", instance=instance_id)["data"]}


# Callbacks that are not well made...


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (
            {"body": {"activity": "queryInstance", "instanceId": "x"}, "tamper": "signature"},
            "000001",
        ),
        ({"body": "{not json", "expect": "000002"}, "000002"),
        ({"body": {"activity": "unheardOf"}, "expect": "000002"}, "000002"),
        ({"body": {"activity": "newInstance"}, "expect": "000002"}, "000002"),
        (
            {
                "body": {"activity": "releaseInstance", "instanceId": "nobody"},
                "expect": "000003",
            },
            "000003",
        ),
    ],
    ids=["bad signature", "no JSON", "unknown activity", "missing fields", "unknown instance"],
)
def test_a_bad_callback_gets_its_code(koo: Market, sent: dict[str, Any], code: str) -> None:
    """The documented result code, and nothing else happens."""
    assert koo.callback(**sent) == code


def test_a_debug_call_writes_nothing(served: Served, koo: Market) -> None:
    """testFlag is answered as if it were real."""
    before = len(served.api("instances")["data"])
    body = {"activity": "newInstance", "orderId": "CS2211181819000000", "orderLineId": "CS-1"}
    assert koo.callback({**body, "businessId": "b", "testFlag": "1"}) == "000000"
    assert len(served.api("instances")["data"]) == before


# Calls that are not served...


def test_what_is_not_served_is_explained_and_not_billed(served: Served, koo: Market) -> None:
    """Wrong key, unknown route, upstream away or silent, a head too large: each as documented."""
    assert served.chat().status_code == 200
    before = eventually(lambda: settled(served))
    url, key = served.gateway, {"Authorization": f"Bearer {KEY}"}
    http = served.http
    assert documented(http.post(f"{url}/v1/x")) == (401, "missing_api_key")
    wrong = {"X-Api-Key": "sk-wrong"}
    assert documented(http.post(f"{url}/v1/x", headers=wrong)) == (401, "invalid_api_key")
    assert documented(http.get(f"{url}/nowhere", headers=key)) == (404, "unknown_route")
    assert documented(http.get(f"{url}/dead", headers=key)) == (502, "upstream_unreachable")
    assert documented(http.get(f"{url}/mute", headers=key)) == (504, "upstream_timeout")
    large = key | {"X-Large": "x" * 100_000}
    assert documented(http.get(f"{url}/v1/x", headers=large)) == (431, "head_too_large")
    assert documented(http.get(f"{url}/v1//x", headers=key)) == (400, "bad_path")
    assert served.chat().status_code == 200
    served.counted(before + 1)


def settled(served: Served) -> int:
    """The number of calls counted, once everything that was recorded is."""
    journal = served.http.get(f"{served.plane('gateway')['admin']}/-/journal").json()
    total = served.total()
    return total if total >= journal["quantities"]["requests"] else 0


def test_a_reply_that_is_no_json_passes_untouched(served: Served, koo: Market) -> None:
    """The customer gets every byte; the call counts, its tokens do not, and a metric says so."""
    missing = served.metric("gateway_usage_missing_total", route="plain")
    tokens = served.total("tokens_total", customer="cust-1")
    calls = served.total("requests", customer="cust-1")
    reply = served.http.get(f"{served.gateway}/plain", headers={"Authorization": f"Bearer {KEY}"})
    assert (reply.status_code, reply.content, reply.headers["x-mine"]) == (200, PROSE, "kept")
    assert served.metric("gateway_usage_missing_total", route="plain") == missing + 1
    served.counted(calls + 1, "requests", customer="cust-1")
    assert served.total("tokens_total", customer="cust-1") == tokens


# Stores that go away...


def test_a_redis_that_is_killed_in_the_middle_costs_no_call(served: Served, koo: Market) -> None:
    """Calls go on while it is away, and each is counted once."""
    before = eventually(lambda: settled(served))
    valkey = [pid for pid, line in running_in(served.folder).items() if "valkey-server" in line]

    def call(number: int) -> int:
        if number == 30:
            os.kill(valkey[0], signal.SIGKILL)
        return served.chat().status_code

    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(call, range(120)))
    assert statuses == [200] * 120
    served.counted(before + 120)


def test_a_redis_that_forgets_everything_costs_no_call(served: Served, koo: Market) -> None:
    """The gateways still hold what the ledger does not, and customers are made known again."""
    before = eventually(lambda: settled(served))
    redis = Redis(unix_socket_path=str(socket_path(served.folder / "var")))
    for number in range(40):
        if number == 20:
            redis.flushall()
        assert served.chat().status_code == 200
    served.counted(before + 40)
    assert eventually(lambda: redis.hexists(entitlements.KEY, "cust-1"))
    redis.close()


def test_two_installations_never_share_their_data(served: Served, tmp_path: Path) -> None:
    """The second `tallygate serve` is one clear line, also with other ports; the first goes on."""
    config = (served.folder / "tallygate.yaml").read_text()
    second = tmp_path / "tallygate.yaml"
    second.write_text(f"data_dir: {served.folder}/var\n{config}")
    command = run("serve", "-c", str(second), folder=tmp_path)
    assert command.process.returncode == 1
    assert command.stderr == (
        f"Error: another `tallygate serve` is using {served.folder}/var; "
        "stop it or choose another data_dir\n"
    )
    assert served.chat().status_code == 200
