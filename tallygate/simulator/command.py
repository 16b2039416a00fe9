"""`tallygate simulate`: the marketplace as a server, and single callbacks from the shell."""

from collections.abc import Mapping
from typing import cast

import click
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from .lifecycle_command import lifecycle
from .options import (
    access_key_option,
    kit_key_option,
    public_key_option,
    read_address,
    read_faults,
    read_url,
    read_zone,
)
from .schedule import BEIJING
from .server import run
from .settings import PUSH_AUTHS, PushAuth, SimulatorSettings


@click.group()
def simulate() -> None:
    """A KooGallery marketplace on this machine, for demonstrations and tests."""


@simulate.command()
@click.option("--listen", callback=read_address, default="127.0.0.1:9800", show_default=True)
@click.option("--production-url", callback=read_url, help="Where callbacks go; may be set later.")
@access_key_option
@kit_key_option
@public_key_option
@click.option("--ak", required=True, envvar="KOO_AK", show_envvar=True, help="Access key id.")
@click.option("--sk", required=True, envvar="KOO_SK", show_envvar=True, help="Secret key.")
@click.option("--app-key", default="", envvar="KOO_CODE_APP_KEY", help="App of license codes.")
@click.option("--app-secret", default="", envvar="KOO_CODE_APP_SECRET", help="Its secret.")
@click.option(
    "--push-auth",
    type=click.Choice(PUSH_AUTHS),
    default="both",
    show_default=True,
    help="What a usage push must carry.",
)
@click.option(
    "--collect-every",
    type=click.FloatRange(min=0.05),
    help="Seconds between collections, in place of minute 15 of every hour.",
)
@click.option(
    "--validation-delay",
    type=click.FloatRange(min=0, max=86_400),
    default=30.0,
    show_default=True,
    help="Seconds from the arrival of a record to its background validation.",
)
@click.option(
    "--zone",
    callback=read_zone,
    default=BEIJING,
    show_default=True,
    help="Time zone of the daily collection at 01:00.",
)
@click.option(
    "--faults", callback=read_faults, help="What goes wrong, as JSON for POST /_sim/faults."
)
def serve(  # noqa: PLR0913 -- one parameter per option
    *,
    listen: tuple[str, int],
    production_url: str | None,
    access_key: str,
    kit_key: str,
    public_key: RSAPublicKey | None,
    ak: str,
    sk: str,
    app_key: str,
    app_secret: str,
    push_auth: str,
    collect_every: float | None,
    validation_delay: float,
    zone: str,
    faults: Mapping[str, object],
) -> None:
    """Serve the marketplace until a signal ends it.

    \b
    Example:
      KOO_ACCESS_KEY=key KOO_AK=ak KOO_SK=sk \\
        tallygate simulate serve --production-url http://127.0.0.1:8081/koogallery
    """
    settings = SimulatorSettings(
        access_key=access_key,
        ak=ak,
        sk=sk,
        kit_key=kit_key,
        public_key=public_key,
        app_key=app_key,
        app_secret=app_secret,
        production_url=production_url,
        push_auth=cast(PushAuth, push_auth),
        collect_every=collect_every,
        collect_at_minute=15 if collect_every is None else None,
        validation_delay=validation_delay,
        zone=zone,
        faults=faults,
    )
    try:
        run(settings, *listen)
    except OSError as error:
        raise click.UsageError(f"cannot listen on {listen[0]}:{listen[1]}: {error}") from None


simulate.add_command(lifecycle)
