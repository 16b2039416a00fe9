"""`tallygate adjust` and `tallygate suspense` as they are typed, on a ledger in a file."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from billing_sync.correction_models import Suspense
from billing_sync.models import CustomerRow, Instance
from billing_sync.store.engine import open_engine, sqlite_url, writing
from metering.windows import HOUR_MS
from tallygate.cli import cli
from tests.installations import configuration, write

HOUR = 500_000
WHO = ("--author", "li.na", "--reason", "test traffic")


class Shop:
    """A configuration, a ledger with an instance, and suspense of two hours; no Redis runs."""

    def __init__(self, folder: Path) -> None:
        products = [{"product_id": "T", "routes": ["chat"], "meter": "tokens_total", "unit": 1000}]
        config = configuration("http://127.0.0.1:1", products=products, customers=[])
        self.path = write(folder, {**config, "data_dir": str(folder / "var")})
        assert self.run("adjust", "list").exit_code == 0
        self.engine = open_engine(sqlite_url(folder / "var" / "ledger.db"))
        with writing(self.engine) as session:
            session.add(CustomerRow(id="cust-1"))
            session.add(
                Instance(id="i", customer_id="cust-1", product_id="T", status="active", started=1)
            )
            for hour, quantity in ((HOUR, 3000), (HOUR + 1, 500)):
                session.add(
                    Suspense(
                        customer_id="cust-1",
                        product_id="T",
                        route="chat",
                        meter="tokens_total",
                        grade="exact",
                        origin=hour,
                        quantity=quantity,
                    )
                )
        self.engine.dispose()

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(cli, [*words, "-c", str(self.path)])

    def json(self, *words: str) -> Any:
        result = self.run(*words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.output)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_adjusted_listed_and_repeated(shop: Shop) -> None:
    """Each says what was done; the second time nothing is."""
    words = ("adjust", "add", "--instance", "i", "--value=-1.5", "--id", "ticket-4711", *WHO)
    done = shop.run(*words)
    assert (done.exit_code, done.output) == (
        0,
        "ticket-4711: -1500 tokens_total for instance i, netted into its next records\n",
    )
    again = shop.run(*words)
    assert again.exit_code == 0
    assert again.output.startswith("ticket-4711 stood there already, nothing was changed")
    listed = shop.run("adjust", "list", "--instance", "i")
    titles, row = listed.output.splitlines()
    assert titles.split() == ["at", "instance", "quantity", "meter", "id", "author", "reason"]
    assert row.split()[1:] == [
        "i",
        "-1500",
        "tokens_total",
        "ticket-4711",
        "li.na",
        "test",
        "traffic",
    ]
    (one,) = shop.json("adjust", "list")
    assert one["quantity"] == -1500


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--instance", "i"), "either a quantity"),
        (("--instance", "i", "--quantity", "1", "--value", "1"), "either a quantity"),
        (("--instance", "i", "--value", "much"), "no decimal number"),
        (("--instance", "nobody", "--quantity", "1"), "no instance nobody"),
        (("--instance", "i", "--quantity", "0"), "changes nothing"),
    ],
)
def test_what_cannot_be_done_is_one_line(shop: Shop, words: tuple[str, ...], said: str) -> None:
    """Exit code 2; nothing is adjusted."""
    result = shop.run("adjust", "add", *words, "--id", "x", *WHO)
    assert result.exit_code == 2
    assert said in result.output
    assert result.output.count("\n") == 1
    assert shop.json("adjust", "list") == []


def test_suspense_is_listed_and_assigned(shop: Shop) -> None:
    """In total and by the hour; what is assigned is no longer open."""
    listed = shop.run("suspense", "list", "--customer", "cust-1").output.splitlines()
    assert listed[1].split()[4:] == [
        "2027-01-15T08:00:00Z",
        "2027-01-15T10:00:00Z",
        "3500",
        "0",
        "3500",
    ]
    words = ("suspense", "assign", "--customer", "cust-1", "--instance", "i", *WHO)
    done = shop.run(*words, "--to", "2027-01-15T09:00:00Z", "--id", "s1")
    assert done.exit_code == 0
    assert done.output.startswith(
        "s1: 3000 tokens_total charged to instance i, billed with the hour"
    )
    rows = shop.json("suspense", "list", "--by-hour")
    assert [row["open"] for row in rows] == [0, 500]
    assert shop.json(*words)["quantity"] == 500
    done_so_far = shop.json("suspense", "assignments", "--customer", "cust-1")
    assert [row["quantity"] for row in done_so_far] == [3000, 500]
    assert "li.na" in shop.run("suspense", "assignments", "--instance", "i").output
    nothing = shop.run(*words)
    assert (nothing.exit_code, nothing.output.count("\n")) == (2, 1)
    assert "there is no suspense of customer cust-1 for product T" in nothing.output


def test_times_and_pages(shop: Shop) -> None:
    """Hours that begin before `--to`; a time that is none is said."""
    (row,) = shop.json("suspense", "list", "--from", "2027-01-15T09:00Z", "--limit", "1")
    assert (row["first"], row["first"] * HOUR_MS) == (HOUR + 1, (HOUR + 1) * HOUR_MS)
    assert shop.json("suspense", "list", "--after", "1") == []
    wrong = shop.run("suspense", "list", "--from", "noon")
    assert (wrong.exit_code, wrong.output.count("\n")) == (2, 1)
