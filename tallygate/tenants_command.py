"""`tallygate tenants`: whose people the marketplace told of."""

from functools import partial
from pathlib import Path

import click

from tallygate.invocation import config_option, load_installation, run


@click.group()
def tenants() -> None:
    """Tenants of the joint-operation Kit: enterprises whose people may sign in.

    \b
    Example:
      tallygate tenants list -c tallygate.yaml
    """


@tenants.command("list")
@config_option
@click.option("--instance", help="Only this instance's.")
@click.option("--json", "as_json", is_flag=True, help="For scripts: one JSON object a line.")
def list_(config_path: Path, instance: str | None, as_json: bool) -> None:
    """Every tenant with its applications, and how many people and organisations it has.

    \b
    Example:
      tallygate tenants list -c tallygate.yaml --json
    """
    from tallygate.tenants import run_list

    run(partial(run_list, load_installation(config_path), instance=instance, as_json=as_json))
