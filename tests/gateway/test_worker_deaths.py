"""A worker killed by SIGKILL at any line of its life, its end above all."""

from random import SystemRandom

from tests.metering.killed import killed


def test_a_worker_killed_anywhere(valkey_url: str) -> None:
    """What it recorded is counted once, what was open is named, and no window waits for it."""
    first = SystemRandom().randrange(1, 200)
    print(f"first line {first}")  # noqa: T201  (shown when it fails)
    found = killed("gateway.worker_deaths", "worker", valkey_url, first, 211)
    assert found["deaths"] > 2
