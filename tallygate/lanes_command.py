"""`tallygate lanes`: the journals on this disk, and those of hosts that are gone."""

from functools import partial
from pathlib import Path

import click

from tallygate.invocation import config_option, json_option, load_installation, run

owner_option = click.option("--owner", type=int, hidden=True, help="Pipe from the supervisor.")
given_option = click.option("--given", type=int, hidden=True, help="Configuration of a gateway.")


@click.group()
def lanes() -> None:
    """Journals of this host and of lost ones. A lane is the journal of one process life.

    \b
    Example:
      tallygate lanes list -c tallygate.yaml
    """


@lanes.command("list")
@config_option
@json_option
def list_(config_path: Path, as_json: bool) -> None:
    """Every lane on this disk, and every lane that was heard of elsewhere.

    \b
    Example:
      tallygate lanes list -c tallygate.yaml --json
    """
    from tallygate.lanes import run_list

    run(partial(run_list, load_installation(config_path), as_json=as_json))


@lanes.command()
@click.argument("path", required=False, type=click.Path(path_type=Path, exists=True))
@config_option
@click.option("--again", is_flag=True, help="Also look at lanes that the ledger held already.")
@owner_option
@given_option
def adopt(
    path: Path | None, config_path: Path, again: bool, owner: int | None, given: int | None
) -> None:
    """Count what lanes without an owner still hold. Running gateways do this by themselves.

    PATH is a lane's folder from the disk of a lost host; it is copied into this data_dir first.

    \b
    Example:
      tallygate lanes adopt /mnt/old/var/journal/4f6c… -c tallygate.yaml
    """
    from tallygate.lanes import run_adopt, run_help

    installation = load_installation(config_path, given)
    if owner is not None:
        run(partial(run_help, installation, owner, again=again))
    else:
        run(partial(run_adopt, installation, path, again=again))


@lanes.command()
@click.argument("lane")
@config_option
def forget(lane: str, config_path: Path) -> None:
    """Give up a lane whose disk is lost: it is named `lost_lane`, and no hour waits for it.

    \b
    Example:
      tallygate lanes forget 4f6c… -c tallygate.yaml
    """
    from tallygate.lanes import run_forget

    run(partial(run_forget, load_installation(config_path), lane))


@lanes.command(hidden=True)
@click.argument("lane")
@config_option
@owner_option
@given_option
def replay(lane: str, config_path: Path, owner: int | None, given: int | None) -> None:
    """Bring to Redis what it lacks of a living lane: the helper of a worker that fell behind."""
    from tallygate.lanes import run_replay

    run(partial(run_replay, load_installation(config_path, given), lane, owner))
