"""`tallygate mappings`: product ids that are not configured."""

from functools import partial
from pathlib import Path

import click

from tallygate.invocation import config_option, json_option, load_installation, run


@click.group()
def mappings() -> None:
    """What product ids that are not in `products:` are metered as.

    KooGallery may sell under an id that nobody configured, such as a new billing period of a product.
    Such an order is accepted; until its id is configured or mapped, nothing can be charged to it.

    \b
    Example:
      tallygate mappings list -c tallygate.yaml
    """


@mappings.command("list")
@config_option
@json_option
def list_(config_path: Path, *, as_json: bool) -> None:
    """Mappings, and ids that were sold and lack one. Exit code 1 if there are such.

    \b
    Example:
      tallygate mappings list -c tallygate.yaml --json
    """
    from tallygate.mappings import run_list

    run(partial(run_list, load_installation(config_path), as_json=as_json))


@mappings.command("set")
@config_option
@click.argument("product_id", metavar="ID")
@click.argument("mapped_to", metavar="PRODUCT")
@click.option("--author", required=True, help="Who decided it.")
@json_option
def set_(config_path: Path, product_id: str, mapped_to: str, author: str, *, as_json: bool) -> None:
    """Meter what is sold under ID as PRODUCT of the configuration.

    Orders to come, and instances and renewals that wait under ID.

    \b
    Example:
      tallygate mappings set OFFI-YEAR OFFI0001 -c tallygate.yaml --author li.na
    """
    from tallygate.mappings import run_set

    installation = load_installation(config_path)
    run(partial(run_set, installation, product_id, mapped_to, author, as_json=as_json))


@mappings.command()
@config_option
@click.argument("product_id", metavar="ID")
@json_option
def remove(config_path: Path, product_id: str, *, as_json: bool) -> None:
    """Forget a mapping for orders to come; instances that are metered by it stay so.

    \b
    Example:
      tallygate mappings remove OFFI-YEAR -c tallygate.yaml
    """
    from tallygate.mappings import run_remove

    run(partial(run_remove, load_installation(config_path), product_id, as_json=as_json))
