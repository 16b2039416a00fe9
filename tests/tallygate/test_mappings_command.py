"""`tallygate mappings` as it is typed, over a ledger in a file and a Redis that is away."""

import json
from functools import partial
from pathlib import Path

from billing_sync.models import CustomerRow, Instance
from billing_sync.store.engine import open_engine, sqlite_url, writing
from tallygate.mappings_command import mappings
from tests.tallygate import commands

typed = partial(commands.typed, mappings)


def sold(place: Path, product_id: str) -> None:
    """An instance of it in the ledger."""
    engine = open_engine(sqlite_url(next((place.parent / "var").glob("*.db"))))
    with writing(engine) as session:
        session.add(CustomerRow(id="c"))
        row = Instance(id="i", customer_id="c", product_id=product_id, started=1, status="active")
        session.add(row)
    engine.dispose()


def test_from_an_unknown_id_to_its_product(place: Path) -> None:
    """It is listed with exit code 1 until it is mapped; removing it names what it was."""
    assert (typed(place, "list").exit_code, typed(place, "list").stdout) == (0, "")
    sold(place, "TOKENS-YEAR")
    said = typed(place, "list")
    assert (said.exit_code, said.stdout) == (
        1,
        "TOKENS-YEAR is neither configured nor mapped: 1 instances and 0 renewals wait\n",
    )
    words = ("TOKENS-YEAR", "TOKENS", "--author", "li.na")
    done = typed(place, "set", *words)
    assert done.stdout == "TOKENS-YEAR is metered as TOKENS from now on, by 1 instances so far\n"
    assert "gateways are not told yet" in done.stderr
    listed = typed(place, "list", "--json")
    assert listed.exit_code == 0
    shown = json.loads(listed.stdout)
    assert (shown["data"][0]["author"], shown["unmapped"]) == ("li.na", [])
    assert "TOKENS-YEAR is metered as TOKENS, by li.na at 20" in typed(place, "list").stdout
    said = typed(place, "set", *words, "--json")
    again = json.loads(said.stdout)
    assert (again["mapped_to"], again["instances"], said.stderr) == ("TOKENS", 0, "")
    gone = typed(place, "remove", "TOKENS-YEAR")
    assert gone.stdout == "TOKENS-YEAR was metered as TOKENS; instances that are stay so\n"


def test_nonsense(place: Path) -> None:
    """One line, exit code 2."""
    said = typed(place, "set", "X", "NONE", "--author", "a")
    assert (said.exit_code, said.stderr) == (
        2,
        "Error: NONE is not in `products:`; known are TOKENS\n",
    )
    said = typed(place, "remove", "X")
    assert (said.exit_code, said.stderr) == (2, "Error: product X is not mapped\n")
