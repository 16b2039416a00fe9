"""The other price plan of `tallygate whatif`: a YAML file, read strictly."""

from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, ValidationError

from metering.catalogue import Identifier, Price, Strict
from tallygate.config_errors import ConfigInvalid, Problem, one_of
from tallygate.config_yaml import read_yaml

MAX_BYTES: Final = 1 << 20


class Planned(Strict):
    """The other price of a product; `unit` (default: as recorded) cuts usage into other units."""

    product_id: Identifier
    unit: Annotated[int, Field(ge=1)] | None = None
    price: Price


class Plan(Strict):
    """Products that are not named keep their price."""

    products: Annotated[list[Planned], Field(min_length=1, max_length=10_000)]


def read_plan(path: Path, known: set[str]) -> dict[str, Planned]:
    """The plan by product; `known` are the products there are.

    Raises ConfigInvalid, whose message has one line per problem.
    """
    try:
        return _parsed(_read(path), known)
    except ConfigInvalid as invalid:
        problems = invalid.problems
    except UnicodeDecodeError:
        problems = ("not UTF-8; save it as UTF-8",)
    except OSError as problem:
        problems = (f"cannot be read: {problem.strerror}",)
    raise ConfigInvalid(f"{path}: {problem}" for problem in problems)


def _read(path: Path) -> str:
    with path.open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise ConfigInvalid([f"larger than {MAX_BYTES} bytes; is this the right file?"])
    return raw.decode("utf-8-sig")


def _parsed(text: str, known: set[str]) -> dict[str, Planned]:
    tree = read_yaml(text)
    try:
        plan = Plan.model_validate(tree)
    except ValidationError as error:
        raise ConfigInvalid(
            Problem(tuple(each["loc"]), each["msg"].removeprefix("Value error, "))
            for each in error.errors(include_url=False, include_input=False)
        ) from None
    found: dict[str, Planned] = {}
    problems = []
    for index, planned in enumerate(plan.products):
        place = ("products", index, "product_id")
        if planned.product_id not in known:
            text = f"there is no pay-per-use product {planned.product_id!r}; {one_of(known)}"
            problems.append(Problem(place, text))
        if planned.product_id in found:
            problems.append(Problem(place, "this product stands here twice; keep one"))
        found[planned.product_id] = planned
    if problems:
        raise ConfigInvalid(problems)
    return found
