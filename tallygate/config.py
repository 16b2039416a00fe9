"""Reads `tallygate.yaml`: YAML, environment references, models, rules, in that order."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar

from billing_sync.settings import ControlSettings, KooGallerySettings
from gateway.settings import GatewaySettings, Route
from tallygate.addresses import Address, parse_address
from tallygate.config_checks import check
from tallygate.config_errors import ConfigInvalid, Problem
from tallygate.config_schema import Config
from tallygate.config_validation import validate
from tallygate.config_yaml import read_yaml
from tallygate.environment import Resolver
from tallygate.private_keys import wrong_with

__all__ = ["Address", "Config", "ConfigInvalid", "load", "parse", "parse_address"]

MAX_BYTES: Final = 1 << 20

_Section = TypeVar("_Section", GatewaySettings, ControlSettings)


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """The configuration in `path`. Raises ConfigInvalid; each line of its message names the file."""
    text = _read(path)
    try:
        return parse(text, environ, base=path.absolute().parent)
    except ConfigInvalid as invalid:
        problems = invalid.problems
    raise ConfigInvalid(f"{path}: {problem}" for problem in problems)


def parse(text: str, environ: Mapping[str, str], *, base: Path) -> Config:
    """The configuration in `text`; relative paths in it start at `base`. Raises ConfigInvalid."""
    tree = read_yaml(text)
    resolver = Resolver(environ)
    validated = validate(resolver.resolve({} if tree is None else tree))
    problems = resolver.problems
    if isinstance(validated, list):
        problems = _joined(problems, validated)
    elif not problems:
        problems = list(check(validated))
    if problems or isinstance(validated, list):
        raise ConfigInvalid(problems)
    anchored = _anchored(validated, base)
    _check_private_key(anchored)
    return anchored


def _check_private_key(config: Config) -> None:
    """The one file that is looked at already here. Raises ConfigInvalid."""
    path = config.koogallery.private_key_file
    if path is not None and (problem := wrong_with(Path(path))):
        raise ConfigInvalid([Problem(("koogallery", "private_key_file"), problem)])


def _joined(unresolved: list[Problem], invalid: list[Problem]) -> list[Problem]:
    """Both kinds, but what the models say of a place that was not resolved means nothing."""
    known = {problem.place for problem in unresolved}
    return [*unresolved, *(problem for problem in invalid if problem.place not in known)]


def _anchored(config: Config, base: Path) -> Config:
    """The same configuration with absolute paths."""
    return config.model_copy(
        update={
            "data_dir": base / config.data_dir,
            "gateway": _tls_anchored(config.gateway, base),
            "control": _tls_anchored(config.control, base),
            "koogallery": _key_anchored(config.koogallery, base),
            "routes": [_route_anchored(route, base) for route in config.routes],
        }
    )


def _route_anchored(route: Route, base: Path) -> Route:
    if route.pool.ca_file is None:
        return route
    pool = route.pool.model_copy(update={"ca_file": str(base / route.pool.ca_file)})
    return route.model_copy(update={"pool": pool})


def _key_anchored(koogallery: KooGallerySettings, base: Path) -> KooGallerySettings:
    """Empty is none: a gateway shares the configuration, and has no business with the key."""
    file = koogallery.private_key_file
    path = str(base / file) if file else None
    return koogallery.model_copy(update={"private_key_file": path})


def _tls_anchored(section: _Section, base: Path) -> _Section:
    if section.tls is None:
        return section
    paths = {"cert": str(base / section.tls.cert), "key": str(base / section.tls.key)}
    return section.model_copy(update={"tls": section.tls.model_copy(update=paths)})


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigInvalid(
            [f"{path}: there is no such file; `tallygate init {path}` writes one"]
        ) from None
    except OSError as error:
        raise ConfigInvalid([f"{path}: cannot be read: {error.strerror}"]) from None
    if len(raw) > MAX_BYTES:
        raise ConfigInvalid([f"{path}: larger than {MAX_BYTES} bytes; is this the right file?"])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigInvalid(
            [f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8"]
        ) from None
