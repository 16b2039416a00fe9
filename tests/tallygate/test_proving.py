"""What the console is told of proof: the reports on disk, and the commands it runs."""

import sys
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from billing_sync.console.ports import Proof
from billing_sync.errors import BadQuestion, ProofUnavailable
from tallygate import proving
from tallygate.proving import CommandProver
from tests.fakes import FakeClock
from tests.installations import configuration, set_up_ledger, valkey_on_tcp, write

pytestmark = pytest.mark.anyio


def report(folder: Path, day: str, *, exact: bool = True, signed: bool = True) -> None:
    verdict = f'"verdict":{{"counted":true,"exact":{str(exact).lower()},"settled":true}}'
    path = folder / f"reconciliation-{day}.json"
    path.write_text('{"counted":"' + "x" * 10_000 + f'",{verdict},"version":1}}\n')
    if signed:
        path.with_name(f"{path.name}.sig").write_text("signature")


def prover(folder: Path) -> CommandProver:
    return CommandProver(folder / "tallygate.yaml", folder, FakeClock())


def test_reports(tmp_path: Path) -> None:
    """The newest first, with their verdicts; those without signature are not done yet."""
    report(tmp_path, "2026-01-30")
    report(tmp_path, "2026-01-31", exact=False)
    report(tmp_path, "2026-02-01", signed=False)
    (tmp_path / "reconciliation-2026-02-02.json").write_text("torn")
    (tmp_path / "reconciliation-2026-02-02.json.sig").write_text("")
    found = prover(tmp_path).reports(31)
    assert [(one.day, one.exact) for one in found] == [("2026-01-31", False), ("2026-01-30", True)]
    assert found[0].at > 1_700_000_000_000
    assert prover(tmp_path / "none").reports(31) == []
    assert prover(tmp_path / "none").last() is None


async def test_commands(tmp_path: Path) -> None:
    """Are run, and what they found is told."""
    (tmp_path / "valkey").mkdir()
    with valkey_on_tcp(tmp_path / "valkey") as url:
        path = write(tmp_path, configuration("http://127.0.0.1:9", redis=url))
        await to_thread.run_sync(set_up_ledger, path)
        asked = CommandProver(path, tmp_path, FakeClock())
        found = await asked.explain("--help")
        assert not found.well
        assert "--help is no usage record" in found.text
        compared = await asked.reconcile()
        assert "difference" in compared.text
        assert asked.last() == Proof(FakeClock().now_ms(), compared.well)


@pytest.mark.parametrize("wanted", ["", "x" * 257, "ü"])
async def test_what_is_no_id(tmp_path: Path, wanted: str) -> None:
    """Is refused before anything is run."""
    with pytest.raises(BadQuestion):
        await prover(tmp_path).explain(wanted)


async def test_one_at_a_time(tmp_path: Path) -> None:
    """A second one is told to wait: a machine has other things to do."""
    asked = prover(tmp_path)
    refused = []

    async def ask() -> None:
        try:
            await asked.explain("x")
        except ProofUnavailable as problem:
            refused.append(str(problem))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        group.start_soon(ask)
    assert sorted("another one is running" in text for text in refused) == [False, True]


async def test_endless_output_is_cut() -> None:
    """And the command is ended."""
    found = await proving._printed([sys.executable, "-c", "while True: print('x' * 1000)"])
    assert found.cut
    assert len(found.text) <= 200_000


async def test_how_a_command_ended() -> None:
    """0 is well, 1 is a finding, anything else is no answer."""
    for code, well in ((0, True), (1, False)):
        found = await proving._printed(
            [sys.executable, "-c", f"print('a'); raise SystemExit({code})"]
        )
        assert (found.text, found.well) == ("a\n", well)
    with pytest.raises(ProofUnavailable, match="what is wrong"):
        await proving._printed(
            [
                sys.executable,
                "-c",
                "import sys; print('what is wrong', file=sys.stderr); sys.exit(2)",
            ]
        )


def test_the_newest_of_both(tmp_path: Path) -> None:
    """A reconciliation of now is newer than yesterday's report."""
    report(tmp_path, "2026-01-30")
    asked = prover(tmp_path)
    (written,) = asked.reports(1)
    assert asked.last() == written
    asked._asked = Proof(written.at + 1, exact=False)
    assert asked.last() == asked._asked
