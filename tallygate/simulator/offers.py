"""What is put on sale and ordered, read from JSON; raises BadRequest. Pure."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Final, TypeVar

from .errors import BadRequest
from .models import Cycle, Item, Kind, Product
from .prices import Band, Mode, Period, Price, ladder
from .times import parse_compact_time
from .wire import flag, objects, only, text, texts, whole

MAX_BANDS: Final = 20
MAX_LINEAR: Final = 1_000_000
_FIELDS: Final = (
    *("product_id", "name", "kind", "stop_before_excess", "covers"),
    *("quotas", "cycle", "price"),
)
Word = TypeVar("Word", bound=StrEnum)


def read_product(item: Mapping[str, object]) -> Product:
    """`quotas` {product id: billing units}; `price` {mode, bands: [{up_to, unit_price}], period}."""
    only(item, *_FIELDS)
    product_id, kind = text(item, "product_id"), text(item, "kind", Kind.ON_DEMAND)
    if kind not in tuple(Kind):
        raise BadRequest(f"kind must be one of {', '.join(Kind)}")
    if len(product_id) > 64:
        raise BadRequest("product_id has at most 64 characters")
    quotas = _quotas(item.get("quotas", {}))
    return Product(
        product_id=product_id,
        name=text(item, "name", product_id)[:64],
        kind=Kind(kind),
        stop_before_excess=flag(item, "stop_before_excess", default=False),
        covers=frozenset({*texts(item, "covers"), *quotas}),
        quotas=quotas,
        cycle=_word(item, "cycle", Cycle.HOUR),
        price=_price(item["price"]) if "price" in item else None,
    )


def read_item(line: Mapping[str, object]) -> Item:
    """A product id and, optionally, `expire_time` as `yyyyMMddHHmmss` and `linear_value`."""
    only(line, "product_id", "expire_time", "linear_value")
    expires_ms = parse_compact_time(line.get("expire_time"))
    if expires_ms is None and "expire_time" in line:
        raise BadRequest("expire_time must be yyyyMMddHHmmss, UTC")
    linear = whole(line, "linear_value", 1, (1, MAX_LINEAR)) if "linear_value" in line else None
    return Item(text(line, "product_id"), expires_ms, linear)


def _quotas(value: object) -> dict[str, Decimal]:
    if not isinstance(value, dict):
        raise BadRequest("quotas must be an object of billing units by product_id")
    return {product_id: _decimal(quota, "a quota") for product_id, quota in value.items()}


def _price(value: object) -> Price:
    if not isinstance(value, dict):
        raise BadRequest("price must be an object")
    only(value, "mode", "bands", "unit_price", "period")
    bands = [_band(band) for band in objects(value, "bands", MAX_BANDS)]
    if "unit_price" in value:
        bands.append(Band(None, _decimal(value["unit_price"], "unit_price")))
    try:
        mode, period = _word(value, "mode", Mode.FIXED), _word(value, "period", Period.MONTH)
        return ladder(mode, bands, period)
    except ValueError as error:
        raise BadRequest(f"price: {error}") from None


def _band(value: Mapping[str, object]) -> Band:
    only(value, "up_to", "unit_price")
    up_to = value.get("up_to")
    unit_price = _decimal(value.get("unit_price"), "unit_price")
    return Band(None if up_to is None else _decimal(up_to, "up_to"), unit_price)


def _decimal(value: object, name: str) -> Decimal:
    """Text or a whole number; a fraction must be text, so that no digit is lost."""
    plain = isinstance(value, str | int) and not isinstance(value, bool)
    try:
        found = Decimal(value) if plain and isinstance(value, str | int) else Decimal("NaN")
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite() or found < 0 or len(str(value)) > 20:
        raise BadRequest(f'{name} must be a decimal in quotes, as "0.02", not below 0')
    return found


def _word(value: Mapping[str, object], name: str, default: Word) -> Word:
    """One of the words of an enumeration."""
    words = type(default)
    try:
        return words(text(value, name, default))
    except ValueError:
        raise BadRequest(f"{name} must be one of {', '.join(words)}") from None
