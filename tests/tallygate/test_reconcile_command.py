import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tallygate.demo.upstream import StubUpstream
from tallygate.reconciliation.explain_command import explain
from tallygate.reconciliation.reconcile_command import reconcile
from tests.installations import Served, configuration, eventually, serve, write
from tests.tallygate.serving import serving

NOBODY = "http://127.0.0.1:1"


def invoke(command: str, path: Path, *words: str) -> Result:
    commands = {"reconcile": reconcile, "explain": explain}
    return CliRunner().invoke(commands[command], [*words, "-c", str(path)])


@pytest.mark.parametrize(
    "words",
    [
        ("reconcile", "--from", "yesterday"),
        ("reconcile", "--from", "2026-01-02", "--to", "2026-01-01"),
        ("explain",),
        ("explain", ""),
        ("explain", "\x1b[31m"),
        ("explain", "id", "--limit", "-1"),
    ],
)
def test_wrong_usage_is_two(words: tuple[str, ...], tmp_path: Path) -> None:
    """Nothing is opened."""
    result = invoke(words[0], write(tmp_path, configuration(NOBODY)), *words[1:])
    assert result.exit_code == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["tallygate.yaml"]


@pytest.mark.parametrize("words", [("reconcile",), ("explain", "id")], ids=" ".join)
def test_an_installation_that_never_ran_is_one_line(words: tuple[str, ...], tmp_path: Path) -> None:
    """Nothing is made, which would look like one that has run."""
    result = invoke(words[0], write(tmp_path, configuration(NOBODY)), *words[1:])
    assert result.exit_code == 1
    assert result.output.startswith("Error: there is no ledger at")
    assert result.output.count("\n") == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["tallygate.yaml"]


def reconciled(path: Path, *words: str) -> dict[str, object]:
    result = invoke("reconcile", path, "--json", *words)
    assert result.exit_code == 0, result.output
    said: dict[str, object] = json.loads(result.stdout)
    return said


def test_a_running_installation_is_reconciled_and_explained(tmp_path: Path) -> None:
    """Beside it, and after it has ended."""
    with serving(StubUpstream()) as stub, serve(tmp_path, configuration(stub)) as served:
        path = tmp_path / "tallygate.yaml"
        request_id = _called(served)
        served.counted(3)
        said = reconciled(path)
        assert said["exact"] is True
        assert invoke("reconcile", path).output.endswith("every difference is 0\n")
        shown = eventually(lambda: _in_ledger(path, request_id))
        assert "tokens_total to instance inst-1" in shown
        assert invoke("explain", path, "nobody").exit_code == 1
        assert served.command.end() == 0
        said = reconciled(path, "--from", "2020-01-01T00:00Z")
    lanes = said["lanes"]
    assert isinstance(lanes, list)
    assert [(lane["records"], lane["missing"], lane["open"]) for lane in lanes] == [(3, [], 0)]
    assert said["exchanges"] == {
        "complete": 3,
        "client_left": 0,
        "upstream_cut": 0,
        "open_now": 0,
        "uncertain": 0,
    }


def _called(served: Served) -> str:
    served.chat()
    served.chat(stream=True)
    reply = served.chat()
    assert reply.status_code == 200
    return reply.headers["x-request-id"]


def _in_ledger(path: Path, request_id: str) -> str | None:
    result = invoke("explain", path, request_id)
    assert result.exit_code == 0, result.output
    return result.output if "in the ledger, by drain" in result.output else None
