import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import col, select

from billing_sync.models import Instance, UsageRecord
from billing_sync.store.engine import reading, writing
from billing_sync.store.revenue import Buyer, Sold
from metering.catalogue import Price, Product, catalogue
from metering.windows import HOUR_MS
from tallygate.config_errors import ConfigInvalid
from tallygate.whatif.plan import Planned, read_plan
from tallygate.whatif.reading import lines
from tallygate.whatif.repricing import DAY_MS, Line, Scheme, reprice
from tallygate.whatif.showing import Sums, line_json, plain, products_json, text
from tallygate.whatif.whatif_command import whatif
from tests.installations import configuration, write
from tests.tallygate.site import START, Site

pytestmark = pytest.mark.anyio

NOW = Price(unit_price=Decimal("0.02"))
LADDER = {"up_to": "1000", "price": "0.02"}
PLAN = """
products:
  - product_id: TOKENS
    price: {mode: step, accumulate: month, bands: [{up_to: 3, price: "0.3"}, {price: "0.2"}]}
"""
A = Buyer("a", "i")


def sold(value: str, begin: int = 0, package: str = "", unit: int = 1000) -> Sold:
    return Sold("i", "TOKENS", begin, value, unit, package)


def scheme(price: dict[str, Any], now: Price | None = NOW, unit: int | None = None) -> Scheme:
    plan = {
        "TOKENS": Planned.model_validate({"product_id": "TOKENS", "price": price, "unit": unit})
    }
    product = Product(product_id="TOKENS", meter="tokens_total", unit=1000, price=now)
    return Scheme(catalogue([product]), plan, 0, 2**62)


def only(found: list[Line]) -> Line:
    (line,) = found
    return line


def test_records_are_priced_twice() -> None:
    """Eight units under a step price, and as they cost now."""
    step = {"mode": "step", "bands": [{"up_to": "3", "price": "0.3"}, {"price": "0.2"}]}
    line = only(reprice(A, [sold("8.0000")], scheme(step)))
    assert (line.revenue.old, line.revenue.new) == (Decimal("0.16"), Decimal("1.90"))
    assert line.revenue.difference == Decimal("1.74")


def test_prepaid_records_cost_nothing() -> None:
    """Nor do they fill a band."""
    step = {"mode": "step", "accumulate": "month", "bands": [LADDER, {"price": "0.01"}]}
    made = [sold("5000.0000", package="k"), sold("10.0000", HOUR_MS)]
    revenue = only(reprice(A, made, scheme(step))).revenue
    assert (revenue.records, str(revenue.quantity)) == (2, "10.0000")
    assert revenue.prepaid == 5000
    assert revenue.new == Decimal("0.2")


def test_a_month_that_had_begun_counts_its_beginning() -> None:
    """Though nothing of it is in the sum."""
    step = {"mode": "step", "accumulate": "month", "bands": [LADDER, {"price": "0.01"}]}
    asked = scheme(step)._replace(from_ms=10 * DAY_MS)
    revenue = only(reprice(A, [sold("1000.0000"), sold("7.0000", 10 * DAY_MS)], asked)).revenue
    assert (revenue.records, str(revenue.quantity)) == (1, "7.0000")
    assert revenue.new == Decimal("0.07")
    assert reprice(A, [sold("1000.0000")], asked) == []


def test_without_a_price_nothing_is_compared() -> None:
    """Nor money of two currencies."""
    revenue = only(reprice(A, [sold("1.0000")], scheme({"unit_price": "1"}, None))).revenue
    assert (revenue.old, revenue.new, revenue.difference) == (None, Decimal(1), None)
    dollars = scheme({"unit_price": "1", "currency": "USD"})
    revenue = only(reprice(A, [sold("1.0000")], dollars)).revenue
    assert (revenue.old, revenue.difference) == (Decimal("0.02"), None)


@given(st.lists(st.integers(1, 10**9), max_size=20), st.integers(1, 10**7))
def test_another_unit_loses_nothing(steps: list[int], unit: int) -> None:
    """What is below four decimals goes to the next record; at the end less than that is left."""
    made = [sold(str(Decimal(each) / 10_000), n) for n, each in enumerate(steps)]
    found = reprice(A, made, scheme({"unit_price": "1"}, unit=unit))
    amount = sum(steps) * 1000  # ten-thousandths of a token
    new = found[0].revenue.new if found else Decimal(0)
    assert new is not None
    assert 0 <= amount - int(new * 10_000) * unit < unit


@given(st.lists(st.decimals("0.0001", 10**6, places=4), min_size=1, max_size=20))
def test_the_same_price_changes_nothing(values: list[Decimal]) -> None:
    """However many records there are."""
    made = [sold(str(value), number) for number, value in enumerate(values)]
    line = only(reprice(A, made, scheme({"unit_price": "0.02"})))
    assert line.revenue.difference == 0
    assert line.revenue.old == sum(values) * Decimal("0.02")


async def used(site: Site) -> None:
    for customer in ("a", "b", "c"):
        site.buy(f"i-{customer}", customer)
    for _ in range(3):
        for number, customer in enumerate("abc", start=1):
            site.call(customer=customer, instance=f"i-{customer}", tokens=1000 * number)
        await site.flush()
        await site.drain()
        site.clock.advance(ms=HOUR_MS)
        site.close()


@pytest.mark.parametrize("at_once", [1, 2, 100])
async def test_the_ledger_is_priced_customer_by_customer(site: Site, at_once: int) -> None:
    """However many are read together."""
    await used(site)
    asked = scheme({"unit_price": "1"})
    sums = Sums()
    found = [line_json(line) for line in sums.read(lines(site.engine, asked, None, at_once))]
    assert [(each["customer_id"], each["units"], each["plan"]) for each in found] == [
        ("a", "6", "6"),
        ("b", "12", "12"),
        ("c", "18", "18"),
    ]
    (product,) = products_json(sums)
    assert (product["now"], product["plan"], product["difference"]) == ("0.72", "36", "35.28")
    assert product["records"] == 9
    shown = "\n".join(text(sums))
    assert "3 customers; those it changes most for" in shown
    assert shown.index("\n  c") < shown.index("\n  a")


async def test_a_customer_and_a_time_are_chosen(site: Site) -> None:
    """Records that begin in it."""
    await used(site)
    asked = scheme({"unit_price": "1"})._replace(from_ms=START + HOUR_MS, to_ms=START + 2 * HOUR_MS)
    (line,) = lines(site.engine, asked, "b")
    assert (line.revenue.records, str(line.revenue.quantity)) == (1, "4.0000")
    assert list(lines(site.engine, asked, "nobody")) == []


async def test_packages_bring_nothing_by_themselves(site: Site) -> None:
    """They are prepaid: only pay-per-use instances have records."""
    await used(site)
    with writing(site.engine) as session:
        session.exec(select(Instance).where(col(Instance.id) == "i-a")).one().is_package = True
    found = list(lines(site.engine, scheme({"unit_price": "1"})))
    assert [line.buyer.instance_id for line in found] == ["i-b", "i-c"]


def refused(tmp_path: Path, content: str | bytes) -> str:
    path = tmp_path / "plan.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigInvalid) as invalid:
        read_plan(path, {"TOKENS"})
    return str(invalid.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("TOKENS", "OTHER", "products[0].product_id: there is no pay-per-use product 'OTHER'; known: TOKENS"),
        ('"0.3"', "0.3", 'products[0].price.bands[0].price: write it in quotes, such as "0.02"'),
        ("up_to: 3, ", "", "products[0].price: only the last of the bands may be without up_to"),
        ('{price: "0.2"}', '{up_to: 4, price: "0.2"}', "products[0].price: the last of the bands is open: give it a price and no up_to"),
        ("mode: step, ", "", 'products[0].price: a fixed price needs unit_price, such as "0.02"'),
        ("mode: step", "mode: tier", "products[0].price: accumulate belongs to mode step; remove it"),
        ("mode: step", "mode: stairs", "products[0].price.mode: Input should be 'fixed', 'step' or 'tier'"),
        ("price:", "prise:", "products[0].price: Field required"),
        ("products", "product", "products: Field required"),
    ],
)  # fmt: skip
def test_a_plan_that_cannot_be_read_is_refused(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    """With the place and what to do, and the file's name."""
    assert f"{tmp_path / 'plan.yaml'}: {said}" in refused(
        tmp_path, PLAN.replace(old, new, 1)
    ).split("\n")


def test_what_is_no_plan_is_refused(tmp_path: Path) -> None:
    """Whatever it is."""
    assert "not UTF-8" in refused(tmp_path, b"\xff\xfe")
    assert "larger than" in refused(tmp_path, "#" * (2 << 20))
    assert "not valid YAML" in refused(tmp_path, "{")
    assert "valid dictionary" in refused(tmp_path, "[]")
    assert "twice" in refused(tmp_path, PLAN + PLAN.split("products:\n", 1)[1])


@pytest.mark.parametrize(
    "price",
    [
        {"mode": "step", "bands": [{"up_to": "3", "price": "1"}, {"up_to": "3", "price": "1"}, {"price": "1"}]},
        {"mode": "tier", "bands": []},
        {"mode": "tier", "unit_price": "1", "bands": [{"price": "1"}]},
        {"unit_price": "1", "bands": [{"price": "1"}]},
        {"unit_price": "1", "accumulate": "day"},
        {"unit_price": "-1"},
        {"unit_price": "1", "currency": "yuan"},
        {"unit_price": "NaN"},
    ],
)  # fmt: skip
def test_a_price_that_makes_no_sense_is_refused(price: dict[str, Any]) -> None:
    """Bands that do not rise, two prices at once, no price at all."""
    with pytest.raises(ValueError, match=r"price|currency"):
        Price.model_validate(price)


def test_money_is_shown_as_it_is() -> None:
    """Exactly, without an exponent."""
    assert [plain(Decimal(each)) for each in ("1E+3", "0.10", "0.0000001", "0")] == [
        "1000",
        "0.1",
        "0.0000001",
        "0",
    ]
    assert plain(None) == "-"


def invoke(path: Path, plan: Path, *words: str) -> Result:
    return CliRunner().invoke(whatif, ["-c", str(path), "--plan", str(plan), *words])


@pytest.mark.parametrize(
    "words", [("--zone", "Beijing"), ("--from", "2026-02-01", "--to", "2026-01-01")]
)
def test_wrong_usage_is_two(words: tuple[str, ...], tmp_path: Path) -> None:
    """In one line."""
    path = write(tmp_path, configuration("http://127.0.0.1:1"))
    plan = tmp_path / "plan.yaml"
    plan.write_text(PLAN)
    result = invoke(path, plan, *words)
    assert result.exit_code == 2, result.output
    assert result.output.count("\n") == 1


async def test_the_records_of_the_examples_are_whole(site: Site) -> None:
    """As JSON, which scripts read."""
    await used(site)
    with reading(site.engine) as session:
        assert session.exec(select(UsageRecord)).first() is not None
    sums = Sums()
    document = [
        line_json(line) for line in sums.read(lines(site.engine, scheme({"unit_price": "1"})))
    ]
    assert json.loads(json.dumps(document)) == document
