"""The operator's API, asked over a socket whatever its document lets one ask and much that it does
not: no failure of ours, and answers as they are described."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sqlalchemy import Engine, update
from starlette.applications import Starlette

from billing_sync.alert_models import AlertDelivery
from billing_sync.alert_settings import AlertSettings
from billing_sync.alerts import AlertTerms
from billing_sync.api_operations import operations
from billing_sync.app import Control
from billing_sync.finding_models import FindingRow
from billing_sync.kit_models import KitApp, KitTenant
from billing_sync.licence_models import Licence, LicenceCode
from billing_sync.openapi import document
from billing_sync.sites import admin_site
from billing_sync.store.engine import writing
from metering.connection import connect_one
from tests.billing_sync.books import HOUR
from tests.billing_sync.correcting import SELLING, Desk
from tests.billing_sync.hooks import NOWHERE, TERMS
from tests.billing_sync.test_app import TOKEN, parts_of
from tests.databases import Database, PostgresDatabase, SqliteFile
from tests.postgres import PostgresServer
from tests.servers import serving

EXAMPLES: Final = 6
BEARER = {"Authorization": f"Bearer {TOKEN}"}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
LIKELY: Final[dict[str, list[Any]]] = {
    "customer": ["cust-1"],
    "customer_id": ["cust-1"],
    "instance": ["i", "pack"],
    "instance_id": ["i"],
    "product": ["TOKENS"],
    "product_id": ["TOKENS", "OTHER"],
    "mapped_to": ["TOKENS", "PACK"],
    "key_id": ["1", "2"],
    "expires": ["90d"],
    "value": ["1.5"],
}


class Shop:
    """A control plane whose ledger holds something of everything."""

    def __init__(self, engine: Engine) -> None:
        desk = Desk(engine)
        books = self.books = desk.books
        books.alerts = AlertTerms(TERMS.thresholds, TERMS.webhooks)
        books.buy("i")
        books.buy("pack", "PACK")
        books.buy("stop", "STOP", status="frozen", linear_value=3)
        desk.serve(9_700, "i")
        desk.serve(30, window=HOUR - 1)
        desk.serve(70)
        desk.adjust(-5)
        desk.assign(20)
        books.to_the_next_hour()
        books.close()
        with writing(engine) as session:
            session.add(FindingRow(identity="f", kind="torn", lane="l", host="h", at=1))
            session.add(KitTenant(instance_id="i", tenant_id="t-1", granted=1))
            session.add(KitApp(instance_id="i", tenant_id="t-1", app_id="a-1", granted=1))
            licence = Licence(
                id="lic_1", event_id="e", device="", instance_id="i", effective=1, received_at=1
            )
            licence.asked, licence.state = "sealed", "rejected"
            session.add(licence)
            session.add(LicenceCode(id="code_1", known_since=1))
            session.execute(update(AlertDelivery).values(state="given_up"))


def described() -> dict[str, Any]:
    """The document, with values that are there besides any others; answers hold nothing else."""
    made = document()
    bodies = {body.__name__ for call in operations() if (body := call.body)}
    for name, schema in made["components"]["schemas"].items():
        schema["additionalProperties"] = False
        for key, given_one in schema["properties"].items():
            if name in bodies and key in LIKELY:
                schema["properties"][key] = {"anyOf": [{"enum": LIKELY[key]}, given_one]}
    for call in (call for methods in made["paths"].values() for call in methods.values()):
        for parameter in call["parameters"]:
            if likely := LIKELY.get(parameter["name"]):
                parameter["schema"] = {"anyOf": [{"enum": likely}, parameter["schema"]]}
    return made


SCHEMA = schemathesis.openapi.from_dict(described())
SCHEMA.config.generation.update(with_security_parameters=False)  # the token is in every call
CASES = [
    (call.method, call.path, mode)
    for call in operations()
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or call.parameters or call.body  # else nothing can be wrong
]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """One for all, of each kind."""
    folder = tmp_path_factory.mktemp("openapi")
    place: Database = SqliteFile(folder)
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        place = PostgresDatabase(server, folder, server.fresh())
    made = place.open()
    yield made
    made.dispose()
    place.drop()


@pytest.fixture(scope="module")
def url(engine: Engine, valkey_url: str) -> Iterator[str]:
    """The admin listener of one, on a real socket."""
    shop, redis, http = Shop(engine), connect_one(valkey_url), httpx.AsyncClient()
    parts = parts_of(
        engine,
        redis,
        http,
        catalogue=SELLING,
        partitions=1,
        clock=shop.books.clock,
        alerts=AlertSettings(webhooks=[NOWHERE]),
    )
    app = admin_site(Control(parts))

    @asynccontextmanager
    async def closing(_: Starlette) -> AsyncIterator[None]:
        yield
        await redis.aclose()
        await http.aclose()

    app.router.lifespan_context = closing
    with serving(app) as port:
        yield f"http://127.0.0.1:{port}"


class Asking:
    """Somebody with the token. `done` is what was answered with success."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.done: set[tuple[str, str, int]] = set()

    def __call__(self, method: str, path: str, body: Any = None, **where: str) -> Any:
        """The answer, which is as it is described."""
        sent = {} if body is None else {"body": body, "media_type": "application/json"}
        case = SCHEMA[f"/api/v1/{path}"][method].Case(path_parameters=where, **sent)
        reply = case.call(base_url=self.url, headers=BEARER)
        case.validate_response(reply, checks=CHECKS)
        assert reply.status_code < 300, reply.text
        self.done.add((method, f"/api/v1/{path}", reply.status_code))
        return reply.json()


def test_whatever_succeeds(url: str) -> None:
    """Every answer of success that is described comes, and is as it is described."""
    ask = Asking(url)
    who = {"author": "li", "reason": "because"}
    for path in ("usage", "packages", "findings", "adjustments", "suspense", "mappings"):
        assert ask("GET", path)["data"] or path == "mappings"
    assert ask("GET", "instances")["data"][0]["remainders"]
    assert ask("GET", "suspense/assignments")["data"]
    record = ask("GET", "records")["data"][0]["metering_sn"]
    for act in ("hold", "release", "hold", "reject", "retry"):
        ask("POST", f"records/{{sn}}/{act}", who, sn=record)
    assert len(ask("GET", "records/{sn}", sn=record)["acts"]) == 5
    for _ in range(2):
        ask("POST", "adjustments", {**who, "id": "a9", "instance_id": "i", "value": "-1.5"})
        more = {"id": "s9", "instance_id": "i", "customer_id": "cust-1", "quantity": 3}
        ask("POST", "suspense/assign", {**who, **more})
    old = ask("POST", "keys", {"customer_id": "cust-1", "expires": "90d"})["id"]
    new = ask("POST", "keys/{key_id}/rotate", {"overlap": "1h"}, key_id=old)["id"]
    ask("POST", "keys/{key_id}/revoke", key_id=old)
    ask("DELETE", "keys/{key_id}", key_id=new)
    assert ask("GET", "keys")["data"]
    ask("PUT", "mappings/{product_id}", {"mapped_to": "TOKENS", "author": "li"}, product_id="a/b")
    ask("DELETE", "mappings/{product_id}", product_id="a/b")
    (alert,) = {each["id"] for each in ask("GET", "alerts")["data"] if each["threshold"] == 80}
    ask("POST", "alerts/{id}/retry", id=alert)
    for path in ("tenants", "licences", "licence-codes"):
        assert ask("GET", path)["data"]
    ask("POST", "licences/{id}/retry", id="lic_1")
    ask("POST", "links", {"customer_id": "cust-1", "expires": "7d"})
    ask("POST", "links/revoke", {"customer_id": "cust-1"})
    described = {(call.method, call.path, each) for call in operations() for each in call.answers}
    assert ask.done == described


@pytest.mark.parametrize(("method", "path", "mode"), CASES)
def test_whatever_is_asked(url: str, method: str, path: str, mode: GenerationMode) -> None:
    """Nothing of ours fails, and the answer is one that is described: status, type and content."""

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(SCHEMA[path][method].as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case[Any]) -> None:
        reply = case.call(base_url=url, headers=BEARER)
        case.validate_response(reply, checks=CHECKS)

    ask()
