"""A simulated month in its small form: every kind of trouble, and the books agree to the last unit."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest

from tallygate.month.outcome import Outcome
from tallygate.month.play import play
from tallygate.month.run import quiet
from tallygate.month.sabotage import Sabotage
from tallygate.month.terms import Terms, three_days

pytestmark = pytest.mark.anyio

TINY = Terms(customers=3, days=1, seed=1, gateways=2, partitions=2)


async def played(
    terms: Terms, folder: Path, valkey_url: str, wrong: Collection[Sabotage] = ()
) -> Outcome:
    with quiet():
        return await play(terms, folder, valkey_url, wrong=wrong)


async def test_what_was_served_is_collected_or_named(tmp_path: Path, valkey_url: str) -> None:
    """Three days of eight customers: nothing is lost, nothing is charged twice."""
    outcome = await played(replace(three_days(seed=5), customers=8), tmp_path, valkey_url)
    assert outcome.problems == []
    assert outcome.rows[-1].difference == 0
    assert outcome.rows[-1].collected > 0


async def test_the_same_seed_is_the_same_month(
    tmp_path_factory: pytest.TempPathFactory, valkey_url: str
) -> None:
    """To the last call, record and remainder."""
    folders = [tmp_path_factory.mktemp("month") for _ in range(2)]
    first, second = [(await played(TINY, folder, valkey_url)).rows for folder in folders]
    assert first == second


async def test_every_mistake_is_found(tmp_path: Path, valkey_url: str) -> None:
    """One call, one record, one remainder: all three, and the first is told with its books."""
    outcome = await played(TINY, tmp_path, valkey_url, list(Sabotage))
    found = [each.what for each in outcome.breaks]
    for sign in ("in the ledger", "sent nothing", "records and the rest"):
        assert any(sign in what for what in found), found
    assert outcome.rows[-1].difference != 0
    assert outcome.problems[0].startswith("window")
    assert any(problem.startswith("  window") for problem in outcome.problems)


async def test_a_ledger_on_postgresql_balances_too(
    tmp_path: Path, valkey_url: str, request: pytest.FixtureRequest
) -> None:
    """Whatever database holds it."""
    pytest.importorskip("tests.postgres")  # the server that tests have of their own
    server = request.getfixturevalue("postgres")
    name = server.fresh()
    with quiet():
        outcome = await play(TINY, tmp_path, valkey_url, database=server.url(name))
    server.drop(name)
    assert outcome.breaks == []
    assert outcome.rows[-1].difference == 0
    assert outcome.rows[-1].collected > 0
