"""Renewals with and without another product, trials, and the question whether a change is possible."""

import json
from decimal import Decimal
from typing import Any

import anyio
import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import select

from billing_sync.market_models import AwaitedChange, ProductMapping
from billing_sync.models import Instance, LifecycleInbox, ProjectionOutbox
from billing_sync.order_book import OrderBook
from billing_sync.renewing import Renewer
from billing_sync.store import mappings
from billing_sync.store.engine import reading, writing
from billing_sync.store.package_totals import Given, give
from billing_sync.store.worker import SqlWorker
from billing_sync.upgrade_models import Upgrade
from metering.catalogue import Package, PackageItem, Product, catalogue
from tests.billing_sync.dying import FailingWrites
from tests.billing_sync.marketplace import CATALOGUE, Marketplace

pytestmark = pytest.mark.anyio

YEAR = "20270101000000"
YEAR_MS = 1_798_761_600_000


def small(product_id: str, **quotas: int) -> Product:
    items = [PackageItem(of=item, quota=Decimal(quota)) for item, quota in quotas.items()]
    return Product(product_id=product_id, package=Package(items=items))


PRODUCTS = catalogue(
    [
        *CATALOGUE.values(),
        small("SMALL", TOKENS=10),
        small("BIG", TOKENS=1000),
        small("PICTURES", IMAGES=10),
    ]
)


@pytest.fixture
def market(engine: Engine) -> Marketplace:
    return Marketplace(engine, PRODUCTS)


def row(engine: Engine, instance_id: str) -> Instance:
    with reading(engine) as session:
        return session.exec(select(Instance).where(Instance.id == instance_id)).one()


def rows(engine: Engine, table: Any) -> list[Any]:
    with reading(engine) as session:
        return list(session.exec(select(table)).all())


async def renew(
    market: Marketplace, instance_id: str, scene: str = "RENEWAL", order: str = "R1", **more: str
) -> str:
    """A refresh a second later; its result code."""
    market.clock.advance(seconds=1)
    body = {"instanceId": instance_id, "orderId": order, "orderLineId": f"{order}-000001"}
    answer = await market.call(
        "refreshInstance", scene=scene, expireTime=more.pop("expireTime", YEAR), **body, **more
    )
    return str(answer["resultCode"])


async def test_a_renewal_and_its_refund(market: Marketplace) -> None:
    """The refund brings the earlier expiry back; no order is asked for by either."""
    made = await market.bought("CS1")
    asked = market.orders.asked
    assert await renew(market, made) == "000000"
    assert row(market.engine, made).expires == YEAR_MS
    scene = "UNSUBSCRIBE_RENEWAL_PERIOD"
    assert await renew(market, made, scene, "U1", expireTime="20261231000000") == "000000"
    assert row(market.engine, made).expires == YEAR_MS - 86_400_000
    assert market.orders.asked == asked


async def test_a_trial_and_its_conversion(market: Marketplace) -> None:
    """TRIAL orders are trials until TRIAL_TO_FORMAL, which may bring another product."""
    market.orders.buy("CS1", trial=True)
    made = (await market.create("CS1"))["instanceId"]
    assert row(market.engine, made).trial
    code = await renew(market, made, "TRIAL_TO_FORMAL", productId="IMAGES")
    after = row(market.engine, made)
    assert (code, after.trial, after.product_id) == ("000000", False, "IMAGES")


async def test_a_renewal_change_takes_product_and_quantity_from_its_order(
    market: Marketplace,
) -> None:
    """What the order says counts from the callback on; the old product is cut."""
    made = await market.bought("CS1")
    market.orders.buy("R1", "IMAGES", linear_value=3)
    assert await renew(market, made, "RENEWAL_CHANGE") == "000000"
    after = row(market.engine, made)
    assert (after.product_id, after.linear_value, after.expires) == ("IMAGES", 3, YEAR_MS)
    (cut,) = rows(market.engine, Upgrade)
    assert (cut.old_product_id, cut.at) == ("TOKENS", market.clock.now_ms())
    assert rows(market.engine, AwaitedChange) == []


@pytest.mark.parametrize("named", ["", "IMAGES"])
async def test_a_renewal_change_whose_order_comes_late(market: Marketplace, named: str) -> None:
    """It is answered with success at once, and finished in the background."""
    made = await market.bought("CS1")
    market.orders.down = True
    more = {"productId": named} if named else {}
    assert await renew(market, made, "RENEWAL_CHANGE", **more) == "000000"
    assert row(market.engine, made).expires == YEAR_MS
    assert row(market.engine, made).product_id == (named or "TOKENS")
    assert await market.service.resolve() == 0
    market.orders.down = False
    market.orders.buy("R1", "IMAGES", linear_value=7)
    assert await market.service.resolve() == 0, "it was asked for a moment ago"
    market.clock.advance(seconds=5)
    changes = market.changes
    assert await market.service.resolve() == 1
    assert market.changes == changes + 1
    after = row(market.engine, made)
    assert (after.product_id, after.linear_value) == ("IMAGES", 7)
    assert len(rows(market.engine, Upgrade)) == 1
    assert rows(market.engine, AwaitedChange) == []


async def test_what_was_awaited_is_overtaken(market: Marketplace) -> None:
    """A newer upgrade stands, whenever the older renewal's order is learnt."""
    made = await market.bought("CS1")
    await renew(market, made, "RENEWAL_CHANGE")
    market.clock.advance(seconds=1)
    market.orders.buy("U1", "TOKENS-YEAR")
    order = {"orderId": "U1", "orderLineId": "U1-000001"}
    await market.call("upgradeInstance", instanceId=made, **order)
    market.orders.buy("R1", "IMAGES")
    market.clock.advance(seconds=5)
    assert await market.service.resolve() == 1
    assert row(market.engine, made).product_id == "TOKENS-YEAR"


async def test_a_renewal_to_a_product_nobody_configured(market: Marketplace) -> None:
    """The paid renewal counts, the old product is metered on, and a mapping finishes it."""
    made = await market.bought("CS1")
    assert await renew(market, made, productId="SURPRISE") == "000000"
    assert (row(market.engine, made).product_id, market.service.unknown_products) == ("TOKENS", 1)
    with reading(market.engine) as session:
        assert mappings.unmapped(session, PRODUCTS) == [("SURPRISE", 0, 1)]
    with writing(market.engine) as session:
        mappings.put(
            session, ProductMapping(product_id="SURPRISE", mapped_to="IMAGES", at=1, author="x")
        )
    market.orders.buy("R1", "SURPRISE")
    assert await market.service.resolve() == 1
    assert row(market.engine, made).product_id == "IMAGES"


async def test_a_repeat_changes_nothing(market: Marketplace) -> None:
    """The same renewal order counts once, and is asked for once; for ghosts nothing is."""
    made = await market.bought("CS1")
    market.orders.buy("R1", "IMAGES")
    await renew(market, made, "RENEWAL_CHANGE")
    market.orders.buy("R1", "TOKENS")
    asked = market.orders.asked
    assert await renew(market, made, "RENEWAL_CHANGE") == "000000"
    assert await renew(market, "ghost", "RENEWAL_CHANGE") == "000003"
    assert market.orders.asked == asked
    assert row(market.engine, made).product_id == "IMAGES"


async def test_a_renewal_whose_order_names_the_unknown(market: Marketplace) -> None:
    """What the order named is shown as waiting for a mapping, when it was learnt at once or later."""
    for order, known in (("R1", True), ("R2", False)):
        made = await market.bought(f"CS{order}")
        market.orders.buy(order, "SURPRISE")
        market.orders.down = not known
        assert await renew(market, made, "RENEWAL_CHANGE", order) == "000000"
    market.orders.down = False
    market.clock.advance(seconds=5)
    assert await market.service.resolve() == 0
    with reading(market.engine) as session:
        assert mappings.unmapped(session, PRODUCTS) == [("SURPRISE", 0, 2)]


async def test_a_check_before_the_buyer_is_known(market: Marketplace) -> None:
    """It is asked for again later."""
    waiting = await market.create("CS1")
    answer = await check(market, waiting["instanceId"], {"productId": "IMAGES"})
    assert answer["resultCode"] == "000005"


async def check(market: Marketplace, instance_id: str, info: object) -> dict[str, Any]:
    return await market.call("changeInstanceCheck", instanceId=instance_id, productInfo=info)


@pytest.mark.parametrize("shape", ["object", "text", "list"])
async def test_a_change_that_is_possible(market: Marketplace, shape: str) -> None:
    """productInfo is an object, the same as a string, or a list of one; nothing is changed."""
    made = await market.bought("CS1")
    info: Any = {"productId": "IMAGES", "skuCode": "s", "linearValue": 2, "future": None}
    given = {"object": info, "text": json.dumps(info), "list": [info]}[shape]
    assert await check(market, made, given) == {"resultCode": "000000", "resultMsg": "success"}
    assert row(market.engine, made).product_id == "TOKENS"


@pytest.mark.parametrize(
    ("target", "linear_value", "code"),
    [
        ("BIG", None, "000000"),
        ("SMALL", None, "000100"),
        ("SMALL", 5, "000000"),
        ("SMALL", "4", "000100"),
        ("PICTURES", None, "000100"),
        ("TOKENS", None, "000100"),
        ("SURPRISE", None, "000100"),
    ],
)
async def test_a_smaller_package(
    market: Marketplace, target: str, linear_value: object, code: str
) -> None:
    """What was used must fit; packages stay packages; nobody changes to what is unknown."""
    tokens = await market.bought("CS1")
    pack = await market.bought("CS2", "PACK")
    with writing(market.engine) as session:
        give(session, [Given(pack, tokens, "TOKENS", 1, 50_000)])
    value = {} if linear_value is None else {"linearValue": linear_value}
    answer = await check(market, pack, {"productId": target, **value})
    assert answer["resultCode"] == code
    if (target, linear_value) == ("SMALL", None):
        assert answer["resultMsg"] == "50.0000 of TOKENS are used, and the product holds 10.0000"


async def test_checks_of_what_is_not_there(market: Marketplace) -> None:
    """Unknown and released instances are named."""
    made = await market.bought("CS1")
    await market.call("releaseInstance", instanceId=made)
    for instance_id in (made, "ghost"):
        answer = await check(market, instance_id, {"productId": "IMAGES"})
        assert answer == {
            "resultCode": "000003",
            "resultMsg": f"unknown instanceId: {instance_id}",
        }


@pytest.mark.parametrize(
    "info",
    [
        None,
        "",
        "{",
        "[]",
        7,
        [],
        ["IMAGES"],
        {},
        {"productId": ""},
        {"productId": 7},
        {"productId": "x" * 65},
        {"productId": "IMAGES", "linearValue": 0},
        {"productId": "IMAGES", "linearValue": True},
        {"productId": "IMAGES", "linearValue": 1.5},
        {"productId": "IMAGES", "linearValue": "1" * 10},
        {"productId": "IMAGES", "more": "x" * 5000},
        "[" * 4000,
    ],
)
@pytest.mark.parametrize("test_flag", ["0", "1"])
async def test_product_info_that_is_none(market: Marketplace, info: object, test_flag: str) -> None:
    """000002 with the field's name, debugging or not; never an error of ours."""
    made = await market.bought("CS1")
    body = {"instanceId": made, "productInfo": info, "testFlag": test_flag}
    answer = await market.call("changeInstanceCheck", **body)
    assert answer["resultCode"] == "000002"
    assert any(name in answer["resultMsg"] for name in ("productI", "linearValue"))


@pytest.mark.parametrize("order_known", [True, False])
async def test_a_crash_between_the_writes_of_a_renewal_change(
    market: Marketplace, order_known: bool
) -> None:
    """Whichever statement fails: all of it or nothing is kept, and the next call finds its way."""
    made = await market.bought("CS1")
    if order_known:
        market.orders.buy("R1", "IMAGES", linear_value=3)
    failing = FailingWrites(market.engine)

    def kept() -> list[list[dict[str, Any]]]:
        tables: list[Any] = [Instance, LifecycleInbox, Upgrade, AwaitedChange, ProjectionOutbox]
        return [[each.model_dump() for each in rows(market.engine, table)] for table in tables]

    code = ""
    for number in range(1, 20):
        before = kept()
        failing.left = number
        code = await renew(market, made, "RENEWAL_CHANGE")
        if failing.left > 0:
            break
        assert (code, kept()) == ("000005", before)
    assert number > 4
    assert code == "000000"
    assert row(market.engine, made).expires == YEAR_MS
    assert row(market.engine, made).product_id == ("IMAGES" if order_known else "TOKENS")
    assert len(rows(market.engine, AwaitedChange)) == (0 if order_known else 1)


async def test_two_control_planes_learn_the_same(market: Marketplace) -> None:
    """Both look at the same awaited renewal; it counts once."""
    made = await market.bought("CS1")
    await renew(market, made, "RENEWAL_CHANGE")
    market.orders.buy("R1", "IMAGES")
    others = []
    for _ in range(2):
        sql = SqlWorker(market.engine)
        book = OrderBook(sql, market.orders, PRODUCTS)
        others.append(Renewer(sql, book, market.clock, market._changed))
    async with anyio.create_task_group() as group:
        for each in others:
            group.start_soon(each.resolve)
    assert row(market.engine, made).product_id == "IMAGES"
    assert len(rows(market.engine, Upgrade)) == 1
    assert rows(market.engine, AwaitedChange) == []


async def test_concurrent_renewals_of_one_order(market: Marketplace) -> None:
    """The same renewal twice at once is one."""
    made = await market.bought("CS1")
    market.orders.buy("R1", "IMAGES")
    codes: list[str] = []

    async def one() -> None:
        codes.append(await renew(market, made, "RENEWAL_CHANGE"))

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(one)
    assert codes == ["000000"] * 4
    assert len(rows(market.engine, Upgrade)) == 1


async def test_an_outage_of_the_ledger_is_said(market: Marketplace) -> None:
    """The background raises, so that its caller can go on."""
    with writing(market.engine) as session:
        session.connection().exec_driver_sql("DROP TABLE awaited_change")
    with pytest.raises(SQLAlchemyError):
        await market.service.resolve()
