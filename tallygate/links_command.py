"""`tallygate links`: links to customers' own pages."""

from functools import partial
from pathlib import Path

import click

from tallygate.invocation import config_option, json_option, load_installation, run


@click.group()
def links() -> None:
    """Links to customers' own usage pages: make, revoke.

    Whoever holds a link sees the page until it ends or is revoked; it is not stored. KooGallery is
    told links of its own, one for each instance.

    \b
    Example:
      tallygate links create cust-1 -c tallygate.yaml --expires 7d
    """


@links.command()
@config_option
@click.argument("customer_id", metavar="CUSTOMER")
@click.option("--instance", "instance_id", default="", help="Only this one and what belongs to it.")
@click.option(
    "--expires",
    metavar="WHEN",
    help="Such as 7d or 2027-01-31T00:00:00Z; with --instance also never.  [default: control.links.expires]",
)
@json_option
def create(
    config_path: Path, customer_id: str, instance_id: str, expires: str | None, *, as_json: bool
) -> None:
    """Make a link to the page of CUSTOMER, and print it.

    \b
    Example:
      tallygate links create cust-1 -c tallygate.yaml --instance inst-1 --expires 30d
    """
    from tallygate.links import run_create

    installation = load_installation(config_path)
    run(
        partial(run_create, installation, customer_id, instance_id, expires, as_json=as_json),
    )


@links.command()
@config_option
@click.argument("customer_id", metavar="CUSTOMER")
@json_option
def revoke(config_path: Path, customer_id: str, *, as_json: bool) -> None:
    """Let no link of CUSTOMER that was made until now open anything any more.

    The links that KooGallery holds end too; it is told new ones when it asks next.

    \b
    Example:
      tallygate links revoke cust-1 -c tallygate.yaml
    """
    from tallygate.links import run_revoke

    run(partial(run_revoke, load_installation(config_path), customer_id, as_json=as_json))
