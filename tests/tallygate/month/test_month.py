"""A simulated month in its small form: every kind of trouble, and the books agree to the last unit."""

from pathlib import Path

import pytest

from tallygate.month.outcome import Outcome
from tallygate.month.play import play
from tallygate.month.run import quiet
from tallygate.month.sabotage import Sabotage
from tallygate.month.terms import Terms, three_days

pytestmark = pytest.mark.anyio

TINY = Terms(customers=6, days=1, seed=1, gateways=2, partitions=2)


async def played(
    terms: Terms, folder: Path, valkey_url: str, wrong: Sabotage = Sabotage.NONE
) -> Outcome:
    with quiet():
        return await play(terms, folder, valkey_url, wrong=wrong)


async def test_what_was_served_is_collected_or_named(tmp_path: Path, valkey_url: str) -> None:
    """Three days of thirty customers: nothing is lost, nothing is charged twice."""
    outcome = await played(three_days(seed=5), tmp_path, valkey_url)
    assert outcome.problems == []
    assert outcome.rows[-1].difference == 0
    assert outcome.rows[-1].collected > 0


async def test_the_same_seed_is_the_same_month(tmp_path: Path, valkey_url: str) -> None:
    """To the last call, record and remainder."""
    first, second = [
        (await played(TINY, tmp_path / name, valkey_url)).rows for name in ("one", "two")
    ]
    assert first == second


@pytest.mark.parametrize("wrong", [w for w in Sabotage if w is not Sabotage.NONE])
async def test_a_mistake_is_found(wrong: Sabotage, tmp_path: Path, valkey_url: str) -> None:
    """One call, one record or one remainder: the first break is told with its books."""
    outcome = await played(TINY, tmp_path, valkey_url, wrong)
    assert {each.instance for each in outcome.breaks if each.instance in outcome.books.products}
    assert outcome.rows[-1].difference != 0
    assert "window" in outcome.problems[0]
    assert any(problem.startswith("  window") for problem in outcome.problems)
