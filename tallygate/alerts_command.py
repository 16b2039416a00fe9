"""`tallygate alerts`: packages that run short, who was told, and telling it again."""

from functools import partial
from pathlib import Path

import click

from tallygate.invocation import config_option, json_option, load_installation, run


@click.group()
def alerts() -> None:
    """Packages that passed a threshold of their quota, and the webhooks that were told.

    \b
    Example:
      tallygate alerts list --state given_up -c tallygate.yaml
    """


@alerts.command("list")
@config_option
@click.option("--customer", help="Only this customer's.")
@click.option("--package", help="Of this package only.")
@click.option(
    "--state",
    type=click.Choice(["pending", "sent", "given_up"]),
    help="Only those with a delivery in this state.",
)
@click.option("--json", "as_json", is_flag=True, help="For scripts: one JSON object a line.")
def list_(
    config_path: Path, customer: str | None, package: str | None, state: str | None, as_json: bool
) -> None:
    """Every alert in the order in which they were raised, and a line for each webhook.

    \b
    Example:
      tallygate alerts list -c tallygate.yaml --customer domain-1 --json
    """
    from billing_sync.asking import Page
    from tallygate.alerting import MOST, run_list

    page = Page(customer, package, state, None, MOST)
    run(partial(run_list, load_installation(config_path), page, as_json=as_json))


@alerts.command()
@click.argument("alert_id", nargs=-1)
@config_option
@click.option("--given-up", is_flag=True, help="Everything that was given up.")
@json_option
def retry(alert_id: tuple[str, ...], config_path: Path, given_up: bool, as_json: bool) -> None:
    """Send alerts again that were not delivered: the webhook is mended.

    They go to every webhook that is configured now and was not told. The control plane sends them within a second or two, under the same webhook-id as before.
    Exit code 1: with some there was nothing to send.

    \b
    Example:
      tallygate alerts retry --given-up -c tallygate.yaml
    """
    from tallygate.alerting import run_retry

    if bool(alert_id) == given_up:
        raise click.UsageError("name alerts by their id, or write --given-up")
    run(partial(run_retry, load_installation(config_path), alert_id, as_json=as_json))
