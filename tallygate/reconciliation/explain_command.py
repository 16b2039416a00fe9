"""`tallygate explain`: from a request to its usage records, and from a usage record to its requests."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tallygate.invocation import config_option, load_installation, run

if TYPE_CHECKING:
    from tallygate.installation import Installation


@click.command()
@click.argument("record_or_request_id")
@config_option
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.option(
    "--limit",
    type=click.IntRange(0, 1_000_000),
    default=50,
    show_default=True,
    help="Name at most so many requests behind a usage record.",
)
def explain(record_or_request_id: str, config_path: Path, *, as_json: bool, limit: int) -> None:
    """Show what became of a request, or what is behind a usage record (its metering_sn).

    Journals are searched on this disk, the audit trail included. Exit 1 for an unknown id.

    \b
    Example:
      tallygate explain 0b7a2f6e-7c1d-4a53-9f0e-6d1c5f1f3a2b -c tallygate.yaml
    """
    from tallygate.invocation import Misused

    asked = record_or_request_id
    if not asked or len(asked) > 256 or not asked.isascii() or not asked.isprintable():
        raise Misused("an id is 1 to 256 printable ASCII characters")
    installation = load_installation(config_path)
    run(partial(_explain, installation, asked, limit=limit, as_json=as_json))


async def _explain(installation: "Installation", asked: str, *, limit: int, as_json: bool) -> None:
    from tallygate.reconciliation import explain_json, explain_showing
    from tallygate.reconciliation.from_record import explain_record
    from tallygate.reconciliation.from_request import explain_request
    from tallygate.reconciliation.opening import opened

    async with opened(installation) as stores:
        record = await explain_record(stores, asked, limit)
        if record is not None:
            document, lines = explain_json.explained_json(record), explain_showing.record_lines
            click.echo(json.dumps(document) if as_json else "\n".join(lines(record)))
            return
        request = await explain_request(stores, asked)
    if not request.known:
        raise click.ClickException(
            f"{asked} is no usage record, and no request in the journals of this disk; what other "
            "hosts served is in theirs"
        )
    said = json.dumps(explain_json.request_json(request)) if as_json else ""
    click.echo(said or "\n".join(explain_showing.request_lines(request)))
