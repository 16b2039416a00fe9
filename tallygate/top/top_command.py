"""`tallygate top`: what a running installation does, looked at from its host."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import click

from tallygate.invocation import config_option, json_option, load_installation, run

if TYPE_CHECKING:
    from rich.console import Console

    from tallygate.installation import Installation
    from tallygate.top.view import View


@click.command()
@config_option
@click.option(
    "--every", type=click.FloatRange(0.2, 60), default=2.0, show_default=True, help="Seconds."
)
@click.option("--once", is_flag=True, help="Print it once and end.")
@json_option
def top(config_path: Path, *, every: float, once: bool, as_json: bool) -> None:
    """Calls, tokens, lags, records and the busiest customers, as they are now.

    Reads what `tallygate serve` on this host shows on its admin listeners, and changes nothing.
    Without a terminal it prints once; with --json one object a line. Ctrl-C ends it.

    \b
    Example:
      tallygate top -c tallygate.yaml --once
    """
    from tallygate.planes import somebody_announced

    installation = load_installation(config_path)
    if not somebody_announced(installation):
        raise click.ClickException(
            f"nothing runs in {installation.data_dir}; start it with `tallygate serve`"
        )
    run(partial(_look, installation, every, once=once, as_json=as_json))


async def _look(installation: "Installation", every: float, *, once: bool, as_json: bool) -> None:
    from rich.console import Console

    from tallygate.stopping import told_to_stop

    console = Console()
    drawing = console.is_terminal and not (once or as_json)
    async with told_to_stop() as stop, anyio.create_task_group() as group:

        async def end() -> None:
            await stop.told.wait()
            group.cancel_scope.cancel()

        group.start_soon(end)
        async with aclosing(_views(installation, every)) as views:
            if drawing:
                await _draw(views, console)
            else:
                await _print(views, once=once or not as_json, as_json=as_json)
        group.cancel_scope.cancel()


async def _views(installation: "Installation", every: float) -> "AsyncGenerator[View]":
    from metering.clock import SystemClock
    from tallygate.top.asking import ask, new_client
    from tallygate.top.view import view

    clock = SystemClock()
    async with new_client() as http:
        before = await ask(http, installation, clock)
        while True:
            await anyio.sleep(every)
            now = await ask(http, installation, clock)
            yield view(before, now)
            before = now


async def _draw(views: "AsyncIterator[View]", console: "Console") -> None:
    from rich.live import Live

    from tallygate.top.showing import drawn

    with Live(console=console, screen=True, auto_refresh=False) as live:
        async for each in views:
            live.update(drawn(each), refresh=True)


async def _print(views: "AsyncIterator[View]", *, once: bool, as_json: bool) -> None:
    from tallygate.top.showing import plain

    async for each in views:
        click.echo(json.dumps(each.as_json()) if as_json else "\n".join(plain(each)))
        if once:
            return
