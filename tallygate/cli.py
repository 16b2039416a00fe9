"""The `tallygate` command. Exit codes: 0 fine, 1 a finding or failure, 2 wrong usage.

Commands import what they need when they run, so that `--help` stays quick.
"""

import os
import socket
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tallygate.invocation import config_option, load_installation, run

if TYPE_CHECKING:
    from tallygate.planes import Sockets
    from tallygate.sharing import Share

sockets_option = click.option("--sockets", hidden=True, help="Bound sockets from the supervisor.")
owner_option = click.option("--owner", type=int, hidden=True, help="Pipe from the supervisor.")
worker_option = click.option("--worker", default=0, hidden=True, help="Which of several it is.")
name_option = click.option("--name", default="gateway", hidden=True, help="Of the announcement.")


# Commands that are not here are imported when they are asked for: a worker starts again without
# the marketplace's simulator.
ELSEWHERE: Final = {
    "adjust": "tallygate.adjust_command",
    "alerts": "tallygate.alerts_command",
    "demo": "tallygate.demo.command",
    "doctor": "tallygate.doctor.command",
    "drill": "tallygate.drills.command",
    "explain": "tallygate.reconciliation.explain_command",
    "export": "tallygate.exporting.export_command",
    "init": "tallygate.init",
    "instances": "tallygate.instances_command",
    "keys": "tallygate.keys_command",
    "lanes": "tallygate.lanes_command",
    "licences": "tallygate.licences_command",
    "links": "tallygate.links_command",
    "mappings": "tallygate.mappings_command",
    "reconcile": "tallygate.reconciliation.reconcile_command",
    "packages": "tallygate.packages_command",
    "records": "tallygate.records_command",
    "recover": "tallygate.recover",
    "simulate": "tallygate.simulator.command",
    "suspense": "tallygate.suspense_command",
    "tenants": "tallygate.tenants_command",
    "top": "tallygate.top.top_command",
    "whatif": "tallygate.whatif.whatif_command",
}


class Commands(click.Group):
    """The commands of this file, and those of other files by their own names."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of `--help`."""
        return sorted({*super().list_commands(ctx), *ELSEWHERE})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name; None when there is none."""
        if cmd_name not in ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        found: click.Command = getattr(import_module(ELSEWHERE[cmd_name]), cmd_name)
        return found


def is_compiled() -> bool:
    """Whether the way of a call runs as machine code (setup.py)."""
    spec = find_spec("gateway.express")
    return spec is not None and not str(spec.origin).endswith(".py")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(
    package_name="tallygate",
    prog_name="tallygate",
    message=f"%(prog)s, version %(version)s{' (compiled)' if is_compiled() else ''}",
)
def cli() -> None:
    """An exact metering gateway for pay-per-use APIs sold on KooGallery.

    \b
    Example:
      tallygate init
      tallygate serve
    """


@cli.command()
@config_option
def serve(config_path: Path) -> None:
    """Run everything: Valkey if embedded, control plane, gateway.

    \b
    Example:
      tallygate serve -c tallygate.yaml
    """
    from tallygate.serve import supervise

    installation = load_installation(config_path)
    run(partial(supervise, installation, config_path, _say_urls))


@cli.command()
@config_option
@sockets_option
@owner_option
@name_option
@worker_option
def gateway(
    config_path: Path, sockets: str | None, owner: int | None, name: str, worker: int
) -> None:
    """Run the data plane alone: what customers call.

    It is one worker, whatever gateway.workers says; `tallygate serve` runs them all.

    \b
    Example:
      tallygate gateway -c tallygate.yaml
    """
    from tallygate.data_plane import Means, run_gateway

    installation = load_installation(config_path, _given(sockets), name)
    section = installation.config.gateway
    bound = _sockets(sockets, section.listen, section.admin_listen)
    share = _share(sockets, worker)
    means = Means(owner, name, _given(sockets), share)
    run(partial(run_gateway, installation, bound, config_path, means))


@cli.command()
@config_option
@sockets_option
@owner_option
def control(config_path: Path, sockets: str | None, owner: int | None) -> None:
    """Run the control plane alone: callbacks, ledger, push, API.

    \b
    Example:
      tallygate control -c tallygate.yaml
    """
    from tallygate.control_plane import run_control

    installation = load_installation(config_path, _given(sockets))
    section = installation.config.control
    bound = _sockets(sockets, section.listen, section.admin_listen)
    run(partial(run_control, installation, bound, owner, config_path))


@cli.group()
def sync() -> None:
    """Drain, close, deduct and push without waiting for the control plane.

    \b
    Example:
      tallygate sync once -c tallygate.yaml
    """


@sync.command()
@config_option
@click.option("--close-now", is_flag=True, help="Also record the open hour up to this second.")
def once(config_path: Path, close_now: bool) -> None:
    """One sync run; safe beside a running control plane and at any time.

    \b
    Example:
      tallygate sync once -c tallygate.yaml
    """
    from tallygate.sync import run_once

    run(partial(run_once, load_installation(config_path), close_now=close_now))


@sync.command()
@config_option
def loop(config_path: Path) -> None:
    """Sync runs until stopped, without callbacks or API.

    \b
    Example:
      tallygate sync loop -c tallygate.yaml
    """
    from tallygate.sync import run_loop

    run(partial(run_loop, load_installation(config_path)))


def main() -> None:
    """The entry point of the `tallygate` script."""
    cli(prog_name="tallygate")


def _sockets(handed: str | None, public: str, admin: str) -> "Sockets":
    from tallygate.planes import Sockets, bind_plane

    try:
        return bind_plane(public, admin) if handed is None else Sockets(*_taken_over(handed))
    except OSError as problem:
        raise click.ClickException(str(problem)) from None


def _given(handed: str | None) -> int | None:
    """The configuration's handle stands behind the sockets."""
    return None if handed is None else int(handed.split(",")[2])


def _share(handed: str | None, worker: int) -> "Share | None":
    """Of the memory that stands last, where there are several workers."""
    from tallygate.sharing import Share

    board = (handed or "").split(",")[3:]
    return Share(int(board[0]), worker) if board else None


def _taken_over(handed: str) -> Iterator[socket.socket]:
    for handle in map(int, handed.split(",")[:2]):
        os.set_inheritable(handle, False)  # a helper of ours must not keep the address
        yield socket.socket(fileno=handle)


def _say_urls(urls: dict[str, str]) -> None:
    admins = [url for name, url in urls.items() if name.startswith("gateway") and "_admin" in name]
    click.echo(f"gateway  {urls['gateway']}   (admin {' '.join(admins)})")
    click.echo(f"control  {urls['control']}   (API   {urls['control_admin']})")
