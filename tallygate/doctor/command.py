"""`tallygate doctor`: is everything in order, and would KooGallery's interface debugging pass?"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import click
from click.core import ParameterSource

from tallygate.invocation import Misused, config_option, json_option, load_installation

if TYPE_CHECKING:
    from tallygate.doctor.diagnosis import Diagnosis
    from tallygate.doctor.repertoire import Patient
    from tallygate.installation import Installation
    from tallygate.simulator.examination import Examined, Order

KEY_VARIABLE = "KOO_ACCESS_KEY"
KIT_KEY_VARIABLE = "KOO_KIT_KEY"
VERSIONS = ("V2.0", "V1.0", "License", "Kit V2", "Kit V1")


@dataclass(frozen=True)
class Wishes:
    """What was asked for on the command line; None where nothing was."""

    url: str | None
    versions: tuple[str, ...]
    bits: str | None
    public_key: Path | None


@click.command()
@config_option
@click.option("--url", help="A production address; default is that of the configuration.")
@click.option(
    "--version",
    "versions",
    type=click.Choice(VERSIONS),
    multiple=True,
    help="Only these interfaces; may be given again.",
)
@click.option("--seed", type=click.IntRange(0), help="Makes the same random order again.")
@click.option("--debug-only", is_flag=True, help="Send nothing without testFlag=1.")
@click.option(
    "--encrypt-bits",
    type=click.Choice(["256", "128"]),
    help="V1.0: size of the key; default is that of the configuration, or 256.",
)
@click.option(
    "--public-key",
    type=click.Path(path_type=Path),
    help="PEM file for applicationSync; default is that of koogallery.private_key_file.",
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
    public_key: Path | None,
    as_json: bool,
) -> None:
    """Look at configuration, stores, keys and upstreams, then play KooGallery's debug cases.

    Every case of V2.0, V1.0, License and the Kit is sent once, again, in a random order and all at
    once, and wrong calls besides. They carry testFlag=1; a few without it are about instances that
    do not exist. Where there is no configuration, --url is examined with the keys in KOO_ACCESS_KEY
    and KOO_KIT_KEY, whoever made what answers there; License only when --version names it. Exit
    code 1: there is something to mend.

    \b
    Example:
      tallygate doctor -c tallygate.yaml
      KOO_ACCESS_KEY=… tallygate doctor --url https://merchant.example.com/koogallery
    """
    from tallygate.simulator.examination import Order

    given = ctx.get_parameter_source("config_path") is not ParameterSource.DEFAULT
    alone = url is not None and not given and not config_path.exists()
    installation = None if alone else load_installation(config_path)
    order = Order(
        seed=int.from_bytes(os.urandom(4)) if seed is None else seed,
        real=not debug_only,
    )
    _visit(installation, Wishes(url, versions, encrypt_bits, public_key), order, as_json=as_json)


def _visit(
    installation: "Installation | None", wishes: Wishes, order: "Order", *, as_json: bool
) -> None:
    from tallygate.doctor.showing import findings_in, report_json, report_lines

    patient, found = _patient(installation, wishes)
    seen, examined = anyio.run(_look, installation, patient, wishes.versions, order)
    diagnoses = [*found, *seen]
    shown = (diagnoses, patient.url, order.seed, examined)
    if as_json:
        click.echo(json.dumps(report_json(*shown), ensure_ascii=False))
    else:
        click.echo("\n".join(report_lines(*shown)))
    raise SystemExit(1 if findings_in(diagnoses, examined) else 0)


def _patient(
    installation: "Installation | None", wishes: Wishes
) -> "tuple[Patient, Sequence[Diagnosis]]":
    """Raises Misused for an address that is none, or where there is no key at all."""
    from tallygate.doctor.repertoire import of_installation, public_key_in
    from tallygate.simulator.callbacks import check_url
    from tallygate.simulator.errors import BadRequest

    found: Sequence[Diagnosis] = ()
    if installation is None:
        patient = _stranger(wishes)
    else:
        patient, found = of_installation(installation, _address(installation, wishes.url))
    if wishes.bits is not None:
        patient = replace(patient, bits=int(wishes.bits))
    try:
        check_url(patient.url)
    except BadRequest as wrong:
        raise Misused(f"--url: {wrong}") from None
    try:
        if wishes.public_key is not None:
            patient = replace(patient, public_key=public_key_in(wishes.public_key))
    except BadRequest as wrong:
        raise Misused(f"--public-key: {wrong}") from None
    return patient, found


def _address(installation: "Installation", url: str | None) -> str:
    from tallygate.doctor.examining import announced
    from tallygate.doctor.production_address import address_of

    return url or address_of(installation.config, announced(installation))


def _stranger(wishes: Wishes) -> "Patient":
    """Somebody's system, by what the environment tells of it."""
    from tallygate.doctor.repertoire import Patient

    key = os.environ.get(KEY_VARIABLE, "")
    if not key:
        raise Misused(f"no configuration here: set {KEY_VARIABLE} to the key of the address")
    return Patient(
        url=wishes.url or "",
        key=key,
        kit_key=os.environ.get(KIT_KEY_VARIABLE, ""),
        licenses="License" in wishes.versions,
    )


async def _look(
    installation: "Installation | None",
    patient: "Patient",
    versions: Sequence[str],
    order: "Order",
) -> "tuple[Sequence[Diagnosis], Sequence[Examined]]":
    from tallygate.doctor.examining import examine, look_around
    from tallygate.doctor.production_address import look_at_address
    from tallygate.doctor.repertoire import chosen
    from tallygate.simulator.clock import WallClock
    from tallygate.simulator.debug_case import Version

    seen = [] if installation is None else list(await look_around(installation))
    suites, left_out = chosen(patient, [Version(each) for each in versions], WallClock())
    diagnoses = [*seen, *look_at_address(patient.url), *left_out]
    # Without a key nothing can be signed; that is a finding already.
    return diagnoses, await examine(patient.url, suites, order) if patient.key else []
