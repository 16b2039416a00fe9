"""Options that the simulator's commands share, and how their values are read."""

import json
from collections.abc import Mapping
from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from .callbacks import check_url
from .errors import BadRequest
from .faults import Faults
from .kit_cipher import read_public_key
from .schedule import zone_named
from .wire import an_object


def read_address(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[str, int]:
    """`host:port`, an IPv6 host in brackets."""
    host, colon, port = value.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise click.BadParameter(f"{value!r} must be host:port, as 127.0.0.1:9800")
    return host.strip("[]"), int(port)


def read_url(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """An http:// or https:// address."""
    try:
        return None if value is None else check_url(value)
    except BadRequest as error:
        raise click.BadParameter(str(error)) from None


def read_zone(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    """A zone of the IANA database."""
    try:
        zone_named(value)
    except BadRequest as error:
        raise click.BadParameter(str(error)) from None
    return value


def read_faults(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> Mapping[str, object]:
    """A JSON object that `Faults.set` takes."""
    try:
        read = json.loads(value or "{}")
        Faults().set(an_object(read))
    except (ValueError, RecursionError, BadRequest) as error:
        raise click.BadParameter(str(error)) from None
    return an_object(read)


def _public_key(
    _ctx: click.Context, _param: click.Parameter, value: Path | None
) -> RSAPublicKey | None:
    """A PEM file."""
    try:
        return None if value is None else read_public_key(value.read_bytes())
    except (OSError, BadRequest) as error:
        raise click.BadParameter(str(error)) from None


access_key_option = click.option(
    "--access-key",
    required=True,
    envvar="KOO_ACCESS_KEY",
    show_envvar=True,
    help="Key bound to the base interface.",
)
kit_key_option = click.option(
    "--kit-key",
    default="",
    envvar="KOO_KIT_KEY",
    show_envvar=True,
    help="Key bound to the Kit's interfaces.",
)
public_key_option = click.option(
    "--public-key",
    type=click.Path(path_type=Path),
    callback=_public_key,
    help="PEM file of the merchant's public key, for applicationSync.",
)
