"""`tallygate keys` as it is typed, over a ledger in a file and a Redis that is away."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from billing_sync.store import keys as store
from billing_sync.store.engine import open_engine, sqlite_url, writing
from tallygate.keys_command import keys
from tests.tallygate import commands

typed = partial(commands.typed, keys)

AWAY = "gateways are not told yet"


def made(place: Path, *words: str) -> dict[str, Any]:
    """The answer to a command that makes a key."""
    result = typed(place, *words, "--json")
    assert result.exit_code == 0, result.output
    row: dict[str, Any] = json.loads(result.stdout)
    return row


def listed(place: Path, *words: str) -> list[dict[str, Any]]:
    result = typed(place, "list", "--json", *words)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_key_is_shown_when_it_is_made(place: Path) -> None:
    """On a line of its own, and never again."""
    result = typed(place, "create", "--customer", "cust-1", "--name", "phone", "--expires", "90d")
    assert result.exit_code == 0, result.output
    said, key = result.stdout.splitlines()
    assert said.startswith("key 1 of customer cust-1, until 20")
    assert AWAY in result.stderr
    assert key not in typed(place, "list").output
    head, row, plain, laptop = (line.split() for line in typed(place, "list").stdout.splitlines())
    assert head[:3] == ["id", "customer", "begins"]
    assert row[:4] == ["1", "cust-1", f"{key[:9]}…", "active"]
    assert row[-4:] == ["never", "all", "phone"] or row[-3:] == ["never", "all", "phone"]
    assert plain[2:] == ["-", "active", "never", "never", "all"]
    assert laptop[2:] == ["-", "active", "2040-01-31T00:00:00Z", "never", "chat", "laptop"]


def test_a_key_from_the_cradle_to_the_grave(place: Path) -> None:
    """Made for one route, rotated, revoked, and still listed."""
    old = made(place, "create", "--customer", "cust-1", "--route", "chat")
    new = made(place, "rotate", old["id"], "--overlap", "90m")
    assert (new["routes"], new["id"]) == (["chat"], "2")
    assert made(place, "revoke", "2")["status"] == "revoked"
    assert "was revoked at 20" in typed(place, "revoke", "2").stdout
    rows = listed(place, "--customer", "cust-1", "--limit", "2")
    assert [(row["id"], row["status"]) for row in rows] == [("1", "replaced"), ("2", "revoked")]
    assert [row["id"] for row in listed(place, "--after", "1")] == ["2"]
    assert listed(place, "--customer", "nobody") == []


def test_the_last_use_is_shown(place: Path) -> None:
    """Of keys of the configuration too."""
    made(place, "create", "--customer", "cust-1")
    ids = [row["id"] for row in listed(place)]
    engine = open_engine(sqlite_url(place.parent / "var" / "ledger.db"))
    with writing(engine) as session:
        store.take_in(session, dict.fromkeys(ids[:2], 1_790_000_000_000), 1_800_000_000_000)
    engine.dispose()
    assert [row["last_used"] for row in listed(place)] == [1_790_000_000_000] * 2 + [0]
    assert typed(place, "list").stdout.count("2026-09-21T14:13:20Z") == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("create", "--customer", "nobody"), "there is no customer 'nobody'"),
        (("create", "--customer", "cust-1", "--route", "chit"), "there is no route 'chit'; known: chat"),
        (("create", "--customer", "cust-1", "--expires", "soon"), "expires='soon' is not a time"),
        (("create", "--customer", "cust-1", "--name", "x" * 65), "name must be 1 to 64"),
        (("rotate", "7"), "there is no key 7"),
        (("rotate", "7", "--overlap", "1"), "overlap must be a time such as 24h"),
        (("revoke", "x"), "no key has this id"),
        (("revoke", "cabc"), "that key stands in the configuration"),
    ],
)  # fmt: skip
def test_what_cannot_be_done(place: Path, words: tuple[str, ...], said: str) -> None:
    """One line that says what to do, exit code 2."""
    result = typed(place, *words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {said}")
    assert len(result.stderr.splitlines()) == 1
