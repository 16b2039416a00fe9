"""`tallygate drill` as a user types it."""

from pathlib import Path

from click.testing import CliRunner

from tallygate.drills.command import drill
from tallygate.drills.names import ALL, MONTH, NAMES, SABOTAGE
from tallygate.drills.repertoire import DRILLS


def test_every_name_is_a_drill() -> None:
    """In the order of a proof; sabotage is no part of it."""
    assert [*NAMES, SABOTAGE] == list(DRILLS)


def test_help_names_every_drill() -> None:
    """With an example."""
    said = " ".join(CliRunner().invoke(drill, ["--help"]).output.split())
    assert [name for name in [*NAMES, MONTH, ALL, SABOTAGE] if name not in said] == []
    assert "tallygate drill kill-worker" in said


def test_wrong_usage_is_told(tmp_path: Path) -> None:
    """An unknown drill, too short a load, a file or a folder that is not there."""
    nowhere = str(tmp_path / "no" / "proof.md")
    for arguments in (["nothing"], ["sigterm", "--seconds", "1"], [], ["all", "--proof", nowhere]):
        assert CliRunner().invoke(drill, arguments).exit_code == 2
    missing = CliRunner().invoke(drill, ["sigterm", "-c", str(tmp_path / "none.yaml")])
    assert missing.exit_code == 2
    assert "there is no such file" in missing.output
