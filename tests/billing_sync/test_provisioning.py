"""From an order to an instance: now, later, or when it is asked for."""

from dataclasses import replace
from decimal import Decimal

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import select

from billing_sync.key_models import ApiKey
from billing_sync.koogallery.order import Order
from billing_sync.lifecycle import instance_id_of
from billing_sync.models import Instance
from billing_sync.order_book import chosen_product
from billing_sync.patience import retry_wait_ms
from billing_sync.store.engine import reading, writing
from billing_sync.store.product_changes import may_replace
from billing_sync.store.projections import snapshots
from metering import keys
from metering.catalogue import Package, PackageItem, Product, catalogue
from tests.billing_sync.marketplace import CATALOGUE, SECRET, Marketplace

pytestmark = pytest.mark.anyio


def instance(engine: Engine, instance_id: object) -> Instance:
    with reading(engine) as session:
        return session.exec(select(Instance).where(Instance.id == instance_id)).one()


@pytest.mark.parametrize(
    ("products", "chosen"),
    [(("TOKENS",), "TOKENS"), (("X", "PACK"), "PACK"), (("X", "Y"), "X"), ((), "")],
)
def test_the_configured_product_is_chosen(products: tuple[str, ...], chosen: str) -> None:
    """Of a line's products the first one in the catalogue counts."""
    assert chosen_product(Order("o", "l", products), CATALOGUE) == chosen


def test_renewals_between_products() -> None:
    """A product may be replaced by one that is billed alike, by no other."""
    assert may_replace(CATALOGUE, "TOKENS", "TOKENS-YEAR")
    assert not may_replace(CATALOGUE, "TOKENS", "IMAGES")
    assert not may_replace(CATALOGUE, "TOKENS", "unheard of")
    assert may_replace(CATALOGUE, "unheard of", "neither")
    quota = Package(items=[PackageItem(of="TOKENS", quota=Decimal(1))])
    packages = catalogue([Product(product_id="A"), Product(product_id="B", package=quota)])
    assert not may_replace(packages, "A", "B")


def test_the_wait_doubles_to_ten_minutes() -> None:
    """5 s, 10 s, 20 s … 600 s, however often it failed."""
    assert [retry_wait_ms(n) for n in (0, 1, 2, 6, 7, 99)] == [
        5_000,
        10_000,
        20_000,
        320_000,
        600_000,
        600_000,
    ]


async def test_a_bought_instance_can_be_used(engine: Engine) -> None:
    """After a creation the buyer's snapshot holds the instance and the digest of his key."""
    market = Marketplace(engine)
    instance_id = await market.bought("CS1")
    with reading(engine) as session:
        (snapshot,) = snapshots(session, ["cust-1"])
        sealed = session.exec(select(ApiKey.sealed)).one()
    key = keys.unseal(SECRET, sealed)
    assert [k.digest for k in snapshot.keys] == [keys.digest(keys.pepper(SECRET), key)]
    assert [(i.instance_id, i.product_id, i.status) for i in snapshot.instances] == [
        (instance_id, "TOKENS", "active")
    ]
    assert snapshot.name == "Name of cust-1"
    assert market.changes == 1


async def test_a_package_is_an_instance_too(engine: Engine) -> None:
    """What the catalogue calls a package is marked as one."""
    market = Marketplace(engine)
    assert instance(engine, await market.bought("CS1", "PACK")).is_package
    assert not instance(engine, await market.bought("CS2", "TOKENS")).is_package


async def test_a_product_nobody_configured(engine: Engine) -> None:
    """A sale of an unknown product is provisioned, and counted for the operator."""
    market = Marketplace(engine)
    instance_id = await market.bought("CS1", "SURPRISE")
    assert instance(engine, instance_id).product_id == "SURPRISE"
    assert market.service.unknown_products == 1


@pytest.mark.parametrize("per", ["line", "product"])
async def test_ids_by_setting(engine: Engine, per: str) -> None:
    """The product id is part of the instance id only where the setting says so."""
    market = Marketplace(engine, create_per=per)
    made = await market.bought("CS1")
    product = ["TOKENS"] if per == "product" else []
    assert made == instance_id_of("CS1", "CS1-000001", *product)
    assert (await market.create("CS1"))["instanceId"] == made


async def test_an_id_given_before_the_product_was_known_stays(engine: Engine) -> None:
    """With ids per product, an order that came late keeps the id its line was told."""
    market = Marketplace(engine, create_per="product")
    waiting = await market.create("CS1")
    assert waiting["resultCode"] == "000004"
    market.orders.buy("CS1")
    settled = await market.create("CS1")
    assert (settled["resultCode"], settled["instanceId"]) == ("000000", waiting["instanceId"])


@pytest.mark.parametrize("reason", ["unknown", "down", "no buyer", "no product"])
async def test_waiting_orders(engine: Engine, reason: str) -> None:
    """Unknown, unreachable or incomplete orders leave an instance in `creating`."""
    market = Marketplace(engine)
    if reason == "no buyer":
        market.orders.buy("CS1", customer_id="")
    if reason == "no product":
        market.orders.buy("CS1", product_id="")
    market.orders.down = reason == "down"
    answer = await market.create("CS1")
    assert answer["resultCode"] == "000004"
    assert instance(engine, answer["instanceId"]).status == "creating"


async def test_the_background_settles(engine: Engine) -> None:
    """A waiting instance becomes active without another callback, once its order is there."""
    market = Marketplace(engine)
    answer = await market.create("CS1")
    assert await market.service.resolve() == 0
    market.orders.buy("CS1")
    market.clock.advance(seconds=5)
    changes = market.changes
    assert await market.service.resolve() == 1
    assert market.changes == changes + 1
    assert instance(engine, answer["instanceId"]).status == "active"
    assert (await market.create("CS1"))["resultCode"] == "000000"


async def test_the_background_is_patient(engine: Engine) -> None:
    """An order that stays unknown is asked for less and less often."""
    market = Marketplace(engine)
    await market.create("CS1")
    asked = []
    for _ in range(40):
        before = market.orders.asked
        await market.service.resolve()
        asked.append(market.orders.asked - before)
        market.clock.advance(seconds=1)
    assert [second for second, n in enumerate(asked) if n] == [0, 5, 15, 35]


async def test_many_waiting_instances_share(engine: Engine) -> None:
    """A round asks for a few orders; the next one goes on with the others."""
    market = Marketplace(engine)
    with writing(engine) as session:
        for number in range(20):
            line = f"CS{number}-000001"
            session.add(
                Instance(id=f"i{number}", order_id=f"CS{number}", order_line_id=line, started=1)
            )
            market.orders.buy(f"CS{number}")
    assert [await market.service.resolve() for _ in range(4)] == [8, 8, 4, 0]


async def test_an_order_settled_by_someone_else(engine: Engine) -> None:
    """Two occasions that find the order at once settle the instance once."""
    market = Marketplace(engine)
    answer = await market.create("CS1")
    waiting = instance(engine, answer["instanceId"])
    market.orders.buy("CS1")
    provisioner = market.service._provisioner
    assert await provisioner.resolve([waiting, waiting]) == 1


async def test_a_ledger_that_is_away(engine: Engine) -> None:
    """The background says plainly that SQL failed, so that its caller can go on."""
    market = Marketplace(engine)
    await market.create("CS1")
    market.orders.buy("CS1")
    with writing(engine) as session:
        session.connection().exec_driver_sql("DROP TABLE api_key")
    with pytest.raises(SQLAlchemyError):
        await market.service.resolve()


async def test_several_instances_of_one_line(engine: Engine) -> None:
    """With ids per product a call that names its billing item gets an instance of its own."""
    market = Marketplace(engine, create_per="product")
    market.orders.buy("CS1")
    line = market.orders.book["CS1", "CS1-000001"]
    both = replace(line, product_ids=("TOKENS", "IMAGES"), linear_values={"IMAGES": 5})
    market.orders.book["CS1", "CS1-000001"] = both
    made: dict[str, str] = {}
    for _ in range(2):
        for product in ("IMAGES", "TOKENS"):
            answer = await market.create("CS1", productId=product)
            assert answer["resultCode"] == "000000"
            assert made.setdefault(product, answer["instanceId"]) == answer["instanceId"]
    assert made == {p: instance_id_of("CS1", "CS1-000001", p) for p in made}
    assert instance(engine, made["IMAGES"]).linear_value == 5
    with reading(engine) as session:
        (snapshot,) = snapshots(session, ["cust-1"])
    assert {i.instance_id: i.product_id for i in snapshot.instances} == {
        instance_id: product for product, instance_id in made.items()
    }


async def test_several_instances_whose_order_comes_late(engine: Engine) -> None:
    """Each remembers the billing item that it was asked for with, and polling ends in success."""
    market = Marketplace(engine, create_per="product")
    answers = [await market.create("CS1", productId=p) for p in ("IMAGES", "TOKENS")]
    assert [answer["resultCode"] for answer in answers] == ["000004", "000004"]
    ids = [str(answer["instanceId"]) for answer in answers]
    waiting = await market.call("queryInstance", instanceId=",".join(ids))
    assert waiting["resultCode"] == "000004"
    market.orders.buy("CS1")
    line = market.orders.book["CS1", "CS1-000001"]
    market.orders.book["CS1", "CS1-000001"] = replace(line, product_ids=("TOKENS", "IMAGES"))
    ready = await market.call("queryInstance", instanceId=",".join(ids))
    assert ready["resultCode"] == "000000"
    assert [instance(engine, each).product_id for each in ids] == ["IMAGES", "TOKENS"]


async def test_a_named_product_does_not_split_a_line(engine: Engine) -> None:
    """With ids per line it is an extra field: one instance, whatever it says."""
    market = Marketplace(engine)
    made = await market.bought("CS1")
    for product in ("TOKENS", "IMAGES"):
        assert (await market.create("CS1", productId=product))["instanceId"] == made
