"""Every drill in short: real processes, real load, one fault, and nothing lost or counted twice."""

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tallygate.drills.faults.disk import without_blocks
from tallygate.drills.names import SABOTAGE
from tallygate.drills.playing import play
from tallygate.drills.repertoire import DRILLS
from tallygate.drills.results import Result
from tallygate.drills.running import run_round
from tallygate.drills.stage import Prepare, staged
from tallygate.drills.terms import Make, Terms
from tests.installations import eventually, nothing_runs_in, run, tallygate

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="drills look into /proc"),
]

TERMS = Terms(seconds=2, rate=25, seed=2026)


def rounds(*, shares: bool) -> Iterator[tuple[str, Prepare]]:
    for name, drill in DRILLS.items():
        if name != SABOTAGE and drill.shares is shares:
            yield from drill.rounds.items()


# A worker that has died leaves requests uncertain; until then there are none.
DEADLY = ("kill-worker", "sql-rollback", "chaos")


def passes(result: Result) -> None:
    assert result.problems == []
    assert (result.loss, result.double) == (0, 0)
    assert result.seen > 10


async def test_faults_that_may_follow_one_another(
    tmp_path: Path, subtests: pytest.Subtests
) -> None:
    """Each in turn on one installation, judged after each by everything since its start."""
    async with staged(tmp_path, TERMS, Make()) as stage:
        for title, prepare in sorted(rounds(shares=True), key=lambda each: each[0] in DEADLY):
            async with prepare(tmp_path) as prepared:
                result = await play(stage, title, prepared.fault)
            with subtests.test(title):
                passes(result)


@pytest.mark.parametrize(
    ("title", "prepare"), [pytest.param(*each, id=each[0]) for each in rounds(shares=False)]
)
async def test_a_fault_with_an_installation_of_its_own(title: str, prepare: Prepare) -> None:
    """Exact, or named."""
    passes(await run_round(title, prepare, TERMS))


async def test_a_disk_that_gives_no_blocks() -> None:
    """The same drill where no file system may be mounted."""
    result = await run_round("disk-full", without_blocks, TERMS)
    passes(result)
    assert result.refused[503] > 0


def test_a_drill_can_fail(tmp_path: Path) -> None:
    """Where one request is taken out of the ledger by hand: exit 1, and the loss is 1."""
    proof = tmp_path / "proof.md"
    command = run(
        "drill", SABOTAGE, "--seconds", "2", "--json", "--proof", str(proof), folder=tmp_path
    )
    assert command.process.returncode == 1, command.stderr
    said = json.loads(command.stdout)
    assert (said["passed"], said["loss"], said["double"]) == (False, 1, 0)
    assert "Not proved: sabotage" in proof.read_text()


def test_an_interrupted_drill_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C in the middle: the shell's own number, no process, no folder."""
    temp = tmp_path / "temp"
    temp.mkdir()
    with tallygate(
        "drill", "sql-locked", "--seconds", "600", folder=tmp_path, env={"TMPDIR": str(temp)}
    ) as command:
        eventually(lambda: any(temp.glob("*/var/run/gateway.json")))
        command.tell(signal.SIGINT)
        assert command.wait() == 130, command.stderr
    nothing_runs_in(tmp_path)
    assert list(temp.iterdir()) == []
