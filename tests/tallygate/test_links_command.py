"""`tallygate links` as it is typed, over a ledger in a file and a Redis that is away."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from billing_sync.link_tokens import UsageLinks
from tallygate.links_command import links

CONFIG = """
data_dir: {var}
redis: redis://127.0.0.1:1
partitions: 1
secret_key: hush
control: {{public_url: "https://meter.example.com/"}}
routes: [{{name: chat, path: /v1, upstream: ["http://127.0.0.1:9"]}}]
products: [{{product_id: T, meter: requests, routes: [chat]}}]
customers: [{{id: cust-1, instances: [{{id: inst-1, product: T}}]}}]
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "tallygate.yaml"
    path.write_text(CONFIG.format(var=tmp_path / "var"))
    return path


def typed(place: Path, *words: str) -> Result:
    return CliRunner().invoke(links, [*words, "-c", str(place)])


def test_a_link(place: Path) -> None:
    """On a line of its own, for a customer of the configuration that was never served."""
    result = typed(place, "create", "cust-1", "--expires", "1d")
    assert result.exit_code == 0, result.output
    said, url = result.stdout.splitlines()
    assert said.startswith("the page of customer cust-1, until 20")
    found = UsageLinks.of("", b"hush").read(url.removeprefix("https://meter.example.com/usage/"))
    assert (found.customer_id, found.instance_id, found.revision) == ("cust-1", "", 0)


def test_of_one_instance(place: Path) -> None:
    """It may be without an end."""
    result = typed(
        place, "create", "cust-1", "--instance", "inst-1", "--expires", "never", "--json"
    )
    made = json.loads(result.stdout)
    assert (made["instance_id"], made["expires"]) == ("inst-1", 0)


def test_revoked(place: Path) -> None:
    """Links that are made then have the next revision."""
    assert typed(place, "create", "cust-1").exit_code == 0
    result = typed(place, "revoke", "cust-1", "--json")
    assert json.loads(result.stdout) == {"customer_id": "cust-1", "revision": 1}
    url = typed(place, "create", "cust-1").stdout.splitlines()[1]
    assert UsageLinks.of("", b"hush").read(url.rpartition("/")[2]).revision == 1


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["create", "nobody"], "there is no customer 'nobody'"),
        (["revoke", "nobody"], "there is no customer 'nobody'"),
        (["create", "cust-1", "--instance", "i"], "has no instance 'i'"),
        (["create", "cust-1", "--expires", "never"], "366d at most"),
        (["create", "cust-1", "--expires", "soon"], "is not a time"),
    ],
)
def test_what_cannot_be_done(place: Path, words: list[str], reason: str) -> None:
    """Is wrong usage, in one line."""
    assert typed(place, "create", "cust-1").exit_code == 0
    result = typed(place, *words)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert "Traceback" not in result.output
