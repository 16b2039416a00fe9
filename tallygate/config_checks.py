"""Rules that no single field can check: stores, listeners, URLs, routes and meters that must fit.
Nothing is asked but the database of time zones, and which extras are there."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Final
from urllib.parse import urlsplit

from billing_sync.zones import BadZone, day_zone
from gateway.settings import Route
from metering.redis_urls import is_cluster, parse_cluster
from metering.usage import METER_UNITS
from tallygate.addresses import HIGHEST_PORT, Address, is_this_machine, parse_address, shifted
from tallygate.config_catalogue import check_customers, check_products
from tallygate.config_errors import Place, Problem, dotted, one_of, repeats
from tallygate.config_licences import check_licences
from tallygate.config_schema import EMBEDDED, Config
from tallygate.database_urls import wrong_with

_UNIX: Final = "http+unix://"  # of an upstream at a socket; its path begins with a slash
_OPEN_API: Final[Place] = ("koogallery", "base_url")
_REDIS_SCHEMES: Final = ("redis", "rediss")


def check(config: Config) -> Iterator[Problem]:
    """Everything that only shows when sections are read together."""
    yield from _check_stores(config)
    yield from _check_listeners(config)
    yield from _check_public_urls(config)
    yield from _check_routes(config.routes)
    yield from _check_proofs(config)
    yield from _check_meters(config)
    yield from _check_day_zone(config)
    yield from check_products(config)
    yield from check_customers(config)
    yield from _check_limits(config)
    yield from check_licences(config)
    yield from _check_tracing(config)


def _check_tracing(config: Config) -> Iterator[Problem]:
    place: Place = ("tracing", "endpoint")
    if config.tracing.endpoint is None:
        if config.tracing.sample:
            yield Problem(place, "spans are made but go nowhere; write where they are collected")
    elif not _has_opentelemetry():
        yield Problem(place, "this needs OpenTelemetry: pip install 'tallygate[otel]'")


def _has_opentelemetry() -> bool:
    wanted = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
    try:
        return all(find_spec(name) is not None for name in wanted)
    except (ImportError, ValueError):  # what stands above it is not there
        return False


def _check_stores(config: Config) -> Iterator[Problem]:
    if str(config.data_dir).startswith("~"):
        yield Problem(("data_dir",), "~ is not expanded; write ${HOME}/… instead")
    if config.redis != EMBEDDED:
        yield from _check_redis(config.redis)
    if config.database != EMBEDDED and (problem := wrong_with(config.database)):
        yield Problem(("database",), problem)


def _check_redis(url: str) -> Iterator[Problem]:
    if is_cluster(url):
        try:
            parse_cluster(url)
        except ValueError as error:
            text = f"{error}; write redis+cluster://host:port,host:port"
            yield Problem(("redis",), text)
    elif not _is_url(url, _REDIS_SCHEMES):
        text = "write embedded, redis://host:port/0 or redis+cluster://host:port,host:port"
        yield Problem(("redis",), f"{text}; with TLS rediss:// and rediss+cluster://")


def _check_listeners(config: Config) -> Iterator[Problem]:
    bound: dict[Address, Place] = {}
    for section, settings in (("gateway", config.gateway), ("control", config.control)):
        for name in ("listen", "admin_listen"):
            place: Place = (section, name)
            try:
                address = parse_address(getattr(settings, name))
            except ValueError as error:
                yield Problem(place, str(error))
                continue
            first = bound.setdefault(address, place)
            if first != place and address.port:
                yield Problem(place, f"{dotted(first)} listens here too; choose another port")
    yield from _check_workers(config, bound)


def _check_workers(config: Config, bound: dict[Address, Place]) -> Iterator[Problem]:
    """Every gateway worker has an admin listener of its own, each one port further up."""
    base = {place: address for address, place in bound.items()}.get(("gateway", "admin_listen"))
    if base is None or not base.port:
        return
    for worker in range(1, config.gateway.workers):
        address = shifted(base, worker)
        where = f"the admin listener of worker {worker} would be at {address}"
        if address.port > HIGHEST_PORT:
            yield Problem(("gateway", "workers"), f"{where}; lower gateway.admin_listen")
            return
        if address in bound:
            text = f"{where}, where {dotted(bound[address])} is; choose another port"
            yield Problem(("gateway", "workers"), text)


def _check_public_urls(config: Config) -> Iterator[Problem]:
    urls: dict[Place, str | None] = {
        ("gateway", "public_url"): config.gateway.public_url,
        ("control", "public_url"): config.control.public_url,
        _OPEN_API: config.koogallery.base_url,
    }
    for place, url in urls.items():
        if url is not None and not _is_url(url, ("http", "https")):
            yield Problem(place, "must be a URL such as https://api.example.com")
        elif place == _OPEN_API and url is not None and not _is_safe(url):
            text = "the open API is called by https:// alone, but for a simulator on this machine"
            yield Problem(place, text)


def _is_safe(url: str) -> bool:
    """Nobody in between reads what is signed, or could change it."""
    parts = urlsplit(url)
    return parts.scheme == "https" or is_this_machine(parts.hostname or "")


def _check_routes(routes: list[Route]) -> Iterator[Problem]:
    yield from repeats(((("routes", i, "name"), r.name) for i, r in enumerate(routes)), "name")
    paths = ((("routes", i, "path"), r.path.rstrip("/")) for i, r in enumerate(routes))
    yield from repeats(paths, "path")
    for index, route in enumerate(routes):
        if any(character in "?#" or character.isspace() for character in route.path):
            text = "can never match: a path has no ?, # or blanks"
            yield Problem(("routes", index, "path"), text)
        if route.health.max_eject < route.health.eject:
            place: Place = ("routes", index, "health", "max_eject")
            yield Problem(place, "must not be less than eject")
        for number, url in enumerate(route.upstream):
            yield from _check_upstream(("routes", index, "upstream", number), url)


def _check_proofs(config: Config) -> Iterator[Problem]:
    """A route that believes the Agents gateway alone needs something to know it by."""
    if config.koogallery.agent_apps or config.koogallery.constant_header is not None:
        return
    for index, route in enumerate(config.routes):
        if set(route.identity) == {"koogallery"}:
            text = "nobody could call: give koogallery.agent_apps or koogallery.constant_header"
            yield Problem(("routes", index, "identity"), text)


def _check_upstream(place: Place, url: str) -> Iterator[Problem]:
    if url.startswith(_UNIX):
        path = url.removeprefix(_UNIX)
        if not path.strip("/") or any(character in "?#%" for character in path):
            text = "must be a socket's absolute path such as http+unix:///run/app.sock"
            yield Problem(place, text)
        return
    if not _is_url(url, ("http", "https")):
        yield Problem(place, "must be a URL such as http://127.0.0.1:9000")
        return
    parts = urlsplit(url)
    if parts.username is not None or parts.query or parts.fragment:
        yield Problem(place, "only scheme, host, port and path belong here; remove the rest")


def _check_meters(config: Config) -> Iterator[Problem]:
    for name in config.meters:
        if name in METER_UNITS:
            text = "this meter is built in and cannot be declared again; choose another name"
            yield Problem(("meters", name), text)


def _check_limits(config: Config) -> Iterator[Problem]:
    routes = [route.name for route in config.routes]
    for name in config.limits.routes:
        if name not in routes:
            text = f"there is no route {name!r}; {one_of(routes)}"
            yield Problem(("limits", "routes", name), text)


def _check_day_zone(config: Config) -> Iterator[Problem]:
    try:
        day_zone(config.billing, config.koogallery)
    except BadZone as problem:
        yield Problem(("billing", "day_zone"), str(problem))


def _is_url(text: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port out of range, or a broken IPv6 host
        return False
