"""getLicenseAsync over the production address (spec §4.1)."""

from base64 import b64decode
from dataclasses import replace
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlmodel import delete

from billing_sync.licence_models import Licence
from billing_sync.licences import LicenceRefused, Reason
from billing_sync.models import OrderLine
from billing_sync.store.engine import writing
from tests.billing_sync.licensing import DAY, KEEPER, Shop, file_api, rows, states, written

pytestmark = pytest.mark.anyio


async def delivered(engine: Engine) -> None:
    """Return when every licence is."""
    with anyio.fail_after(20):
        while set(states(engine)) != {"delivered"}:  # noqa: ASYNC110  (the loops tell nobody)
            await anyio.sleep(0.02)


@pytest.fixture
def shop(engine: Engine) -> Shop:
    return Shop(engine)


async def test_from_the_wish_to_the_upload(engine: Engine) -> None:
    """000000 with the licence made, which is uploaded under its event."""
    with file_api() as (api, server):
        async with Shop(engine, server.url, answer_within=4).open() as shop:
            instance = await shop.licensed("o1", linear_value=3)
            assert (await shop.ask(instance, "ev/1"))["resultCode"] == "000000"
            await delivered(engine)
    ((event, said, file),) = api.uploads
    (row,), (request,) = rows(engine), shop.maker.requests
    assert (event, said["type"], said["file_name"]) == ("ev/1", "FILE", "LIC.lic")
    assert file == KEEPER.made(row).content
    assert api.refused == []
    assert request == replace(
        request,
        id=row.id,
        event_id="ev/1",
        instance_id=instance,
        product_id="LIC",
        order_id="o1",
        order_line_id="o1-000001",
        customer_id="cust-1",
        customer_name="Name of cust-1",
        quantity=3,
        fingerprint="mac-1",
    )
    assert request.expires is not None
    assert (request.expires - request.effective).days == 365


async def test_what_takes_longer_is_made_by_the_job(shop: Shop) -> None:
    """000004 until it is made; then 000000, and the maker was asked once."""
    instance = await shop.licensed("o1")
    assert await shop.code(instance) == "000004"
    assert await shop.code(instance) == "000004"
    await shop.jobs.make_due()
    assert await shop.code(instance) == "000000"
    assert len(shop.maker.requests) == 1


async def test_nothing_is_kept_in_plain(shop: Shop) -> None:
    """Neither the fingerprint nor the licence, nor do they show in a repr."""
    instance = await shop.licensed("o1")
    await shop.ask(instance, deviceFingerprint="secret-mac")
    await shop.jobs.make_due()
    (row,) = rows(shop.engine)
    licence = KEEPER.made(row).content.decode()
    for text in (repr(row), row.model_dump_json(), repr(shop.maker.requests), repr(KEEPER)):
        assert licence not in text
        assert "secret-mac" not in text


async def test_the_wish_decides_which_licence(shop: Shop) -> None:
    """Event and fingerprint: the same again is the same, another of either is another."""
    instance = await shop.licensed("o1")
    for event, mac in [("e1", "a"), ("e1", "a"), ("e2", "a"), ("e1", "b"), ("e1", "")]:
        await shop.ask(instance, event, deviceFingerprint=mac)
        await shop.jobs.make_due()
    assert len(rows(shop.engine)) == len(shop.maker.requests) == 4
    later = {"expireTime": written(shop.clock.now_ms() + 300 * DAY)}
    assert await shop.code(instance, "e1", deviceFingerprint="a", **later) == "000000"
    assert len(rows(shop.engine)) == 4


async def test_an_event_of_another_instance(shop: Shop) -> None:
    """Is refused: somebody would get another one's licence."""
    first, second = await shop.licensed("o1"), await shop.licensed("o2")
    await shop.ask(first)
    assert await shop.code(second) == "000002"
    assert len(rows(shop.engine)) == 1


async def test_whom_there_is_nothing_for(shop: Shop) -> None:
    """Unknown and released instances, products that are none, frozen ones; nothing is written."""
    assert await shop.code("nobody") == "000003"
    tokens = await shop.licensed("o1", "TOKENS")
    assert await shop.code(tokens) == "000005"
    released = await shop.licensed("o2")
    await shop.call("releaseInstance", instanceId=released)
    assert await shop.code(released) == "000003"
    frozen = await shop.licensed("o3")
    await shop.call("updateInstanceStatus", instanceId=frozen, status="FREEZE")
    assert await shop.code(frozen) == "000901"
    assert rows(shop.engine) == []
    shop.clock.advance(seconds=1)
    await shop.call("updateInstanceStatus", instanceId=frozen, status="UNFREEZE")
    assert await shop.code(frozen) == "000004"


async def test_the_four_codes_of_licences(shop: Shop) -> None:
    """By our own rules: quota, validity, expiry, fingerprint."""
    instance = await shop.licensed("o1", "BOUND")
    assert await shop.code(instance, "e0", deviceFingerprint="") == "000903"
    assert await shop.code(instance, "e1", deviceFingerprint="a") == "000004"
    assert await shop.code(instance, "e2", deviceFingerprint="b") == "000900"
    assert await shop.code(instance, "e3", deviceFingerprint="a") == "000004"
    too_late = {"expireTime": written(shop.clock.now_ms() + 400 * DAY)}
    assert await shop.code(instance, "e4", deviceFingerprint="a", **too_late) == "000901"


async def test_after_a_renewal(shop: Shop) -> None:
    """The new expiry counts, also for the device that has its licence already."""
    instance = await shop.licensed("o1", "BOUND")
    assert await shop.code(instance, "e1") == "000004"
    longer = {"expireTime": written(shop.clock.now_ms() + 700 * DAY)}
    assert await shop.code(instance, "e2", **longer) == "000901"
    shop.clock.advance(seconds=5)
    renewed = written(shop.clock.now_ms() + 730 * DAY).rstrip(" z")
    expire = "".join(each for each in renewed if each.isdigit())
    refreshed = await shop.call(
        "refreshInstance",
        scene="RENEWAL",
        orderId="r",
        orderLineId="r-1",
        instanceId=instance,
        expireTime=expire,
    )
    assert refreshed["resultCode"] == "000000"
    assert await shop.code(instance, "e2", **longer) == "000004"


async def test_a_period_licence_needs_its_expiry(shop: Shop) -> None:
    """000902, by what the order says; what was bought once needs none."""
    instance = await shop.licensed("o1")
    with writing(shop.engine) as session:
        session.get_one(OrderLine, ("o1", "o1-000001")).charging_mode = "PERIOD"
    assert await shop.code(instance, expireTime="") == "000902"
    other = await shop.licensed("o2")
    assert await shop.code(other, "e2", expireTime="") == "000004"
    await shop.jobs.make_due()
    assert shop.maker.requests[0].expires is None


async def test_while_the_order_is_not_known(shop: Shop) -> None:
    """The wish waits; what is wrong with it is said once the order is known."""
    shop.orders.down = True
    answer = await shop.create("o1")
    instance = str(answer["instanceId"])
    assert await shop.code(instance, "e1", deviceFingerprint="") == "000004"
    await shop.jobs.make_due()
    assert states(shop.engine) == {"making": 1}
    shop.orders.down = False
    shop.orders.buy("o1", "BOUND")
    assert await shop.code(instance, "e1", deviceFingerprint="") == "000903"
    shop.clock.advance(seconds=700)
    await shop.service.resolve()
    await shop.jobs.make_due()
    (row,) = rows(shop.engine)
    assert (row.state, row.code) == ("refused", "000903")
    assert shop.maker.requests == []


@pytest.mark.parametrize(
    "reason", [Reason.QUOTA_USED_UP, Reason.INTERNAL], ids=lambda reason: reason.name
)
async def test_a_maker_may_refuse(shop: Shop, reason: Reason) -> None:
    """Its reason is the reply; asked again the maker is asked again, and may have changed its mind."""
    instance = await shop.licensed("o1")
    shop.maker.plan = [LicenceRefused(reason, "sold out")]
    assert await shop.code(instance) == "000004"
    await shop.jobs.make_due()
    (row,) = rows(shop.engine)
    assert (row.state, row.code, row.error) == ("refused", reason.value, "sold out")
    assert await shop.code(instance) == "000004"
    await shop.jobs.make_due()
    assert await shop.code(instance) == "000000"


async def test_a_refusal_is_the_reply_when_it_comes_in_time(engine: Engine) -> None:
    """With its words."""
    async with Shop(engine, answer_within=4).open() as shop:
        instance = await shop.licensed("o1")
        shop.maker.plan = [LicenceRefused(Reason.QUOTA_USED_UP, "ten of ten")]
        answer = await shop.ask(instance)
        assert (answer["resultCode"], answer["resultMsg"]) == ("000900", "ten of ten")


async def test_debugging_writes_nothing(shop: Shop) -> None:
    """testFlag=1 is answered from the call alone; what is malformed is refused in it as well."""
    assert await shop.code("nobody", testFlag="1") == "000000"
    assert await shop.code("nobody", testFlag="1", effectiveTime="soon") == "000002"
    assert rows(shop.engine) == []


async def test_asked_again_after_the_delivery(engine: Engine) -> None:
    """The marketplace may have lost it: the same bytes go again, but not for every hurried repeat."""
    with file_api() as (api, server):
        shop = Shop(engine, server.url)
        instance = await shop.licensed("o1")
        await shop.ask(instance)
        await shop.work()
        assert await shop.code(instance) == "000000"
        await shop.work()
        assert len(api.uploads) == 1
        shop.clock.advance(seconds=31)
        assert await shop.code(instance) == "000000"
        await shop.work()
        assert len(api.uploads) == 2
        assert api.uploads[0] == api.uploads[1]
        await shop.call("releaseInstance", instanceId=instance)
        shop.clock.advance(seconds=31)
        assert await shop.code(instance) == "000000"
        await shop.work()
        assert len(api.uploads) == 2
        await shop.http.aclose()


async def test_getlicense_of_v1(engine: Engine) -> None:
    """A purchase and its licence in one signed reply, the same for the order again (spec §4.3)."""
    async with Shop(engine, answer_within=4).open() as shop:
        shop.maker.as_file = False
        bought = {
            "orderId": "o1",
            "productId": "LIC",
            "customerId": "cust-9",
            "businessId": "b1",
            "chargingMode": "3",
        }
        first = await shop.v1("getLicense", **bought)
        again = await shop.v1("getLicense", **(bought | {"businessId": "b2"}))
    assert (first["resultCode"], len(shop.maker.requests)) == ("000000", 1)
    assert first == again
    (row,) = rows(engine)
    assert first["license"].encode() == KEEPER.made(row).content
    assert (row.state, row.instance_id) == ("delivered", first["instanceId"])
    assert shop.maker.requests[0].customer_id == "cust-9"


async def test_getlicense_takes_longer(shop: Shop) -> None:
    """000004 with the instance, and later the licence; a file is base64, and nothing is uploaded."""
    bought = {"orderId": "o1", "productId": "LIC", "customerId": "c", "businessId": "b"}
    slow = await shop.v1("getLicense", **bought)
    assert (slow["resultCode"], "license" in slow) == ("000004", False)
    await shop.work()
    done = await shop.v1("getLicense", **bought)
    assert (done["resultCode"], done["instanceId"]) == ("000000", slow["instanceId"])
    (row,) = rows(shop.engine)
    assert b64decode(done["license"]) == KEEPER.made(row).content
    debug = await shop.v1("getLicense", testFlag="1", **bought)
    assert (debug["resultCode"], debug["license"]) == ("000000", "debug-licence")


async def test_the_other_calls_of_v1(shop: Shop) -> None:
    """A licence of V1.0 is renewed, ends and is released under its own names."""
    bought = {"orderId": "o1", "productId": "LIC", "customerId": "c", "businessId": "b"}
    instance = (await shop.v1("getLicense", **bought))["instanceId"]
    known = {"instanceId": instance, "orderId": "o2"}
    for activity, more in [
        ("expireLicense", {}),
        ("refreshLicense", {"expireTime": "20990101000000"}),
        ("releaseLicense", {}),
    ]:
        shop.clock.advance(seconds=1)
        assert (await shop.v1(activity, **known, **more))["resultCode"] == "000000"
    assert (await shop.v1("releaseLicense", instanceId="x", orderId="o"))["resultCode"] == "000003"


Call = tuple[str, str, str]
CALLS = st.lists(
    st.tuples(
        st.sampled_from(["o1", "o2"]),
        st.sampled_from(["e1", "e2", "e3"]),
        st.sampled_from(["", "a", "b"]),
    ),
    min_size=1,
    max_size=12,
)


@settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(calls=CALLS, batch=st.integers(1, 8))
def test_one_licence_of_each_wish(engine: Engine, calls: list[Call], batch: int) -> None:
    """Repeated, in any order and many at once: one licence of each event and fingerprint for ever,
    uploaded as it is, and every reply success."""
    anyio.run(wished, engine, calls, batch)


async def wished(engine: Engine, calls: list[Call], batch: int) -> None:
    with writing(engine) as session:
        session.exec(delete(Licence))
    with file_api() as (api, server):
        async with Shop(engine, server.url, answer_within=4).open() as shop:
            instances = {order: await shop.licensed(order) for order in ("o1", "o2")}
            answers: list[Any] = []

            async def one(order: str, event: str, mac: str) -> None:
                event = f"{order}-{event}"
                answers.append(await shop.ask(instances[order], event, deviceFingerprint=mac))

            for start in range(0, len(calls), batch):
                async with anyio.create_task_group() as group:
                    for call in calls[start : start + batch]:
                        group.start_soon(one, *call)
            await delivered(engine)
    assert {answer["resultCode"] for answer in answers} == {"000000"}
    assert len(rows(engine)) == len(set(calls)) == len(shop.maker.requests)
    kept = {KEEPER.made(row).content for row in rows(engine)}
    assert {file for _, _, file in api.uploads} == kept
    assert len(kept) == len(set(calls))
