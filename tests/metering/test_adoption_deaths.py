"""Adopters killed by SIGKILL at any line of theirs; the next one brings the lane to its end."""

from random import SystemRandom

import pytest

from tests.metering.killed import killed


@pytest.mark.parametrize("scenario", ["adopt", "again"])
def test_an_adopter_killed_anywhere(valkey_url: str, scenario: str) -> None:
    """All is counted once, what was open is named, and nothing is left behind."""
    first = SystemRandom().randrange(1, 300)
    print(f"first line {first}")  # noqa: T201  (shown when it fails)
    found = killed("metering.adoption_deaths", scenario, valkey_url, first, 397)
    assert found["deaths"] > 2
