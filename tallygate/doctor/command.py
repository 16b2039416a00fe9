"""`tallygate doctor`: is everything in order, and would KooGallery's interface debugging pass?"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import click
from click.core import ParameterSource

from tallygate.invocation import Misused, config_option, json_option, load_installation

if TYPE_CHECKING:
    from tallygate.doctor.diagnosis import Diagnosis
    from tallygate.doctor.examining import Patient
    from tallygate.installation import Installation
    from tallygate.simulator.examination import Examined, Order

KEY_VARIABLE = "KOO_ACCESS_KEY"


@click.command()
@config_option
@click.option("--url", help="A production address; default is that of the configuration.")
@click.option(
    "--version",
    "versions",
    type=click.Choice(["V2.0", "V1.0"]),
    multiple=True,
    help="Only this version of the interface.",
)
@click.option("--seed", type=click.IntRange(0), help="Makes the same random order again.")
@click.option("--debug-only", is_flag=True, help="Send nothing without testFlag=1.")
@click.option(
    "--encrypt-bits",
    type=click.Choice(["256", "128"]),
    help="V1.0: size of the key; default is that of the configuration, or 256.",
)
@json_option
@click.pass_context
def doctor(  # noqa: PLR0913  (one parameter per option)
    ctx: click.Context,
    *,
    config_path: Path,
    url: str | None,
    versions: tuple[str, ...],
    seed: int | None,
    debug_only: bool,
    encrypt_bits: str | None,
    as_json: bool,
) -> None:
    """Look at configuration, stores, keys and upstreams, then play KooGallery's debug cases.

    Every case of both versions is sent once, again, in a random order and all at once, and wrong
    calls besides. They carry testFlag=1; a few without it are about instances that do not exist.
    Where there is no configuration, --url is examined with the key in KOO_ACCESS_KEY, whoever made
    what answers there. Exit code 1: there is something to mend.

    \b
    Example:
      tallygate doctor -c tallygate.yaml
      KOO_ACCESS_KEY=… tallygate doctor --url https://merchant.example.com/koogallery
    """
    from tallygate.simulator.debug_case import Version
    from tallygate.simulator.examination import Order

    given = ctx.get_parameter_source("config_path") is not ParameterSource.DEFAULT
    alone = url is not None and not given and not config_path.exists()
    installation = None if alone else load_installation(config_path)
    bits = encrypt_bits or (installation.config.koogallery.encrypt_bits if installation else 256)
    order = Order(
        versions=tuple(Version(each) for each in versions) or tuple(Version),
        seed=int.from_bytes(os.urandom(4)) if seed is None else seed,
        bits=int(bits),
        real=not debug_only,
    )
    _visit(installation, url, order, as_json=as_json)


def _visit(
    installation: "Installation | None", url: str | None, order: "Order", *, as_json: bool
) -> None:
    from tallygate.doctor.showing import findings_in, report_json, report_lines

    patient = _patient(installation, url)
    diagnoses, examined = anyio.run(_look, installation, patient, order)
    shown = (diagnoses, patient.url, order.seed, examined)
    if as_json:
        click.echo(json.dumps(report_json(*shown), ensure_ascii=False))
    else:
        click.echo("\n".join(report_lines(*shown)))
    raise SystemExit(1 if findings_in(diagnoses, examined) else 0)


def _patient(installation: "Installation | None", url: str | None) -> "Patient":
    """Raises Misused for an address that is none, or where there is no key at all."""
    from tallygate.doctor.examining import Patient, announced
    from tallygate.doctor.production_address import address_of
    from tallygate.simulator.callbacks import check_url
    from tallygate.simulator.errors import BadRequest

    if installation is None:
        address, key = url or "", os.environ.get(KEY_VARIABLE, "")
        if not key:
            raise Misused(f"no configuration here: set {KEY_VARIABLE} to the key of the address")
    else:
        secret = installation.config.koogallery.access_key
        key = secret.get_secret_value() if secret else ""
        address = url or address_of(installation.config, announced(installation))
    try:
        return Patient(check_url(address), key)
    except BadRequest as wrong:
        raise Misused(f"--url: {wrong}") from None


async def _look(
    installation: "Installation | None", patient: "Patient", order: "Order"
) -> "tuple[Sequence[Diagnosis], Sequence[Examined]]":
    from tallygate.doctor.examining import examine, look_around
    from tallygate.doctor.production_address import look_at_address

    seen = [] if installation is None else list(await look_around(installation))
    diagnoses = [*seen, *look_at_address(patient.url)]
    # Without a key nothing can be signed; that is a finding already.
    return diagnoses, await examine(patient, order) if patient.key else []
