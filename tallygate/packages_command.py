"""`tallygate packages`: what customers bought ahead, and what is left of it."""

from functools import partial
from pathlib import Path

import click

from tallygate.invocation import config_option, load_installation, run


@click.group()
def packages() -> None:
    """Prepaid packages: quota, used, left, lapsed, overshoot.

    \b
    Example:
      tallygate packages list -c tallygate.yaml
    """


@packages.command("list")
@config_option
@click.option("--customer", help="Only this customer's.")
@click.option("--json", "as_json", is_flag=True, help="For scripts: one JSON object a line.")
def list_(config_path: Path, customer: str | None, as_json: bool) -> None:
    """Every package, a line for each billing item it is for; in billing units.

    What has been counted and not yet been drained into the ledger is not deducted yet.

    \b
    Example:
      tallygate packages list -c tallygate.yaml --customer domain-1 --json
    """
    from tallygate.packages_listing import run_list

    run(partial(run_list, load_installation(config_path), customer=customer, as_json=as_json))
