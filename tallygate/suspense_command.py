"""`tallygate suspense`: usage that matched no instance, and charging it to one later."""

import uuid
from functools import partial
from pathlib import Path
from typing import Any

import click

from tallygate.invocation import config_option, json_option, limit_option, load_installation, run

from_option = click.option("--from", "first", help="Only hours from this time on (ISO 8601, UTC).")
to_option = click.option("--to", "end", help="Only hours that begin before this time.")


@click.group()
def suspense() -> None:
    """Usage that was served and charged to no instance, although its route sells a product.

    It comes from customers who called before their instance was active, or who bought something
    else. It is billed only when a person assigns it to an instance.

    \b
    Example:
      tallygate suspense list -c tallygate.yaml
    """


@suspense.command("list")
@config_option
@click.option("--customer", "customer_id", help="Only this one's.")
@click.option("--product", "product_id", help="Only of this product.")
@from_option
@to_option
@click.option("--by-hour", is_flag=True, help="A row for each hour it was used in.")
@click.option("--after", "skip", type=click.IntRange(0), default=0, help="Leave out so many rows.")
@limit_option
@json_option
def list_(config_path: Path, *, as_json: bool, **said: Any) -> None:
    """What there is by customer, product, route and meter, and what nobody has assigned.

    \b
    Example:
      tallygate suspense list -c tallygate.yaml --customer 0d4f --by-hour
    """
    from tallygate.correcting import SuspenseAsked, run_list_suspense

    asked = SuspenseAsked(**said)
    run(partial(run_list_suspense, load_installation(config_path), asked, as_json=as_json))


@suspense.command()
@config_option
@click.option("--customer", "customer_id", required=True, help="Whose usage it is.")
@click.option(
    "--instance", "instance_id", required=True, help="His pay-per-use instance that is charged."
)
@click.option(
    "--product", "product_id", help="What `list` names it for.  [default: the instance's product]"
)
@from_option
@to_option
@click.option(
    "--quantity", type=int, help="In the meter's units, the oldest first.  [default: all]"
)
@click.option("--id", help="Yours; the same one never assigns twice.  [default: a new one]")
@click.option("--author", required=True, help="Who decided it.")
@click.option("--reason", required=True, help="Why.")
@json_option
def assign(config_path: Path, *, as_json: bool, **said: Any) -> None:
    """Charge suspense to an instance of the same customer; it is billed with the present hour.

    Never more than is there. To take an assignment back, use `tallygate adjust add` with a negative
    quantity.

    \b
    Example:
      tallygate suspense assign -c tallygate.yaml --customer 0d4f --instance 87b94795 \\
          --author li.na --reason "called before the order was opened"
    """
    from billing_sync.correction_api import AssignmentBody
    from tallygate.correcting import run_assign

    body = AssignmentBody(**said | {"id": said["id"] or uuid.uuid4().hex})
    run(partial(run_assign, load_installation(config_path), body, as_json=as_json))


@suspense.command()
@config_option
@click.option("--instance", "instance_id", help="Only this one's.")
@click.option("--customer", "customer_id", help="Only this one's.")
@click.option("--after", help="Only those behind the one with this id.")
@limit_option
@json_option
def assignments(config_path: Path, *, as_json: bool, **said: Any) -> None:
    """What was assigned so far, by whom and why, in the order it was done.

    \b
    Example:
      tallygate suspense assignments -c tallygate.yaml --customer 0d4f
    """
    from billing_sync.asking import Page
    from tallygate.correcting import run_list_assignments

    page = Page(state=None, **said)
    run(partial(run_list_assignments, load_installation(config_path), page, as_json=as_json))
