import os
from pathlib import Path

import anyio
import httpx
import pytest

from tallygate.demo.processes import DidNotStart, running

pytestmark = pytest.mark.anyio

UPSTREAM = ("tallygate.demo.upstream", "--listen", "127.0.0.1:0")


async def answers(url: str) -> bool:
    async with httpx.AsyncClient(trust_env=False) as http:
        try:
            return (await http.get(f"{url}/_stub/totals")).status_code == 200
        except httpx.TransportError:
            return False


async def test_a_helper_runs_as_long_as_its_block() -> None:
    """Its first line says where; afterwards nobody is there."""
    async with running(*UPSTREAM) as url:
        assert await answers(url)
    assert not await answers(url)


async def test_it_ends_also_when_the_block_is_cancelled() -> None:
    """The cleaning up is not cancelled with it."""
    url = ""
    with anyio.CancelScope() as scope:
        async with running(*UPSTREAM) as url:
            scope.cancel()
            await anyio.sleep_forever()
    assert not await answers(url)


@pytest.mark.parametrize("words", [("this",), ("no.such.module",)], ids=["says no URL", "missing"])
async def test_one_that_does_not_start_is_named(
    words: tuple[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """What it had to say stands on standard error."""
    with pytest.raises(DidNotStart, match=f"^{words[0]} did not start$"):
        async with running(*words):
            pass


async def test_a_module_in_the_working_directory_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user's own files may have any name."""
    (tmp_path / "tallygate.py").write_text("print('http://hijacked')")
    monkeypatch.chdir(tmp_path)
    async with running(*UPSTREAM) as url:
        assert "hijacked" not in url


async def test_its_environment_is_ours_and_more() -> None:
    """Keys travel there, where no other user's `ps` shows them."""
    keys = {"KOO_ACCESS_KEY": "a", "KOO_AK": "b", "KOO_SK": "c"}
    before = dict(os.environ)
    serve = ("tallygate", "simulate", "serve", "--listen", "127.0.0.1:0")
    async with running(*serve, env=keys) as url:
        assert url.startswith("http://127.0.0.1:")
    assert dict(os.environ) == before
