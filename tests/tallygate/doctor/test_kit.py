"""`tallygate doctor` with License and the Kit: what is played, what is left out, what is named."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tallygate.cli import cli
from tests.tallygate.doctor.kit_served import serving_kit
from tests.tallygate.simulator.kit_merchant import KIT_KEY, PRIVATE_PEM, PUBLIC_PEM, Call
from tests.tallygate.simulator.stage import KEY

KIT = ("--version", "Kit V2", "--version", "Kit V1", "--version", "License")


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both keys, and no configuration."""
    monkeypatch.setenv("KOO_ACCESS_KEY", KEY)
    monkeypatch.setenv("KOO_KIT_KEY", KIT_KEY)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "public.pem").write_bytes(PUBLIC_PEM)
    (tmp_path / "private.pem").write_bytes(PRIVATE_PEM)
    return tmp_path


def doctor(*words: str) -> Result:
    return CliRunner().invoke(cli, ["doctor", *words])


def report(*words: str) -> tuple[dict[str, Any], int]:
    result = doctor("--json", *words)
    assert result.output.startswith("{"), result.output
    said: dict[str, Any] = json.loads(result.output)
    return said, result.exit_code


def test_a_good_merchant(environment: Path) -> None:
    """Every sync and every activity of License, and nothing to mend."""
    with serving_kit() as url:
        said, code = report("--url", url, "--public-key", "public.pem", *KIT)
    assert [case for case in said["cases"] if case["findings"]] == []
    assert code == 0
    played = {(case["version"], case["activity"]) for case in said["cases"]}
    for version in ("Kit V2", "Kit V1"):
        for name in ("tenantSync", "applicationSync", "authSync", "singleOrgSync", "allOrgSync"):
            assert (version, name) in played
    assert ("License", "getLicenseAsync") in played
    assert KIT_KEY not in json.dumps(said)


def test_planted_defects_are_named(environment: Path) -> None:
    """A merchant who refuses a second delete, takes forged syncs, and 501 users."""
    deleted: set[str] = set()

    def spoil(call: Call) -> None:
        if call.code in ("000001", "000002") and call.name == "authSync":
            call.code = "000000"
        if call.code == "000000" and call.body.get("flag") == 0:
            key = call.version + call.name
            call.code = "000003" if key in deleted else "000000"
            deleted.add(key)

    with serving_kit(spoil) as url:
        result = doctor("--url", url, "--version", "Kit V2")
    assert result.exit_code == 1
    assert "production interface returned an error: 000003" in result.output
    assert "Kit V2 tenantSync delete (again" in result.output
    assert "answered 000000, must be 000001" in result.output
    assert "Kit V2 authSync wrong x-sign (once)" in result.output
    assert "501 users" in result.output


def test_what_is_left_out_is_named(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As notes: a merchant need not sell everything."""
    with serving_kit() as url:
        said, code = report("--url", url, "--version", "Kit V2")
        assert code == 0
        notes = " ".join(check["text"] for check in said["checks"])
        assert "applicationSync is left out" in notes
        assert "applicationSync" not in {case["activity"] for case in said["cases"]}
        monkeypatch.delenv("KOO_KIT_KEY")
        said, code = report("--url", url, "--version", "Kit V2", "--version", "Kit V1")
    notes = " ".join(check["text"] for check in said["checks"])
    assert "Kit V2, Kit V1 are left out: koogallery.kit_key is not set" in notes
    assert (said["cases"], code) == ([], 0)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("private.pem", "no PEM file of a public key"),
        ("missing.pem", "cannot be read"),
    ],
)
def test_a_wrong_public_key(environment: Path, name: str, said: str) -> None:
    """One line, exit code 2."""
    result = doctor("--url", "http://127.0.0.1:1", "--public-key", name)
    assert result.exit_code == 2
    assert said in result.output
