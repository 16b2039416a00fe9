"""The runbook of docs/billing/ledger.md, word for word: back up, go on, restore, `tallygate recover`."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
from anyio import to_thread
from click.testing import CliRunner, Result
from redis.asyncio import Redis

from metering import embedded
from metering.connection import connect_one
from metering.embedded import EmbeddedValkey
from tallygate.recover import recover
from tests.billing_sync.recoveries import Plane
from tests.databases import Database, PostgresDatabase

pytestmark = pytest.mark.anyio

RUNBOOK = Path(__file__).parents[2] / "docs" / "billing" / "ledger.md"
CONFIG = """
data_dir: {folder}
database: {database}
redis: embedded
partitions: 1
routes: [{{name: chat, path: /v1, upstream: ["http://127.0.0.1:1"]}}]
products: [{{product_id: TOKENS, routes: [chat], meter: tokens_total, unit: 1000}}]
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def commands(part: str, names: Iterable[str]) -> list[str]:
    """The lines of the runbook's part that begin with one of these words."""
    text = RUNBOOK.read_text().split(f"## {part}\n")[1].split("\n## ")[0]
    lines = [line.strip().split("     #")[0] for line in text.splitlines()]
    found = [line for line in lines if line.startswith(tuple(f"{name} " for name in names))]
    assert len(found) == len(list(names)), found
    return found


def typed(database: Database, lines: Iterable[str]) -> None:
    """As an operator types them, with the places of this test."""
    environment = dict(os.environ)
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"  # as activated
    places = {"/backup/": f"{database.folder}/backup-", "var/": f"{database.folder}/"}
    if isinstance(database, PostgresDatabase):
        environment |= database.server.environment(database.name)
        places["--owner=tallygate "] = ""
        places[" tallygate"] = f" {database.name}"
    for line in lines:
        for there, here in places.items():
            line = line.replace(there, here)  # noqa: PLW2901
        done = subprocess.run(
            line, shell=True, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (line, done.stderr)


def back_up(database: Database) -> None:
    words = ["pg_dump"] if isinstance(database, PostgresDatabase) else ["python"]
    typed(database, commands("Backup", words))


def restore(database: Database) -> None:
    ours = ["dropdb", "createdb", "pg_restore"]
    words = ours if isinstance(database, PostgresDatabase) else ["rm", "cp"]
    typed(database, commands("Restore", words))


async def told_to_recover(plane: Plane) -> Result:
    folder = plane.database.folder
    on_sqlite = plane.database.url.startswith("sqlite")
    named = "embedded" if on_sqlite else plane.database.url
    config = folder / "tallygate.yaml"
    config.write_text(CONFIG.format(folder=folder, database=named))
    words = ["-c", str(config)]
    return await to_thread.run_sync(lambda: CliRunner().invoke(recover, words))


@pytest.fixture
async def redis(database: Database, anyio_backend: str) -> AsyncIterator[Redis]:
    """The installation's own."""
    with EmbeddedValkey(database.folder):
        client = connect_one(embedded.url(database.folder))
        yield client
        await client.aclose()


async def test_the_runbook(database: Database, redis: Redis) -> None:
    """What was pushed after the backup is not pushed again, what was not is; nothing is lost."""
    plane = Plane(database, redis)
    plane.books.buy("i")
    await plane.runner.run_once()
    plane.use("i", 1500)
    await plane.to_the_next_hour()
    back_up(database)
    plane.use("i", 2600)
    await plane.to_the_next_hour()
    assert len(plane.market.taken) == 2
    plane.engine.dispose()
    restore(database)
    plane.start_again()
    plane.use("i", 4000)
    await plane.to_the_next_hour()
    assert plane.is_halted()
    assert len(plane.market.taken) == 2
    plane.engine.dispose()
    result = await told_to_recover(plane)
    assert result.exit_code == 0, result.output
    assert "put back: 1 usage records of 1 batches" in result.output
    plane.start_again()
    await plane.come_to_rest()
    plane.audit()
    plane.engine.dispose()
