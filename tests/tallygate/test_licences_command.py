"""`tallygate licences` as it is typed, over a ledger in a file and an open API on a socket."""

import json
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from click.testing import CliRunner, Result

from billing_sync.licences import LicenceRefused, Reason
from billing_sync.store.engine import open_engine, sqlite_url
from tallygate.licences_command import licences
from tests.billing_sync.licensing import KEEPER, Shop, rows, states
from tests.billing_sync.marketplace import SECRET
from tests.servers import Received, Upstream, upstream

ALIVE = {
    "status": "ALIVE",
    "expire_time": "20300101000000",
    "product_id": "CODE",
    "order_id": "CS1",
}


class Place:
    """A configuration, and a ledger where one licence waits to be uploaded and one was refused."""

    def __init__(self, folder: Path, api: Upstream) -> None:
        self.config = folder / "tallygate.yaml"
        self.config.write_text(
            f"data_dir: {folder / 'var'}\nredis: embedded\npartitions: 1\n"
            f"secret_key: {SECRET.decode()}\nproducts: [{{product_id: CODE, licence: {{kind: code}}}}]\n"
            f"koogallery: {{ak: a, sk: s, base_url: '{api.url}'}}\n"
        )
        (folder / "var").mkdir()
        self.engine = open_engine(sqlite_url(folder / "var" / "ledger.db"))
        anyio.run(self.sell)

    async def sell(self) -> None:
        shop = Shop(self.engine)
        shop.maker.plan = [None, LicenceRefused(Reason.QUOTA_USED_UP, "10 of 10")]
        instance = await shop.licensed("o1")
        for event in ("e1", "e2"):
            await shop.ask(instance, event)
            await shop.jobs.make_due()
            shop.clock.advance(seconds=1)

    def run(self, *words: str, stdin: str = "") -> Result:
        return CliRunner().invoke(licences, [*words, "-c", str(self.config)], input=stdin)


class CodeApi:
    """activate and heartbeat; `reply` is what they say."""

    def __init__(self) -> None:
        self.reply: object = {
            "error_code": "92020000",
            "data": {"license_code_info": json.dumps(ALIVE)},
        }
        self.codes: list[str] = []

    def __call__(self, request: Received) -> None:
        self.codes.append(json.loads(request.body)["license"])
        request.json(json.dumps(self.reply).encode())


@pytest.fixture
def api() -> CodeApi:
    return CodeApi()


@pytest.fixture
def place(tmp_path: Path, api: CodeApi) -> Iterator[Place]:
    with upstream(api) as server:
        made = Place(tmp_path, server)
        yield made
        made.engine.dispose()


def test_licences_are_listed(place: Place) -> None:
    """A line each, for scripts an object; never the licence."""
    result = place.run("list")
    assert result.exit_code == 0, result.output
    first, second = result.stdout.splitlines()
    made, refused = rows(place.engine)
    assert first.startswith(f"{made.id}  2026-09-21T14:13:20Z  uploading  cust-1  ")
    assert first.endswith("FILE LIC.lic")
    assert second.endswith("000900 10 of 10")
    (listed,) = map(
        json.loads, place.run("list", "--json", "--state", "refused").stdout.splitlines()
    )
    assert (listed["id"], listed["code"], "sealed" in listed) == (refused.id, "000900", False)
    assert place.run("list", "--customer", "nobody").stdout == ""


def test_trying_again(place: Place) -> None:
    """All that was refused or rejected, or by id; with some there is nothing to do."""
    made, refused = rows(place.engine)
    result = place.run("retry", "--rejected")
    assert (result.exit_code, result.stdout) == (0, f"{refused.id}  again\n")
    assert states(place.engine) == {"uploading": 1, "making": 1}
    result = place.run("retry", refused.id, "lic_0")
    assert result.exit_code == 1
    assert "due already" in result.stdout
    assert "there is no licence with this id" in result.stdout
    assert place.run("retry", "--rejected", "--json").stdout == "[]\n"
    assert made.id


@pytest.mark.parametrize("words", [("retry",), ("retry", "--rejected", "x"), ("list", "--state", "lost")])  # fmt: skip
def test_wrong_usage(place: Place, words: tuple[str, ...]) -> None:
    """Exit code 2."""
    assert place.run(*words).exit_code == 2


def test_a_licence_is_saved(place: Place, tmp_path: Path) -> None:
    """For its owner alone, into a new file; what was not made cannot be."""
    made, refused = rows(place.engine)
    path = tmp_path / "a.lic"
    result = place.run("save", made.id, str(path))
    assert (result.exit_code, result.stdout) == (0, f"Wrote {path}\n")
    assert path.read_bytes() == KEEPER.made(made).content
    assert path.stat().st_mode & 0o777 == 0o600
    assert place.run("save", made.id, str(path)).exit_code == 2
    assert place.run("save", refused.id, str(tmp_path / "b.lic")).exit_code == 2
    assert place.run("save", "lic_0", str(tmp_path / "b.lic")).exit_code == 2
    assert not (tmp_path / "b.lic").exists()


def test_a_code_is_activated_and_asked_about(place: Place, api: CodeApi) -> None:
    """It is known from then on, by its beginning; the code may come from standard input."""
    result = place.run("activate", "PL-SECRET-1")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("code_")
    assert "ALIVE  until 2030-01-01T00:00:00Z  CODE  CS1" in result.stdout
    beat = place.run("heartbeat", "-", "--json", stdin="PL-SECRET-1\n")
    assert beat.exit_code == 0, (beat.output, beat.exception)
    said = json.loads(beat.stdout)
    assert (beat.exit_code, said["usable"], said["status"]) == (0, True, "ALIVE")
    assert api.codes == ["PL-SECRET-1", "PL-SECRET-1"]
    listed = place.run("codes")
    assert listed.stdout == f"{said['id']}  PL-S…  active  2030-01-01T00:00:00Z  CODE\n"
    assert "PL-SECRET-1" not in result.output + beat.output + place.run("codes", "--json").output


def test_a_code_that_cannot_be_used(place: Place, api: CodeApi) -> None:
    """Exit code 1 and why; nothing is learnt of one that does not exist."""
    api.reply = {"error_code": "92020005", "error_msg": "license code notexist"}
    result = place.run("activate", "PL-1")
    assert result.exit_code == 1
    assert "92020005 license code notexist" in result.stderr
    assert place.run("codes").stdout == ""
    info = json.dumps(ALIVE | {"status": "FROZEN"})
    api.reply = {"error_code": "92020000", "data": {"license_code_info": info}}
    frozen = place.run("heartbeat", "PL-1", "--json")
    assert (frozen.exit_code, json.loads(frozen.stdout)["usable"]) == (1, False)


def test_what_can_be_no_code(place: Place, api: CodeApi) -> None:
    """Exit code 2, and nobody is asked."""
    result = place.run("activate", "x" * 65)
    assert (result.exit_code, api.codes) == (2, [])
    assert "CODE is longer than 64 characters" in result.stderr


def test_without_a_ledger(tmp_path: Path) -> None:
    """One line that says what to do, and nothing is made."""
    config = tmp_path / "tallygate.yaml"
    config.write_text(f"data_dir: {tmp_path / 'var'}\n")
    for words in (["list"], ["codes"], ["retry", "--rejected"]):
        result = CliRunner().invoke(licences, [*words, "-c", str(config)])
        assert result.exit_code == 1
        assert result.output.startswith("Error: there is no ledger")
    assert [entry.name for entry in tmp_path.iterdir()] == ["tallygate.yaml"]
