"""The sample maker and the verifier of docs/, as programs of their own."""

import base64
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from billing_sync.licence_makers import function_of
from billing_sync.licences import LicenceFile, LicenceRequest
from tallygate import sample_licences
from tallygate.licences_command import licences

ROOT = Path(__file__).parents[2]
NOW = datetime.now(UTC).replace(microsecond=0)  # noqa: TID251  (the verifier looks at the real clock)


Verdict = tuple[int, str]


class Seller:
    """A key pair in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.key = folder, folder / "key.pem"
        self.public = sample_licences.make_key(self.key)

    def verify(self, licence: bytes, *fingerprint: str, public: Path | None = None) -> Verdict:
        """What the verifier says; it imports nothing of ours."""
        file = self.folder / "a.lic"
        file.write_bytes(licence)
        words = [str(public or self.public), str(file), *fingerprint]
        script = str(ROOT / "docs" / "verify_licence.py")
        done = subprocess.run(
            [sys.executable, "-I", script, *words],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def seller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Seller:
    made = Seller(tmp_path)
    monkeypatch.setenv(sample_licences.VARIABLE, str(made.key))
    return made


def made(**fields: object) -> LicenceFile:
    """A licence, from the function that a configuration names."""
    known: dict[str, object] = {
        "id": "lic_1",
        "event_id": "e",
        "instance_id": "i",
        "product_id": "LIC",
        "order_id": "o",
        "order_line_id": "o-1",
        "customer_id": "买家-1",
        "customer_name": "Name",
        "charging_mode": "PERIOD",
        "quantity": 3,
        "effective": NOW - timedelta(days=1),
        "expires": NOW + timedelta(days=1),
        "fingerprint": "mac-1",
    }
    request = LicenceRequest(**(known | fields))  # type: ignore[arg-type]  # by name
    licence: LicenceFile = function_of("tallygate.sample_licences:make")(request)
    return licence


def test_a_real_licence_is_accepted(seller: Seller) -> None:
    """On its device, and it says what was bought; the same request gives the same bytes."""
    licence = made()
    assert licence.name == "lic_1.lic"
    code, text = seller.verify(licence.content, "mac-1")
    assert code == 0, text
    said = json.loads(text)
    assert (said["customer"], said["quantity"], said["product"]) == ("买家-1", 3, "LIC")
    assert made() == licence


def test_a_licence_for_any_device_and_for_ever(seller: Seller) -> None:
    """Without fingerprint and expiry."""
    assert seller.verify(made(fingerprint="", expires=None).content)[0] == 0


@pytest.mark.parametrize(
    ("fields", "fingerprint", "reason"),
    [
        ({}, "mac-2", "for another device"),
        ({}, "", "for another device"),
        ({"expires": NOW - timedelta(seconds=1)}, "mac-1", "expired"),
        ({"effective": NOW + timedelta(hours=1)}, "mac-1", "not valid before"),
    ],
)
def test_what_does_not_fit(
    seller: Seller, fields: dict[str, object], fingerprint: str, reason: str
) -> None:
    """Another device, or another time."""
    code, text = seller.verify(made(**fields).content, fingerprint)
    assert (code, reason in text) == (1, True), text


def test_every_change_is_found(seller: Seller) -> None:
    """Of what it says, of the signature, of its form; a line end more is none."""
    payload, signature = made().content.split()
    said = json.loads(base64.b64decode(payload))
    more = base64.b64encode(json.dumps(said | {"quantity": 300}).encode())
    changed = [
        more + b"\n" + signature,
        payload + b"\n" + base64.b64encode(bytes(64)),
        b"\xff\xfe",
        payload[:-4] + b"\n" + signature,
    ]
    for licence in changed:
        code, text = seller.verify(licence, "mac-1")
        assert (code, text[:8]) == (1, "invalid:"), text
    assert seller.verify(payload + b"\r\n" + signature, "mac-1")[0] == 0


def test_another_sellers_key(seller: Seller, tmp_path: Path) -> None:
    """Accepts nothing of ours."""
    other = sample_licences.make_key(tmp_path / "other.pem")
    code, text = seller.verify(made().content, "mac-1", public=other)
    assert (code, "not signed with this key" in text) == (1, True)


def test_making_a_key_pair(tmp_path: Path) -> None:
    """The private key is its owner's alone, and never overwritten."""
    path = tmp_path / "k.pem"
    result = CliRunner().invoke(licences, ["make-key", str(path)])
    assert result.exit_code == 0, result.output
    assert f"export TALLYGATE_LICENCE_KEY={path}" in result.output
    assert path.stat().st_mode & 0o777 == 0o600
    assert "PUBLIC KEY" in path.with_name("k.pem.pub").read_text()
    before = path.read_bytes()
    assert CliRunner().invoke(licences, ["make-key", str(path)]).exit_code == 2
    path.with_name("k.pem.pub").unlink()
    again = CliRunner().invoke(licences, ["make-key", str(path)])
    assert (again.exit_code, path.read_bytes()) == (2, before)


def test_without_its_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The maker fails, and is asked again once it is there."""
    monkeypatch.delenv(sample_licences.VARIABLE, raising=False)
    with pytest.raises(RuntimeError, match=sample_licences.VARIABLE):
        made()
    monkeypatch.setenv(sample_licences.VARIABLE, str(tmp_path / "none.pem"))
    with pytest.raises(FileNotFoundError):
        made()
