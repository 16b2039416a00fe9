"""Rules of a configuration about licences: who makes them, and what a licence product may say."""

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from billing_sync.settings import LicenceSettings
from billing_sync.webhooks import key_of
from metering.catalogue import Product
from tallygate.addresses import is_this_machine
from tallygate.config_errors import Place, Problem
from tallygate.config_schema import Config

_FUNCTION: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
_HERE: Final[Place] = ("koogallery", "licence")
_NOT_FOR_LICENCES: Final = (
    "routes",
    "meter",
    "unit",
    "cycle",
    "charged_by",
    "price",
    "package",
)


def check_licences(config: Config) -> Iterator[Problem]:
    """The maker can be called, and somebody makes what is sold."""
    settings = config.koogallery.licence
    yield from _check_maker(settings)
    yield from _check_app(settings)
    for index, product in enumerate(config.products):
        licence = product.licence
        if licence is not None and licence.kind == "made" and settings.maker is None:
            text = "nobody makes it; set koogallery.licence.maker"
            yield Problem(("products", index, "licence"), text)


def check_licence(place: Place, product: Product) -> Iterator[Problem]:
    """What a licence product must not say."""
    for name in _NOT_FOR_LICENCES:
        if name in product.model_fields_set:
            text = "no call charges a licence product; remove it here"
            yield Problem((*place, name), text)
    licence = product.licence
    if licence is not None and licence.kind == "code":
        for name in ("fingerprint", "devices"):
            if name in licence.model_fields_set:
                text = "authorization codes are given out by the marketplace; remove it here"
                yield Problem((*place, "licence", name), text)


def _check_maker(settings: LicenceSettings) -> Iterator[Problem]:
    place = (*_HERE, "maker")
    if settings.maker is None:
        return
    if not settings.is_hook:
        if not _FUNCTION.fullmatch(settings.maker):
            yield Problem(place, "write package.module:function, or an https:// URL")
        return
    if not _is_hook_url(settings.maker):
        text = "a hook is an https:// URL without user or fragment; http:// on this machine alone"
        yield Problem(place, text)
    if not settings.secrets:
        yield Problem((*_HERE, "secrets"), "missing; a hook must be able to know who calls it")
    for index, secret in enumerate(settings.secrets):
        try:
            key_of(secret.get_secret_value())
        except ValueError as problem:
            yield Problem((*_HERE, "secrets", index), str(problem))


def _is_hook_url(url: str) -> bool:
    if not (url.isascii() and url.isprintable()) or " " in url:
        return False
    try:
        parts = urlsplit(url)
        whole = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port out of range, or a broken IPv6 host
        return False
    is_safe = parts.scheme == "https" or (
        parts.scheme == "http" and is_this_machine(parts.hostname or "")
    )
    return whole and is_safe and parts.username is None and not parts.fragment


def _check_app(settings: LicenceSettings) -> Iterator[Problem]:
    if (settings.app_key is None) != (settings.app_secret is None):
        missing = "app_key" if settings.app_key is None else "app_secret"
        yield Problem((*_HERE, missing), "missing; app_key and app_secret belong together")
