"""`tallygate instances` as it is typed, over a ledger in a file and a Redis that is away."""

import json
from functools import partial
from pathlib import Path

from tallygate.instances_command import instances
from tests.tallygate import commands

typed = partial(commands.typed, instances)

FILE = """instance_id,customer_id,product_id,order_id,started,expires,used,trial
i-1,c-1,TOKENS,CS1,2026-01-01T00:00:00Z,,12.5,
i-2,c-2,TOKENS,CS2,2026-01-01T00:00:00Z,20300101000000,,true
"""


def file(place: Path, text: str = FILE, name: str = "old.csv") -> str:
    path = place.with_name(name)
    path.write_text(text)
    return str(path)


def test_from_a_dry_run_to_the_list(place: Path) -> None:
    """What would be done, what is done, that it is done once, and what there is then."""
    said = typed(place, "import", file(place), "--dry-run")
    assert (said.exit_code, said.stdout) == (
        0,
        "2 instances would be taken over; 0 were there already\n",
    )
    assert "not told" not in said.stderr
    said = typed(place, "import", file(place))
    assert (said.exit_code, said.stdout) == (
        0,
        "2 instances were taken over; 0 were there already\n",
    )
    assert "gateways are not told yet" in said.stderr
    again = typed(place, "import", file(place), "--json")
    assert json.loads(again.stdout) == {"new": 0, "there": 2, "problems": [], "dry_run": False}
    listed = typed(place, "list").stdout.splitlines()
    assert [line.split()[:4] for line in listed] == [
        ["instance", "customer", "product", "status"],
        ["i-1", "c-1", "TOKENS", "active"],
        ["i-2", "c-2", "TOKENS", "active"],
    ]
    assert "active (trial)  2026-01-01T00:00:00Z  2030-01-01T00:00:00Z  CS2" in listed[2]
    (row,) = typed(place, "list", "--json", "--customer", "c-2").stdout.splitlines()
    assert (json.loads(row)["id"], json.loads(row)["trial"]) == ("i-2", True)
    assert typed(place, "list", "--after", "i-1").stdout.count("\n") == 2


def test_a_json_file(place: Path) -> None:
    """By its ending, or because it is said."""
    row = dict(zip(*(line.split(",") for line in FILE.splitlines()[:2]), strict=True))
    path = file(place, json.dumps([row]), "old.json")
    assert "1 instances" in typed(place, "import", path, "--dry-run").stdout
    other = file(place, json.dumps([row]), "old.txt")
    assert typed(place, "import", other, "--dry-run").exit_code == 2
    assert "1 instances" in typed(place, "import", other, "--dry-run", "--format", "json").stdout


def test_wrong_lines_are_listed(place: Path) -> None:
    """All of them, with their numbers, and nothing is taken over: exit code 2."""
    wrong = FILE.replace("12.5", "much").replace("i-2,c-2,TOKENS", "i-2,c-2,NONE")
    said = typed(place, "import", file(place, wrong))
    assert said.exit_code == 2
    assert said.stderr.splitlines() == [
        "line 2: used is no number",
        "line 3: product NONE is not in `products:`; configure it",
        "Error: 2 problems; nothing was taken over, mend the file and run it again",
    ]
    as_json = typed(place, "import", file(place, wrong), "--json")
    assert [each["line"] for each in json.loads(as_json.stdout)["problems"]] == [2, 3]
    assert typed(place, "list", "--json").stdout == ""


def test_what_is_no_such_file(place: Path) -> None:
    """One line that says what to do."""
    said = typed(place, "import", file(place, "colour\nred\n"))
    assert said.exit_code == 2
    assert said.stderr.startswith("Error: column 'colour' is unknown; known are instance_id, ")
    assert typed(place, "import", str(place.with_name("none.csv"))).exit_code == 2
