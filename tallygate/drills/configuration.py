"""The configuration of the throw-away installation: what a merchant sells, on nobody's stores. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from gateway.settings import Route
from metering.catalogue import AGENTS_GATEWAY, Product
from tallygate.config_schema import Config
from tallygate.drills.calls import Caller

WORKERS: Final = 2
_CUSTOMERS: Final = 6
_ANY_PORT: Final = "127.0.0.1:0"
_BUILT_IN: Final = Config(
    routes=[Route(name="chat", path="/v1", upstream=["http://127.0.0.1:9"])],
    products=[
        Product(product_id="DRILL-CALLS", routes=["chat"], meter="requests"),
        Product(product_id="DRILL-IN", routes=["chat"], meter="tokens_in", unit=1000),
        Product(product_id="DRILL-OUT", routes=["chat"], meter="tokens_out", unit=1000),
    ],
)


def throw_away(given: Config | None, upstream: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The tallygate.yaml of a drill, as data.

    Of the `given` configuration it has routes, meters, pay-per-use products, partitions and how the
    journal is kept; everything else, stores and customers above all, is the drill's own. `changes`
    are settings, those of a section as a mapping.
    """
    source = given or _BUILT_IN
    products = [p for p in source.products if not p.is_package and p.charged_by != AGENTS_GATEWAY]
    listen = {"listen": _ANY_PORT, "admin_listen": _ANY_PORT}
    kept = {
        "journal": _plain(source.gateway.journal),
        "on_store_down": source.gateway.on_store_down,
    }
    config: dict[str, Any] = {
        "data_dir": "./var",
        "partitions": source.partitions,
        "gateway": {**listen, "workers": WORKERS, **kept},
        "control": dict(listen),
        "routes": [_route(route, n, upstream) for n, route in enumerate(source.routes)],
        "meters": {name: _plain(meter) for name, meter in source.meters.items()},
        "products": [_plain(product) for product in products],
        "billing": _plain(source.billing),
        "customers": [_customer(n, products) for n in range(_CUSTOMERS)],
    }
    for name, change in changes.items():
        whole = not isinstance(change, Mapping)
        config[name] = change if whole else {**config.get(name, {}), **change}
    escaped: dict[str, Any] = _escaped(config)
    return escaped


def callers(given: Config | None) -> list[Caller]:
    """Every customer on every route of `throw_away`'s installation."""
    return [
        Caller(_customer_id(n), _key(n), f"{_path(at)}{_endpoint(route)}", _is_anthropic(route))
        for n in range(_CUSTOMERS)
        for at, route in enumerate((given or _BUILT_IN).routes)
    ]


def _route(route: Route, at: int, upstream: str) -> dict[str, Any]:
    """The route by its name and as its usage is read, at a path of its own."""
    ours = {"path": _path(at), "strip_prefix": True, "upstream": [upstream]}
    return {**_plain(route), **ours, "identity": ["api_key"]}


def _path(at: int) -> str:
    return f"/drill-{at}"


def _is_anthropic(route: Route) -> bool:
    return route.usage.dialect == "anthropic"


def _endpoint(route: Route) -> str:
    return "/v1/messages" if _is_anthropic(route) else "/v1/chat/completions"


def _customer_id(n: int) -> str:
    return f"drill-{n + 1}"


def _key(n: int) -> str:
    return f"sk-drill-{n + 1}"  # of an installation that is gone in a minute


def _customer(n: int, products: list[Product]) -> dict[str, Any]:
    """The last one has bought nothing: he is counted all the same."""
    has = products if n < _CUSTOMERS - 1 else []
    owned = [
        {"id": f"{_customer_id(n)}-item-{at + 1}", "product": product.product_id}
        for at, product in enumerate(has)
    ]
    return {"id": _customer_id(n), "keys": [_key(n)], "instances": owned}


def _plain(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json", exclude_defaults=True)


def _escaped(value: Any) -> Any:
    """References are filled in already: a dollar is a dollar."""
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return value.replace("$", "$$") if isinstance(value, str) else value
