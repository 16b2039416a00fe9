"""`tallygate alerts` as it is typed, over a ledger in a file."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from billing_sync.alert_models import AlertDelivery
from billing_sync.store.engine import open_engine, sqlite_url, writing
from tallygate import alerting
from tallygate.alerts_command import alerts
from tests.billing_sync.books import Books
from tests.billing_sync.hooks import NOWHERE, SECRET, deliveries, selling, states


class Place:
    """A configuration, and a ledger where one alert was sent and one given up."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "tallygate.yaml"
        hook = f"{{url: '{NOWHERE.url}', secrets: [{SECRET}]}}"
        self.config.write_text(
            f"data_dir: {folder / 'var'}\nredis: embedded\npartitions: 1\n"
            f"alerts: {{webhooks: [{hook}]}}\n"
        )
        (folder / "var").mkdir()
        self.engine = open_engine(sqlite_url(folder / "var" / "ledger.db"))
        self.books: Books = selling(self.engine, NOWHERE)
        self.books.use("i", 9_500)
        with writing(self.engine) as session:
            for threshold, row in deliveries(self.engine).items():
                told = {"state": "sent"} if threshold == 80 else self.given_up
                session.merge(AlertDelivery(**(row.model_dump() | told)))
        self.ids = {t: row.alert_id for t, row in deliveries(self.engine).items()}

    given_up = {"state": "given_up", "attempts": 10, "error": "HTTP 500", "next_attempt": 2**60}  # noqa: RUF012

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(alerts, [*words, "-c", str(self.config)])


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.engine.dispose()


def test_alerts_are_listed(place: Place) -> None:
    """A line each, and one for each webhook."""
    result = place.run("list")
    assert result.exit_code == 0, result.output
    lines = {
        line.split("  ")[2].strip(): line for line in result.stdout.splitlines() if "%" in line
    }
    assert lines["80 %"] == (
        f"{place.ids[80]}  2027-01-15T08:10:00Z   80 %  cust-1  pack  TOKENS  used 9.5000 of 10.0000"
    )
    assert f"  {NOWHERE.name}  sent  attempts 0\n" in result.stdout
    assert f"  {NOWHERE.name}  given up  attempts 10  HTTP 500\n" in result.stdout


def test_for_scripts_page_by_page(place: Place) -> None:
    """An object a line, as the API has them, and all of them."""
    assert alerting.MOST == 1000
    place.books.alerts = place.books.alerts._replace(thresholds=tuple(range(1, 101)))
    place.books.buy("pack-2", "PACK")
    for number in range(3, 13):
        place.books.buy(f"pack-{number}", "PACK")
    place.books.use("i", 120_000)
    found = [json.loads(line) for line in place.run("list", "--json").stdout.splitlines()]
    assert len({row["id"] for row in found}) == len(found) == 1200


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (("--state", "given_up"), 1),
        (("--state", "pending"), 0),
        (("--customer", "cust-1"), 2),
        (("--customer", "nobody"), 0),
        (("--package", "pack"), 2),
        (("--package", "i"), 0),
    ],
)
def test_some_of_them(place: Place, words: tuple[str, ...], count: int) -> None:
    """What fits; nothing is an answer too."""
    result = place.run("list", "--json", *words)
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, count)


def test_what_was_given_up_is_sent_again(place: Place) -> None:
    """All of it, or an alert by its id."""
    result = place.run("retry", "--given-up")
    assert (result.exit_code, result.stdout) == (0, "given up  1 to be sent\n")
    assert states(place.engine) == {80: "sent", 95: "pending"}
    one = place.run("retry", place.ids[95], "--json")
    assert json.loads(one.stdout) == [{"id": place.ids[95], "deliveries": 1}]
    assert place.run("retry", "--given-up").stdout == "given up  0 to be sent\n"


def test_with_some_there_is_nothing_to_send(place: Place) -> None:
    """Exit code 1, each said, and the others done."""
    result = place.run("retry", place.ids[80], place.ids[95], "alert_0")
    assert result.exit_code == 1
    first, second, third = result.stdout.splitlines()
    assert first.startswith(f"{place.ids[80]}  nothing to send")
    assert second == f"{place.ids[95]}  1 to be sent"
    assert third == "alert_0  there is no alert with this id"
    assert "2 of 3 alerts" in result.stderr
    assert states(place.engine) == {80: "sent", 95: "pending"}


@pytest.mark.parametrize("words", [("retry",), ("retry", "--given-up", "alert_0"), ("list", "--state", "lost")])  # fmt: skip
def test_wrong_usage(place: Place, words: tuple[str, ...]) -> None:
    """Exit code 2, and nothing is sent."""
    result = place.run(*words)
    assert result.exit_code == 2
    assert states(place.engine) == {80: "sent", 95: "given_up"}


def test_without_a_ledger(tmp_path: Path) -> None:
    """One line that says what to do, and nothing is made."""
    config = tmp_path / "tallygate.yaml"
    config.write_text(f"data_dir: {tmp_path / 'var'}\n")
    for words in (["list"], ["retry", "--given-up"]):
        result = CliRunner().invoke(alerts, [*words, "-c", str(config)])
        assert result.exit_code == 1
        assert result.output.startswith("Error: there is no ledger")
    assert [entry.name for entry in tmp_path.iterdir()] == ["tallygate.yaml"]
