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
from sqlalchemy import Engine
from starlette.applications import Starlette

from billing_sync.alerts import AlertTerms
from billing_sync.api_operations import operations
from billing_sync.app import Control
from billing_sync.finding_models import FindingRow
from billing_sync.openapi import document
from billing_sync.store.engine import writing
from metering.connection import connect_one
from tests.billing_sync.books import HOUR
from tests.billing_sync.correcting import SELLING, Desk
from tests.billing_sync.hooks import TERMS
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
CALLS = [(call.method, call.path) for call in operations()]


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
    )
    app = Control(parts).admin()

    @asynccontextmanager
    async def closing(_: Starlette) -> AsyncIterator[None]:
        yield
        await redis.aclose()
        await http.aclose()

    app.router.lifespan_context = closing
    with serving(app) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize(("method", "path"), CALLS)
def test_whatever_is_asked(url: str, method: str, path: str, mode: GenerationMode) -> None:
    """Nothing of ours fails, and the answer is one that is described: status, type and content."""

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(SCHEMA[path][method].as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case[Any]) -> None:
        reply = case.call(base_url=url, headers=BEARER)
        case.validate_response(reply, checks=CHECKS)

    ask()
