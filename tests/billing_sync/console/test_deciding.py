"""What is done through the console: each form does what the API does, once, with the name of whoever sent it."""

import re

import pytest
from sqlmodel import select

from billing_sync.act_models import RecordAct
from billing_sync.alert_models import AlertDelivery
from billing_sync.correction_models import Adjustment, Assignment
from billing_sync.key_models import ApiKey
from billing_sync.market_models import ProductMapping
from billing_sync.models import Carry, Instance, UsageRecord
from billing_sync.store.engine import reading
from tests.billing_sync.console.shop import fill
from tests.billing_sync.console.stage import NAME, Browser, Stage, text_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def database_kind() -> str:
    """What the forms call is tried on both elsewhere."""
    return "sqlite"


@pytest.mark.parametrize(
    ("act", "before", "after"),
    [
        ("release", "held", "pending"),
        ("reject", "held", "rejected"),
        ("hold", "pending", "held"),
        ("retry", "rejected", "pending"),
    ],
)
async def test_deciding_about_a_record(
    operator: Browser, stage: Stage, act: str, before: str, after: str
) -> None:
    """It moves, and the act stands beside it with name and reason."""
    fill(stage)
    page = f"/console/records/sn-{before}"
    reply = await operator.send(f"{page}/{act}", page, reason="压测 <b>")
    assert (reply.status_code, reply.headers["location"]) == (303, page)
    with reading(stage.books.engine) as ledger:
        assert ledger.get_one(UsageRecord, f"sn-{before}").state == after
        (row,) = ledger.exec(select(RecordAct))
    assert (row.act, row.author, row.reason) == (act, NAME, "压测 <b>")
    shown = await operator.get(page)
    assert f"the record is {after} now" in shown.text
    assert "压测 &lt;b&gt;" in shown.text
    assert f"the record is {after} now" not in (await operator.get(page)).text


async def test_acts_that_do_not_fit(operator: Browser, stage: Stage) -> None:
    """Change nothing and say why."""
    fill(stage)
    page = "/console/records/sn-sent"
    await operator.send(f"{page}/release", page, reason="x")
    assert "release is for records that are held" in (await operator.get(page)).text
    page = "/console/records/sn-held"
    await operator.send(f"{page}/release", page, reason="")
    assert "reason must be 1 to 400" in (await operator.get(page)).text
    reply = await operator.send("/console/records/none/release", page, reason="x")
    assert reply.status_code == 404
    assert stage.books.all(RecordAct) == []


async def test_only_what_is_possible_is_offered(operator: Browser, stage: Stage) -> None:
    """By the state of the record."""
    fill(stage)
    offered = {}
    for state in ("pending", "held", "sent", "rejected"):
        page = await operator.get(f"/console/records/sn-{state}")
        offered[state] = re.findall(r'formaction="[^"]*/([a-z]+)"', page.text)
    assert offered == {
        "pending": ["hold"],
        "held": ["release", "reject"],
        "sent": [],
        "rejected": ["retry"],
    }


async def test_a_new_key_is_shown_once(operator: Browser, stage: Stage) -> None:
    """On the answer to the form, and nowhere else, ever."""
    stage.books.buy("i")
    made = await operator.send("/console/keys", "/console/keys", customer_id="cust-1", name="app")
    found = re.search('id="key">([^<]+)<', made.text)
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    assert found
    key = found[1]
    for path in ("/console/keys", "/console/customers/cust-1", "/console"):
        assert key not in (await operator.get(path)).text
    (row,) = stage.books.all(ApiKey)
    assert key not in str(row)


async def test_rotating_and_revoking(operator: Browser, stage: Stage) -> None:
    """The old one is good for a day more, then by hand for no second."""
    stage.books.buy("i")
    await operator.send("/console/keys", "/console/keys", customer_id="cust-1")
    (first,) = stage.books.all(ApiKey)
    turned = await operator.send(f"/console/keys/{first.id}/rotate", "/console/keys")
    assert turned.status_code == 201
    old, new = sorted(stage.books.all(ApiKey), key=lambda row: row.id)
    assert (old.replaced_by, old.expires) == (new.id, stage.books.clock.now_ms() + 86_400_000)
    await operator.send(f"/console/keys/{new.id}/revoke", "/console/keys")
    assert "is revoked" in (await operator.get("/console/keys")).text
    assert max(stage.books.all(ApiKey), key=lambda row: row.id).revoked


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"customer_id": "nobody"}, "nobody"),
        ({"customer_id": ""}, "customer_id"),
        ({"customer_id": "cust-1", "expires": "soon"}, "expires"),
        ({"customer_id": "cust-1", "routes": "a," * 60}, "key"),
    ],
)
async def test_keys_that_cannot_be_made(
    operator: Browser, stage: Stage, fields: dict[str, str], words: str
) -> None:
    """Are refused in a sentence."""
    stage.books.buy("i")
    reply = await operator.send("/console/keys", "/console/keys", **fields)
    page = await operator.get("/console/keys")
    assert reply.status_code in (201, 303)
    assert ('role="alert"' in page.text) == (reply.status_code == 303)
    assert words in page.text


async def test_adjusting(operator: Browser, stage: Stage) -> None:
    """Below zero as well; sent twice it is done once."""
    stage.books.buy("inst-1")
    page = await operator.get("/console/adjustments?instance=inst-1")
    found = re.search('name="id" value="([^"]+)"', page.text)
    assert found
    assert 'value="inst-1"' in page.text
    fields = {"id": found[1], "instance_id": "inst-1", "value": "-1.5", "reason": "goodwill"}
    for words in ("Done, under id", "stood there already"):
        await operator.send("/console/adjustments", "/console/adjustments", **fields)
        assert words in (await operator.get("/console/adjustments")).text
    (row,) = stage.books.all(Adjustment)
    assert (row.quantity, row.author, row.reason) == (-1500, NAME, "goodwill")
    (carry,) = stage.books.all(Carry)
    assert carry.quantity == -1500 * 10_000
    assert "−1,500" in text_of(await operator.get("/console/adjustments"))


@pytest.mark.parametrize(
    "fields",
    [
        {"value": "1", "quantity": "1"},
        {},
        {"value": "NaN"},
        {"value": "much"},
        {"quantity": "1.5"},
        {"quantity": "9" * 19},
        {"quantity": "1", "reason": ""},
        {"quantity": "1", "instance_id": "none"},
        {"quantity": "1", "id": "x" * 100},
    ],
)
async def test_adjustments_that_make_no_sense(
    operator: Browser, stage: Stage, fields: dict[str, str]
) -> None:
    """Change nothing and say why."""
    stage.books.buy("inst-1")
    given = {"id": "a", "instance_id": "inst-1", "reason": "x", **fields}
    await operator.send("/console/adjustments", "/console/adjustments", **given)
    assert 'role="alert"' in (await operator.get("/console/adjustments")).text
    assert stage.books.all(Adjustment) == []


async def test_assigning_suspense(operator: Browser, stage: Stage) -> None:
    """To an instance that the customer bought too late."""
    stage.books.use("", 7000)
    stage.books.buy("late", started=stage.books.clock.now_ms())
    assert "cust-1 TOKENS chat" in text_of(await operator.get("/console/suspense"))
    fields = {"id": "a1", "customer_id": "cust-1", "instance_id": "late", "reason": "bought late"}
    await operator.send("/console/suspense/assign", "/console/suspense", **fields, quantity="5000")
    (row,) = stage.books.all(Assignment)
    assert (row.quantity, row.author) == (5000, NAME)
    assert "2,000 Tokens 5,000" in text_of(await operator.get("/console/suspense"))
    await operator.send("/console/suspense/assign", "/console/suspense", **fields | {"id": "a2"})
    fields = fields | {"id": "a3", "quantity": "many"}
    await operator.send("/console/suspense/assign", "/console/suspense", **fields)
    assert "whole number" in (await operator.get("/console/suspense")).text
    assert sum(row.quantity for row in stage.books.all(Assignment)) == 7000


async def test_mapping_a_product_id(operator: Browser, stage: Stage) -> None:
    """Ids may hold a slash; what waits under it is metered from then on."""
    stage.books.buy("i", "NEW/ID", status="active")
    assert "NEW/ID" in (await operator.get("/console/products")).text
    where = "/console/products"
    await operator.send(f"{where}/map", where, product_id="NEW/ID", mapped_to="TOKENS")
    assert "NEW/ID is metered as TOKENS" in (await operator.get(where)).text
    (row,) = stage.books.all(ProductMapping)
    assert (row.mapped_to, row.author) == ("TOKENS", NAME)
    with reading(stage.books.engine) as ledger:
        assert ledger.get_one(Instance, "i").product_id == "TOKENS"
    await operator.send(f"{where}/map", where, product_id="X", mapped_to="NONE")
    assert "NONE is not in" in (await operator.get(where)).text
    await operator.send(f"{where}/forget", where, product_id="NEW/ID")
    assert stage.books.all(ProductMapping) == []
    await operator.send(f"{where}/forget", where, product_id="NEW/ID")
    assert "is not mapped" in (await operator.get(where)).text


async def test_sending_an_alert_again(operator: Browser, stage: Stage) -> None:
    """To whom it was not told."""
    fill(stage)
    await operator.send("/console/alerts/alert-1/retry", "/console/alerts")
    assert "sent again to 1 webhooks" in (await operator.get("/console/alerts")).text
    assert [row.state for row in stage.books.all(AlertDelivery)] == ["pending"]
    await operator.send("/console/alerts/none/retry", "/console/alerts")
    assert "no alert with this id" in (await operator.get("/console/alerts")).text


async def test_reconciling_and_explaining(operator: Browser, stage: Stage) -> None:
    """What the commands print, escaped."""
    shown = await operator.send("/console/reconcile", "/console/reconcile")
    assert "every difference is 0 &lt;b&gt;" in shown.text
    shown = await operator.send("/console/explain", "/console/explain", id="sn-1")
    assert "sn-1: every difference" in shown.text
    linked = await operator.get("/console/explain?id=sn-2")
    assert 'value="sn-2"' in linked.text
    assert "every difference" not in linked.text


async def test_without_a_configuration_nothing_is_proved(stage: Stage) -> None:
    """And the page says so."""
    import dataclasses

    from tests.billing_sync.console.stage import browser_of

    stage.ports = dataclasses.replace(stage.ports, prover=None)
    async with browser_of(stage) as browser:
        await browser.sign_in()
        assert "Not available here" in (await browser.get("/console/reconcile")).text
        assert (await browser.send("/console/reconcile", "/console")).status_code == 409


async def test_a_ledger_that_is_away(operator: Browser, stage: Stage) -> None:
    """Is told in a sentence, without the database's own words."""
    from sqlalchemy import text

    with stage.books.engine.begin() as connection:
        connection.execute(text("drop table usage_record"))
    reply = await operator.get("/console/records")
    assert reply.status_code == 503
    assert "The ledger does not answer" in reply.text
    assert "usage_record" not in reply.text
