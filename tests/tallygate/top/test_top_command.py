import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.installations import Served, configuration, eventually, run, serve, write
from tests.servers import upstream

REPLY = b'{"usage": {"prompt_tokens": 3, "completion_tokens": 4}}'


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A small installation that runs."""
    folder = tmp_path_factory.mktemp("top")
    with (
        upstream(lambda request: request.json(REPLY)) as up,
        serve(folder, configuration(up.url)) as running,
    ):
        yield running


def top(served: Served, *words: str) -> str:
    """What it prints; it ends well."""
    command = run("top", "-c", "tallygate.yaml", *words, folder=served.folder)
    assert (command.process.returncode, command.stderr) == (0, "")
    return command.stdout


def test_a_running_installation(served: Served) -> None:
    """What was called and counted shows, plain because nobody looks at a terminal."""
    assert served.chat().status_code == 200
    served.counted(1)
    text = top(served)
    assert text.startswith("tallygate top  ")
    assert "cust-1" in text
    assert "gateway" in text
    assert text.rstrip().endswith("nothing needs attention")


def test_for_scripts(served: Served) -> None:
    """One object, with the totals of this hour and the figures of each worker."""
    calls = served.total()
    assert served.chat().status_code == 200
    served.counted(calls + 1)

    def seen() -> dict[str, Any] | None:
        said: dict[str, Any] = json.loads(top(served, "--json", "--once", "--every", "0.2"))
        return said if said["customers"] else None  # else the hour has just begun

    said = eventually(seen)
    (customer,) = said["customers"]
    (worker,) = said["workers"]
    assert (customer["customer_id"], worker["name"], worker["up"]) == ("cust-1", "gateway", True)
    assert customer["tokens"] == 7 * customer["requests"]
    assert worker["pid"] == served.plane("gateway")["pid"]
    assert (worker["calls_s"], said["rates"]["calls"], said["open"]) == (0.0, 0.0, 0)
    assert said["attention"] == []


def test_where_nothing_runs(tmp_path: Path) -> None:
    """It says so."""
    write(tmp_path, configuration("http://127.0.0.1:1"))
    command = run("top", "-c", "tallygate.yaml", folder=tmp_path)
    assert (command.process.returncode, command.stdout) == (1, "")
    assert command.stderr.startswith("Error: nothing runs in ")
