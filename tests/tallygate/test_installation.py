import stat
from pathlib import Path

import pytest

from metering.errors import MeteringUnavailable
from tallygate.config import parse
from tallygate.control_plane import parts_of
from tallygate.installation import Installation


def installed(folder: Path, text: str = "") -> Installation:
    return Installation(parse(text or "{}", {}, base=folder))


def test_secrets_are_those_of_the_configuration(tmp_path: Path) -> None:
    """Nothing is made where everything is given."""
    given = installed(tmp_path, "secret_key: my-secret\ncontrol: {admin_token: my-token}")
    assert (given.secret(), given.admin_token()) == (b"my-secret", "my-token")
    assert not given.data_dir.exists()


def test_secrets_that_are_not_given_are_made(tmp_path: Path) -> None:
    """Every process of the installation reads the same ones."""
    first, second = installed(tmp_path), installed(tmp_path)
    assert first.secret() == second.secret()
    assert first.admin_token() == second.admin_token() == read(tmp_path / "var" / "admin_token")


def read(path: Path) -> str:
    return path.read_text().strip()


@pytest.mark.parametrize(
    ("gateway", "told"),
    [
        ("{}", "http://127.0.0.1:8080"),
        ("{listen: '[::1]:80'}", "http://[::1]:80"),
        ("{tls: {cert: c, key: k}}", "https://127.0.0.1:8080"),
        ("{public_url: https://api.example.com}", "https://api.example.com"),
    ],
)
def test_buyers_are_told_where_to_call(tmp_path: Path, gateway: str, told: str) -> None:
    """The public URL, or else where the gateway listens, encrypted or not."""
    assert installed(tmp_path, f"gateway: {gateway}").front_end_url() == told


@pytest.mark.anyio
async def test_an_embedded_redis_that_does_not_run_is_explained(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who runs one plane alone learns who runs Valkey; loops would wait for it."""
    installation = installed(tmp_path)
    with pytest.raises(MeteringUnavailable, match=r"valkey\.sock.*`tallygate serve` runs it"):
        await installation.check_redis()
    await installation.refuse_bad_redis()
    assert caplog.messages[0].endswith("`tallygate serve` runs it; waiting for it")


@pytest.mark.anyio
async def test_a_redis_elsewhere_is_not_ours_to_run(tmp_path: Path) -> None:
    """No hint at a command that would not help."""
    with pytest.raises(MeteringUnavailable) as failure:
        await installed(tmp_path, "redis: redis://127.0.0.1:1/0").check_redis()
    assert "serve" not in str(failure.value)


@pytest.mark.anyio
async def test_a_cluster_that_is_away_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As any other Redis; the password is not told."""
    url = "redis+cluster://:hunter2@127.0.0.1:1,127.0.0.1:2"
    await installed(tmp_path, f"redis: '{url}'").refuse_bad_redis()
    assert caplog.messages[0].endswith("; waiting for it")
    assert "127.0.0.1:2" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.anyio
async def test_the_ledger_is_private(tmp_path: Path) -> None:
    """The data directory is its owner's alone."""
    async with parts_of(installed(tmp_path, "secret_key: s\ncontrol: {admin_token: t}")):
        pass
    assert stat.S_IMODE((tmp_path / "var").stat().st_mode) == 0o700
