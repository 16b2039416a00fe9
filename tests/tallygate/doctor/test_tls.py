"""What the doctor sees of certificates."""

from pathlib import Path

from tallygate.config import parse
from tallygate.doctor.tls import look_at_tls
from tests.gateway.certificates import Authority


def states(folder: Path, cert: Path, key: Path) -> list[str]:
    text = f"control: {{tls: {{cert: {cert}, key: {key}}}}}"
    return [each.state.value for each in look_at_tls(parse(text, {}, base=folder))]


def test_certificates(tmp_path: Path) -> None:
    """A pair is in order; files that are none, or not there, are findings."""
    pair = Authority(tmp_path).certificate("meter.example.com")
    assert states(tmp_path, pair, pair) == ["ok"]
    assert states(tmp_path, pair, tmp_path / "missing.pem") == ["finding"]
    other = tmp_path / "other.pem"
    other.write_text("nonsense")
    assert states(tmp_path, pair, other) == ["finding"]
    assert list(look_at_tls(parse("", {}, base=tmp_path))) == []
