"""`tallygate keys`: customers' API keys."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from tallygate.invocation import config_option, json_option, limit_option, load_installation, run

expires_option = click.option(
    "--expires", help="Such as 90d, 2027-01-31T00:00:00Z, or never.", metavar="WHEN"
)


@click.group()
def keys() -> None:
    """Customers' API keys: make, list, rotate, revoke.

    A key is shown when it is made and never again: only a keyed hash of it is kept, and of keys that
    buyers find in their console an encrypted copy. Safe beside a running control plane; gateways
    hear of a change within a second.

    \b
    Example:
      tallygate keys create -c tallygate.yaml --customer cust-1 --name laptop --expires 90d
    """


@keys.command()
@config_option
@click.option("--customer", "customer_id", required=True, help="Whose key it will be.")
@click.option("--name", default="", help="For people, such as what it is used by.")
@expires_option
@click.option("--route", "routes", multiple=True, help="Only for this one; may be repeated.")
@click.option("--deliver", is_flag=True, help="The buyer finds it in his console, in appInfo.")
@json_option
def create(config_path: Path, *, routes: tuple[str, ...], as_json: bool, **said: Any) -> None:
    """Make a further key for a customer, and print it.

    \b
    Example:
      tallygate keys create -c tallygate.yaml --customer cust-1 --route chat
    """
    from tallygate.keys import run_create

    run(partial(run_create, load_installation(config_path), said, routes, as_json=as_json))


@keys.command("list")
@config_option
@click.option("--customer", help="Only this one's.")
@click.option("--after", type=click.IntRange(0), help="Only those behind the one with this id.")
@limit_option
@json_option
def list_(config_path: Path, *, as_json: bool, **said: Any) -> None:
    """Every key in the order they were made, then those of the configuration.

    `last used` is right within ten seconds. A key that is `replaced` is good until it expires.

    \b
    Example:
      tallygate keys list -c tallygate.yaml --customer cust-1
    """
    from tallygate.keys import run_list

    run(partial(run_list, load_installation(config_path), as_json=as_json, **said))


@keys.command()
@config_option
@click.argument("key_id", metavar="ID")
@click.option(
    "--overlap", default="24h", show_default=True, help="How long the old one is still good."
)
@click.option(
    "--expires", metavar="WHEN", help="Of the new one, as in `create`.  [default: as the old one]"
)
@json_option
def rotate(
    config_path: Path, key_id: str, overlap: str, expires: str | None, *, as_json: bool
) -> None:
    """Make a key in place of another one, and print it.

    It has the old one's name and routes. Where buyers find the old one in their console, they find
    the new one there from now on.

    \b
    Example:
      tallygate keys rotate 7 -c tallygate.yaml --overlap 90m
    """
    from tallygate.keys import run_rotate

    installation = load_installation(config_path)
    run(partial(run_rotate, installation, key_id, overlap, expires, as_json=as_json))


@keys.command()
@config_option
@click.argument("key_id", metavar="ID")
@json_option
def revoke(config_path: Path, key_id: str, *, as_json: bool) -> None:
    """Let nobody in with this key any more; a second time changes nothing.

    \b
    Example:
      tallygate keys revoke 7 -c tallygate.yaml
    """
    from tallygate.keys import run_revoke

    run(partial(run_revoke, load_installation(config_path), key_id, as_json=as_json))
