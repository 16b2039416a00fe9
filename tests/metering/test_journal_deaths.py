"""A lane's owner, its thread, and whoever seals it, killed by SIGKILL at any line of theirs."""

from random import SystemRandom

from tests.metering.killed import killed


def test_an_owner_killed_anywhere() -> None:
    """What was appended is there, one more at most; who was open is named, and nobody else."""
    found = killed("metering.journal_deaths", "owner", 1, 17)
    assert found["deaths"] > 80
    assert {"unmade", "0/1", "9/0"} & set(found["seen"])


def test_an_owner_killed_beside_its_thread() -> None:
    """While it makes a segment, syncs, renames or prunes: nothing of that is missed."""
    assert killed("metering.journal_deaths", "thread", 1, 5)["deaths"] > 20


def test_who_seals_and_retires_killed_anywhere() -> None:
    """The next one finds what is left to do, and the same end."""
    found = killed("metering.journal_deaths", "sealer", 1, 7)
    assert found["deaths"] > 50
    assert {"dead", "sealed"} <= set(found["seen"])


def test_an_owner_killed_at_full_speed() -> None:
    """At any moment, while others read along."""
    seed = SystemRandom().randrange(1 << 30)
    print(f"seed {seed}")  # noqa: T201  (shown when it fails)
    found = killed("metering.journal_deaths", "hurry", seed, 8)
    assert len(found["records"]) == 8
