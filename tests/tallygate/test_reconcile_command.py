import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tallygate.config import load
from tallygate.demo.upstream import StubUpstream
from tallygate.reconciliation.explain_command import explain
from tallygate.reconciliation.reconcile_command import reconcile
from tallygate.reconciliation.report_signing import private_key, public_text, sign
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
        ("reconcile", "--date", "2026-01-01"),
        ("reconcile", "--out", "."),
        ("reconcile", "--public-key", "x"),
        ("reconcile", "--daily", "--sdr", "tallygate.yaml"),
        ("reconcile", "--sdr", "nothing.csv"),
        ("reconcile", "--daily", "--date", "today"),
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
        _checked_by_files(path)
    lanes = said["lanes"]
    assert isinstance(lanes, list)
    assert [(lane["records"], lane["missing"], lane["open"]) for lane in lanes] == [(3, [], 0)]
    assert said["exchanges"] == {
        "complete": 3,
        "client_left": 0,
        "upstream_cut": 0,
        "stopped": 0,
        "open_now": 0,
        "uncertain": 0,
    }


def _checked_by_files(path: Path) -> None:
    """Against the marketplace's list, and in a signed report."""
    listed = path.with_name("list.csv")
    listed.write_text("metering_sn,usage_value\nnobody's,1\n")
    result = invoke("reconcile", path, "--sdr", str(listed), "--json")
    assert result.exit_code == 1, result.output
    (finding,) = json.loads(result.stdout)["sdr"]["findings"]
    assert (finding["kind"], finding["line"]) == ("unknown", 2)
    text = invoke("reconcile", path, "--sdr", str(listed)).output
    assert text.endswith("NOT EXACT: the marketplace's list and ours differ\n")
    listed.write_text("a,b\n")
    result = invoke("reconcile", path, "--sdr", str(listed))
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert "no header names its columns" in result.output
    result = invoke("reconcile", path, "--daily")
    assert (result.exit_code, "no day lacks its report" in result.output) == (0, True)
    result = invoke("reconcile", path, "--daily", "--date", "2100-01-01")
    assert (result.exit_code, "2100-01-01 is not closed yet" in result.output) == (1, True)


def test_a_signature_is_checked(tmp_path: Path) -> None:
    """With the installation's own key, or with the one that is given: then without an installation."""
    path = write(tmp_path, configuration(NOBODY))
    report = tmp_path / "reconciliation-2026-01-31.json"
    report.write_text("{}")
    result = invoke("reconcile", path, "--verify", str(report))
    assert (result.exit_code, "there is no such file" in result.output) == (1, True)
    key = private_key(load(path, {}).data_dir)
    signature = sign(key, report.name, hashlib.sha256(b"{}").hexdigest())
    report.with_name(f"{report.name}.sig").write_bytes(signature)
    result = invoke("reconcile", path, "--verify", str(report))
    assert (result.exit_code, public_text(key) in result.output) == (0, True)
    trusting = ("--verify", str(report), "--public-key", public_text(key))
    assert invoke("reconcile", tmp_path / "none.yaml", *trusting).exit_code == 0
    report.write_text("{ }")
    result = invoke("reconcile", path, "--verify", str(report))
    assert (result.exit_code, "changed after it was signed" in result.output) == (1, True)


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
