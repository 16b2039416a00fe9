"""Rules of a configuration about what is sold and to whom: products, packages, customers, keys. Pure."""

from collections.abc import Iterator
from typing import Final

from pydantic import SecretStr

from gateway.settings import Customer, StaticKey
from metering.catalogue import Product
from metering.keys import sha256_hex
from metering.usage import METER_UNITS
from tallygate.config_errors import Place, Problem, one_of, repeats
from tallygate.config_licences import check_licence
from tallygate.config_schema import Config

# Enough to catch a key that was left empty or cut off; keys that Tallygate makes have 46.
MIN_KEY_LENGTH: Final = 7
_PAY_PER_USE_ONLY: Final = ("routes", "meter", "unit", "cycle", "charged_by")


def check_products(config: Config) -> Iterator[Problem]:
    """Ids are unique; routes, meters and the items of packages exist."""
    products = config.products
    ids = ((("products", i, "product_id"), p.product_id) for i, p in enumerate(products))
    yield from repeats(ids, "product id")
    sold = {each.product_id for each in products if not (each.is_package or each.licence)}
    for index, product in enumerate(products):
        place: Place = ("products", index)
        if product.licence is not None:
            yield from check_licence(place, product)
        elif product.is_package:
            yield from _check_package(place, product, sold)
        else:
            yield from _check_pay_per_use(place, product, config)


def _check_pay_per_use(place: Place, product: Product, config: Config) -> Iterator[Problem]:
    routes = [route.name for route in config.routes]
    for index, name in enumerate(product.routes):
        if name not in routes:
            text = f"there is no route {name!r}; {one_of(routes)}"
            yield Problem((*place, "routes", index), text)
    if not product.routes:
        yield Problem(
            (*place, "routes"), f"missing; name the routes it is sold on; {one_of(routes)}"
        )
    meters = [*METER_UNITS, *config.meters]
    if product.meter is None:
        yield Problem((*place, "meter"), f"missing; {one_of(meters)}")
    elif product.meter not in meters:
        text = f"there is no meter {product.meter!r}; {one_of(meters)}, or declare it under meters"
        yield Problem((*place, "meter"), text)


def _check_package(place: Place, product: Product, sold: set[str]) -> Iterator[Problem]:
    for name in _PAY_PER_USE_ONLY:
        if name in product.model_fields_set:
            text = "belongs to the products a package holds quota for; remove it here"
            yield Problem((*place, name), text)
    items = product.package.items if product.package else []
    places: list[Place] = [(*place, "package", "items", i, "of") for i in range(len(items))]
    yield from repeats(zip(places, (item.of for item in items), strict=True), "product")
    for where, item in zip(places, items, strict=True):
        if item.of not in sold:
            yield Problem(where, f"there is no pay-per-use product {item.of!r}; {one_of(sold)}")


def check_customers(config: Config) -> Iterator[Problem]:
    """Ids and keys are unique, and instances are of products that can be used."""
    customers = config.customers
    yield from repeats(
        ((("customers", i, "id"), customer.id) for i, customer in enumerate(customers)), "id"
    )
    instances = [
        (("customers", i, "instances", j), instance)
        for i, customer in enumerate(customers)
        for j, instance in enumerate(customer.instances)
    ]
    yield from repeats((((*place, "id"), instance.id) for place, instance in instances), "id")
    sold = {product.product_id for product in config.products if product.licence is None}
    for place, instance in instances:
        if instance.product not in sold:
            text = f"there is no product {instance.product!r}; {one_of(sold)}"
            yield Problem((*place, "product"), text)
    yield from _check_keys(customers, [route.name for route in config.routes])


def _check_keys(customers: list[Customer], routes: list[str]) -> Iterator[Problem]:
    digests: list[tuple[Place, str]] = []
    for index, customer in enumerate(customers):
        for number, written in enumerate(customer.keys):
            place: Place = ("customers", index, "keys", number)
            if isinstance(written, StaticKey):
                digests.append((place, written.sha256))
                yield from _check_section(place, written, routes)
            else:
                digests.append((place, sha256_hex(written.get_secret_value())))
                yield from _check_key(place, written)
        for number, digest in enumerate(customer.key_hashes):
            digests.append((("customers", index, "key_hashes", number), digest))
    yield from repeats(digests, "key", secret=True)


def _check_section(place: Place, section: StaticKey, routes: list[str]) -> Iterator[Problem]:
    if section.key is not None:
        yield from _check_key((*place, "key"), section.key)
    for index, name in enumerate(section.routes):
        if name not in routes:
            text = f"there is no route {name!r}; {one_of(routes)}"
            yield Problem((*place, "routes", index), text)


def _check_key(place: Place, secret: SecretStr) -> Iterator[Problem]:
    key = secret.get_secret_value()
    if len(key) < MIN_KEY_LENGTH:
        yield Problem(place, f"too short; a key has at least {MIN_KEY_LENGTH} characters")
    if not all("!" <= character <= "~" for character in key):
        yield Problem(place, "no HTTP header can carry it; use printable ASCII, no blanks")
