"""An installation whose ledger is in PostgreSQL, as a user runs it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tallygate.config import parse
from tallygate.installation import Installation
from tallygate.ledgers import ledger_file
from tests.databases import PostgresDatabase
from tests.installations import configuration, run, serve, write
from tests.servers import Received, upstream

SECRET = "s3cr3t"


@pytest.fixture
def database_kind() -> str:
    return "postgresql"


@pytest.fixture
def config(database: PostgresDatabase) -> Iterator[dict[str, Any]]:
    """With an upstream that uses five tokens a call."""
    usage = {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}

    def answer(request: Received) -> None:
        request.json(json.dumps({"usage": usage}).encode())

    database.empty()
    with upstream(answer) as server:
        yield configuration(server.url, database=database.url)


def test_where_it_is(tmp_path: Path) -> None:
    """In data_dir, or not in a file at all; nothing shows the password."""
    url = f"postgresql+psycopg://u:{SECRET}@h/db"
    embedded, server = (
        Installation(parse(text, {}, base=tmp_path)) for text in ("{}", f"database: {url}")
    )
    assert ledger_file(embedded) == tmp_path / "var" / "ledger.db"
    assert ledger_file(server) is None
    assert SECRET not in repr(server)


def test_served_and_reconciled(config: dict[str, Any], database: PostgresDatabase) -> None:
    """Calls are counted while the database is there and while it is not; then everything agrees."""
    folder = database.folder
    with serve(folder, config) as served:
        request_id = served.chat().headers["x-request-id"]
        served.counted(5, "tokens_total")
        database.server.run(f'alter database "{database.name}" allow_connections false')
        database.server.cut(database.name)
        assert served.chat().status_code == 200
        assert "ledger_unavailable" in unavailable(served)
        database.server.run(f'alter database "{database.name}" allow_connections true')
        served.counted(10, "tokens_total")
        path = str(folder / "tallygate.yaml")
        assert run("sync", "once", "-c", path, folder=folder).process.returncode == 0
        command = run("reconcile", "-c", path, folder=folder)
        assert command.process.returncode == 0, command.stdout + command.stderr
        command = run("explain", request_id, "-c", path, folder=folder)
        assert command.process.returncode == 0, command.stdout + command.stderr
    assert not list(folder.rglob("ledger.db*"))


def unavailable(served: Any) -> str:
    token = (served.folder / "var" / "admin_token").read_text().strip()
    url = f"{served.plane('control')['admin']}/api/v1/instances"
    return str(served.http.get(url, headers={"Authorization": f"Bearer {token}"}).text)


@pytest.mark.parametrize(
    ("command", "rest"),
    [(("sync", "once"), ""), (("recover",), ""), (("reconcile",), "?colour=blue")],
)
def test_a_database_that_is_away(tmp_path: Path, command: tuple[str, ...], rest: str) -> None:
    """One line says so, without the password."""
    url = f"postgresql+psycopg://u:{SECRET}@127.0.0.1:1/ledger{rest}"
    path = write(tmp_path, configuration("http://u", database=url, redis="redis://127.0.0.1:1"))
    done = run(*command, "-c", str(path), folder=tmp_path)
    assert done.process.returncode == 1
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stderr + done.stdout
    line = done.stderr.splitlines()[-1]
    assert line.startswith("Error: ")
    assert "ledger" in line or "Redis" in line
