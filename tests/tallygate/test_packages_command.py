"""`tallygate packages list` as it is typed, over a ledger in a file."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from billing_sync.store.engine import open_engine, sqlite_url
from tallygate.packages_command import packages
from tests.billing_sync.books import Books

CONFIG = """
data_dir: {var}
redis: embedded
partitions: 1
routes: [{{name: chat, path: /v1, upstream: ["http://127.0.0.1:9"]}}]
products:
  - {{product_id: TOKENS, routes: [chat], meter: tokens_total, unit: 1000}}
  - {{product_id: PACK, package: {{items: [{{of: TOKENS, quota: 10}}]}}}}
  - product_id: STOP
    package: {{items: [{{of: TOKENS, quota: 10}}], stop_before_excess: true, overshoot: next_package}}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "tallygate.yaml"
    path.write_text(CONFIG.format(var=tmp_path / "var"))
    return path


def listed(place: Path, *words: str) -> Result:
    return CliRunner().invoke(packages, ["list", "-c", str(place), *words])


@pytest.fixture
def books(place: Path) -> Books:
    folder = place.parent / "var"
    folder.mkdir()
    made = Books(open_engine(sqlite_url(folder / "ledger.db")))
    made.buy("i")
    made.buy("pack", "PACK")
    made.buy("theirs", "PACK", customer_id="cust-2")
    made.use("i", 4567)
    made.engine.dispose()
    return made


def test_the_packages_and_what_is_left(place: Path, books: Books) -> None:
    """A line for each billing item, in billing units."""
    result = listed(place)
    assert result.exit_code == 0, result.output
    head, mine, theirs = (line.split() for line in result.stdout.splitlines())
    assert head[:7] == ["package", "customer", "status", "of", "quota", "used", "left"]
    assert mine[:7] == ["pack", "cust-1", "active", "TOKENS", "10.0000", "4.5670", "5.4330"]
    assert theirs[:2] == ["theirs", "cust-2"]


def test_for_scripts_and_for_one_customer(place: Path, books: Books) -> None:
    """An object a line, as the API has them."""
    result = listed(place, "--json", "--customer", "cust-1")
    (row,) = map(json.loads, result.stdout.splitlines())
    assert (row["id"], row["items"][0]["used_by"]) == ("pack", {"i": "4.5670"})
    assert listed(place, "--json", "--customer", "nobody").stdout == ""


def test_without_a_ledger(place: Path) -> None:
    """One line that says what to do, and nothing is made."""
    result = listed(place)
    assert result.exit_code == 1
    assert result.output.startswith("Error: there is no ledger")
    assert [entry.name for entry in place.parent.iterdir()] == ["tallygate.yaml"]
