"""`tallygate adjust`: a person adds to what an instance is billed, or takes from it."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from tallygate.invocation import config_option, json_option, limit_option, load_installation, run


@click.group()
def adjust() -> None:
    """Add to what an instance is billed, or take from it, with author and reason.

    An adjustment is netted into the instance's next usage records: what is below zero waits until
    usage covers it, for the marketplace takes no negative record. Adjustments are never changed or
    deleted: to take one back, add another with the opposite sign under a new id.

    \b
    Example:
      tallygate adjust add -c tallygate.yaml --instance 87b94795 --quantity -5000 \\
          --id ticket-4711 --author li.na --reason "test traffic of 3 May"
    """


@adjust.command()
@config_option
@click.option("--instance", "instance_id", required=True, help="The pay-per-use instance.")
@click.option("--quantity", type=int, help="In the meter's units; below zero takes away.")
@click.option("--value", help="In billing units instead, at most four decimals.")
@click.option("--id", required=True, help="Yours; the same one never adjusts twice.")
@click.option("--author", required=True, help="Who decided it.")
@click.option("--reason", required=True, help="Why.")
@json_option
def add(config_path: Path, *, as_json: bool, **said: Any) -> None:
    """Adjust an instance; safe beside a running control plane, and to repeat under the same id.

    To take an adjustment back, add another with the opposite sign under a new id.

    \b
    Example:
      tallygate adjust add -c tallygate.yaml --instance 87b94795 --value=-1.5 \\
          --id ticket-4711 --author li.na --reason "test traffic of 3 May"
    """
    from billing_sync.correction_api import AdjustmentBody
    from tallygate.correcting import run_adjust

    body = AdjustmentBody(**said)
    run(partial(run_adjust, load_installation(config_path), body, as_json=as_json))


@adjust.command("list")
@config_option
@click.option("--instance", "instance_id", help="Only this one's.")
@click.option("--customer", "customer_id", help="Only this one's.")
@click.option("--after", help="Only those behind the one with this id.")
@limit_option
@json_option
def list_(config_path: Path, *, as_json: bool, **said: Any) -> None:
    """Every adjustment, in the order they were made.

    \b
    Example:
      tallygate adjust list -c tallygate.yaml --instance 87b94795
    """
    from billing_sync.asking import Page
    from tallygate.correcting import run_list_adjustments

    page = Page(state=None, **said)
    run(partial(run_list_adjustments, load_installation(config_path), page, as_json=as_json))
