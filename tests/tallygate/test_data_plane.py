from pathlib import Path

import httpx

from tests.installations import Served, configuration, tallygate, valkey_on_tcp, write

NEEDLESS = (
    "billing_sync.app",
    "billing_sync.store",
    "sqlalchemy",
    "sqlmodel",
    "tallygate.demo",
    "tallygate.init",
    "tallygate.serve",
    "tallygate.simulator",
)


def test_a_worker_imports_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    """From its start to its end: no SQL, no control plane, no simulator. So it is back sooner."""
    with valkey_on_tcp(tmp_path) as url, httpx.Client(trust_env=False) as http:
        folder = tmp_path / "x"
        config = str(write(folder, configuration("http://127.0.0.1:1", redis=url)))
        traced = {"PYTHONPROFILEIMPORTTIME": "1"}
        with tallygate("gateway", "-c", config, folder=folder, env=traced) as worker:
            assert Served(folder, worker, http).chat().status_code == 502
            assert worker.end() == 0
    lines = [line for line in worker.stderr.splitlines() if line.startswith("import time:")]
    imported = {line.rsplit("|", 1)[1].strip() for line in lines}
    assert "tallygate.data_plane" in imported
    assert {name for name in imported for x in NEEDLESS if f"{name}.".startswith(f"{x}.")} == set()
