"""Which address is examined, and whether the marketplace could call it (spec §2.1). Pure."""

import ipaddress
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from tallygate.addresses import is_this_machine
from tallygate.config_schema import Config
from tallygate.doctor.diagnosis import Diagnosis, finding, note, ok

PATH: Final = "/koogallery"
_ABOUT: Final = "address"


def address_of(config: Config, announced: str | None) -> str:
    """The production address: as it is told to KooGallery, else where the control plane listens.

    `announced` is what a running control plane says of itself.
    """
    control = config.control
    scheme = "http" if control.tls is None else "https"
    base = control.public_url or announced or f"{scheme}://{control.listen}"
    return base.rstrip("/") + PATH


def look_at_address(url: str) -> Iterator[Diagnosis]:
    """HTTPS and a domain name; an address of this machine is no more than a rehearsal."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_this_machine(host):
        yield note(_ABOUT, f"{url} is on this machine: KooGallery needs a public https:// address")
        return
    if parts.scheme != "https":
        yield finding(_ABOUT, f"{url}: KooGallery calls nothing but https://")
    if _is_ip(host):
        yield finding(_ABOUT, f"{url}: KooGallery wants a domain name, not an IP address")
    if parts.scheme == "https" and not _is_ip(host):
        yield ok(_ABOUT, url)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
