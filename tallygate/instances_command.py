"""`tallygate instances`: what was bought, and taking over what exists at KooGallery already."""

from functools import partial
from pathlib import Path

import click

from tallygate.invocation import config_option, json_option, limit_option, load_installation, run


@click.group()
def instances() -> None:
    """Instances: list them, and take over those that exist at KooGallery already.

    \b
    Example:
      tallygate instances import old.csv -c tallygate.yaml --dry-run
    """


@instances.command("list")
@config_option
@click.option("--customer", "customer_id", help="Only this one's.")
@click.option("--instance", "instance_id", help="Only this one.")
@click.option("--after", help="Only those behind the one with this id.")
@limit_option
@json_option
def list_(
    config_path: Path,
    customer_id: str | None,
    instance_id: str | None,
    after: str | None,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """Instances in the order of their ids.

    \b
    Example:
      tallygate instances list -c tallygate.yaml --customer 0d4f
    """
    from billing_sync.asking import Page
    from tallygate.instances import run_list

    page = Page(customer_id, instance_id, None, after, limit)
    run(partial(run_list, load_installation(config_path), page, as_json=as_json))


@instances.command("import")
@config_option
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "json"]),
    help="What FILE is.  [default: by its ending]",
)
@click.option("--dry-run", "dry", is_flag=True, help="Check everything, take over nothing.")
@json_option
def import_(config_path: Path, file: Path, kind: str | None, *, dry: bool, as_json: bool) -> None:
    """Take over instances that exist at KooGallery already, with what they have used so far.

    Nothing is taken over while a line is wrong. The same file again changes nothing. What was used
    before is shown to buyers and counts against packages; it is never billed.

    \b
    Example:
      tallygate instances import old.csv -c tallygate.yaml --dry-run
    """
    from tallygate.instances import run_import

    installation = load_installation(config_path)
    is_json = (kind or file.suffix.lower().lstrip(".")) == "json"
    run(partial(run_import, installation, file, is_json=is_json, dry=dry, as_json=as_json))
