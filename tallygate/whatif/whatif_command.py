"""`tallygate whatif`: what recorded usage would bring under another price plan."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

import click

from tallygate.invocation import config_option, load_installation, run
from tallygate.reconciliation.reconcile_command import Time

if TYPE_CHECKING:
    from tallygate.installation import Installation
    from tallygate.reconciliation.opening import Stores
    from tallygate.whatif.repricing import Scheme

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


class Asked(TypedDict):
    """The options, as they were given."""

    plan: Path
    from_ms: int | None
    to_ms: int | None
    customer: str | None
    zone: str
    as_json: bool


@click.command()
@config_option
@click.option("--plan", type=_FILE, required=True, help="The other prices (YAML).")
@click.option("--from", "from_ms", type=Time(), help="Records that begin at or after this time.")
@click.option("--to", "to_ms", type=Time(), help="Records that begin before this time.")
@click.option("--customer", help="Of this customer alone.")
@click.option("--zone", default="UTC", show_default=True, help="Of days and months: UTC or +08:00.")
@click.option("--json", "as_json", is_flag=True, help="Every instance, for scripts.")
def whatif(config_path: Path, **asked: Unpack[Asked]) -> None:
    """Price recorded usage as it costs now and under another plan. Nothing is changed.

    The plan has the products of tallygate.yaml that are to cost something else:

    \b
      products:
        - product_id: OFFI0001
          price:
            mode: step                # fixed, step or tier
            accumulate: month         # step: none, day or month
            bands: [{up_to: 1000, price: "0.02"}, {price: "0.015"}]

    \b
    Example:
      tallygate whatif -c tallygate.yaml --plan plan.yaml --from 2026-01-01 --to 2026-02-01
    """
    from tallygate.config_errors import ConfigInvalid
    from tallygate.invocation import Misused
    from tallygate.reconciliation.sdr_columns import Unreadable

    from_ms, to_ms = asked["from_ms"], asked["to_ms"]
    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        raise Misused("--from is not earlier than --to")
    installation = load_installation(config_path)
    try:
        scheme = _scheme(installation, asked)
    except (ConfigInvalid, Unreadable) as problem:
        raise Misused(str(problem)) from None
    run(partial(_whatif, installation, scheme, asked))


def _scheme(installation: "Installation", asked: Asked) -> "Scheme":
    from metering.catalogue import catalogue
    from tallygate.reconciliation.sdr_columns import zone_of
    from tallygate.whatif.plan import read_plan
    from tallygate.whatif.repricing import Scheme

    products = installation.config.products
    known = {product.product_id for product in products if not product.is_package}
    return Scheme(
        catalogue(products),
        read_plan(asked["plan"], known),
        asked["from_ms"] or 0,
        2**62 if asked["to_ms"] is None else asked["to_ms"],
        zone_of(asked["zone"]),
    )


async def _whatif(installation: "Installation", scheme: "Scheme", asked: Asked) -> None:
    from anyio import to_thread

    from tallygate.reconciliation.opening import opened

    async with opened(installation) as stores:
        await to_thread.run_sync(_tell, stores, scheme, asked)


def _tell(stores: "Stores", scheme: "Scheme", asked: Asked) -> None:
    from tallygate.whatif import showing
    from tallygate.whatif.reading import lines

    sums = showing.Sums()
    found = sums.read(lines(stores.engine, scheme, asked["customer"]))
    if not asked["as_json"]:
        for _ in found:
            pass
        click.echo("\n".join(showing.text(sums)))
        return
    click.echo('{"instances": [', nl=False)
    comma = ""
    for line in found:
        click.echo(comma + json.dumps(showing.line_json(line)), nl=False)
        comma = ", "
    tail = {"products": showing.products_json(sums), "customers": sums.customers}
    click.echo("], " + json.dumps(tail)[1:])
