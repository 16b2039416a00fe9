"""Runs a soak: a whole installation with one worker, its origin, its customers, and the judgement."""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click
import httpx
import uvloop
import yaml

from loadtests.serving import first_line, process
from loadtests.soak.customers import Account, call_on
from loadtests.soak.judging import Level, compare, level_of, problems_of
from tallygate.drills.configuration import callers, throw_away

_START_S: Final = 60.0
_QUIET_S: Final = 60.0
_IDLE_S: Final = 5.0  # longer than connections to the origin are kept
_WARM_UP: Final = 0.2  # of the requests: what is made once is there then


class Soak:
    """One run in `folder`."""

    def __init__(
        self, folder: Path, requests: int, connections: int, seed: int, idle_s: float = _IDLE_S
    ) -> None:
        self._folder, self._idle_s = folder, idle_s
        self._requests, self._connections, self._seed = requests, connections, seed
        self._books = folder / "answered"
        self.ended: dict[str, int] = {}
        self.levels: list[Level] = []

    def run(self) -> list[str]:
        """What was found wrong; empty when nothing was."""
        words = ["--books", str(self._books), "--seed", str(self._seed)]
        with process("loadtests.soak.origin", *words, log=self._folder / "origin.log") as origin:
            config = self._folder / "tallygate.yaml"
            written = throw_away(None, first_line(origin), {"gateway": {"workers": 1}})
            config.write_text(yaml.safe_dump(written))
            serve = ["tallygate", "serve", "-c", str(config)]
            with process(*serve, log=self._folder / "serve.log") as served:
                if not first_line(served):
                    raise click.ClickException((self._folder / "serve.log").read_text())
                shown, capped = uvloop.run(self._load(json.loads(self._announcement.read_text())))
        compared = compare(self._books, self._folder / "var" / "journal")
        click.echo(f"{compared.answered} answered, {compared.recorded} recorded")
        before, after = self.levels
        return problems_of(compared, before, after, shown, capped)

    @property
    def _announcement(self) -> Path:
        return self._folder / "var" / "run" / "gateway.json"

    async def _load(self, worker: dict[str, Any]) -> tuple[dict[str, Any], float]:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
            warm = max(int(self._requests * _WARM_UP), 1)
            for requests in (warm, self._requests - warm):
                await self._turn(worker, requests)
                await _quiet(http, worker["admin"], self._idle_s)
                self.levels.append(level_of(worker["pid"]))
                level = self.levels[-1]
                click.echo(f"{requests:>9} requests; {level.anonymous >> 10} KiB anonymous, {level.handles} files")  # fmt: skip
            shown = (await http.get(f"{worker['admin']}/-/journal")).json()
            return shown, await _metric(http, worker["admin"], "gateway_drains_capped_total")

    async def _turn(self, worker: dict[str, Any], requests: int) -> None:
        url, who = urlsplit(worker["public"]), callers(None)
        account = Account(requests)
        address = (url.hostname or "", url.port or 0)
        async with asyncio.TaskGroup() as group:
            for n in range(self._connections):
                seed = self._seed * 1_000_003 + len(self.levels) * 1009 + n
                keys = [caller.key for caller in who]
                group.create_task(call_on(address, account, who[0].path, keys, seed))
        for end, number in account.ended.items():
            self.ended[end] = self.ended.get(end, 0) + number


async def _quiet(http: httpx.AsyncClient, admin: str, idle_s: float) -> None:
    """Return when no exchange is open, all is flushed, and what is idle was closed."""

    async def over() -> bool:
        shown = (await http.get(f"{admin}/-/journal")).json()
        return not shown["open_requests"] and not shown["backlog"]

    await _until(over)
    await asyncio.sleep(idle_s)
    await _until(over)


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    end = time.monotonic() + _QUIET_S
    while time.monotonic() < end and not await condition():  # noqa: ASYNC110  (a process)
        await asyncio.sleep(0.1)


async def _metric(http: httpx.AsyncClient, admin: str, name: str) -> float:
    for line in (await http.get(f"{admin}/-/metrics?of=worker")).text.splitlines():
        if line.startswith(name):
            with suppress(ValueError):
                return float(line.rsplit(" ", 1)[1])
    return 0.0


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--requests", default=1_000_000, show_default=True)
@click.option("--connections", default=32, show_default=True, help="Half of the drains at once.")
@click.option("--seed", default=1, show_default=True)
@click.option("--keep", type=click.Path(path_type=Path), help="A folder to keep everything in.")
def main(requests: int, connections: int, seed: int, keep: Path | None) -> None:
    """Many requests through one worker, with leaving clients, cuts and pauses; then the books.

    \b
    Example:
      python -m loadtests.soak --requests 50000
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = (keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        soak = Soak(folder, requests, connections, seed)
        problems = soak.run()
        ends = ", ".join(f"{end} {number}" for end, number in sorted(soak.ended.items()))
        click.echo(f"customers: {ends}")
        click.echo(f"{time.monotonic() - began:.0f} s")
    for problem in problems:
        click.echo(f"PROBLEM: {problem}", err=True)
    sys.exit(1 if problems else 0)
