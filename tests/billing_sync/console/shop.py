"""A shop in full swing: something to see on every page of the console."""

from decimal import Decimal

from billing_sync.alert_models import Alert, AlertDelivery
from billing_sync.finding_models import FindingRow
from billing_sync.market_models import ProductMapping
from billing_sync.models import CustomerRow, Epoch, Instance, LifecycleInbox, UsageRecord
from metering.windows import HOUR_MS
from tests.billing_sync.books import HOUR, MINUTE, START
from tests.billing_sync.console.stage import Stage, add

ODD = "cust/<b>&2"  # ids may hold anything printable


def fill(stage: Stage) -> None:
    """Two customers, packages, records in every state, callbacks, findings, suspense, alerts."""
    books = stage.books
    books.buy("inst-1", order_id="order-1", started=START - 30 * HOUR_MS)
    books.buy("calls-1", "CALLS", started=START - 30 * HOUR_MS)
    books.buy("pack-1", "PACK", started=START - 30 * HOUR_MS, expires=START + 400 * HOUR_MS)
    books.buy("inst-2", customer_id=ODD, started=START - 30 * HOUR_MS, trial=True)
    books.buy("pack-2", "PACK", customer_id=ODD, started=START - 30 * HOUR_MS)
    books.buy("gone-1", customer_id=ODD, status="released", released=START - HOUR_MS)
    for ago in range(20, -1, -1):
        books.use("", 1000 + 37 * ago * ago % 900, window=HOUR - ago)
        books.use("inst-1", 1000 + 37 * ago * ago % 900, window=HOUR - ago)
        books.use("", 3 + ago, window=HOUR - ago, meter="requests")
        books.use("", 190, window=HOUR - ago, customer_id=ODD)
        books.use("inst-2", 190, window=HOUR - ago, customer_id=ODD)
    books.use("", 5000, customer_id="cust-lost", window=HOUR - 3)
    books.close()
    add(
        stage,
        *(record(state, number) for number, state in enumerate(STATES)),
        *callbacks("inst-1"),
        CustomerRow(id="cust-lost", name="走失 <Lost>"),
        Instance(
            id="odd-1", product_id="NEW-ONE", customer_id="", started=START, status="creating"
        ),
        ProductMapping(product_id="OLD-ONE", mapped_to="TOKENS", author="Bo", at=START),
        FindingRow(
            identity="f1",
            kind="uncertain",
            lane="lane-1",
            host="h",
            at=START,
            request_id="req-<1>",
            customer_id="cust-1",
            route="chat",
            started=START - MINUTE,
        ),
        Alert(
            id="alert-1",
            package_id="pack-1",
            item="TOKENS",
            threshold=80,
            customer_id="cust-1",
            product_id="PACK",
            quota="10",
            used="8.1",
            remaining="1.9",
            percent="81",
            at=START,
        ),
        AlertDelivery(alert_id="alert-1", webhook="ops", state="given_up", error="HTTP 500 <x>"),
        Epoch(id="e9", partition=0, at=START, reason="Redis was emptied"),
    )


STATES = ("pending", "held", "sending", "sent", "collected", "confirmed", "rejected", "expired")


def record(state: str, number: int) -> UsageRecord:
    """One of each; the refused one with the marketplace's words."""
    begin = START - (100 - number) * HOUR_MS
    refused = state == "rejected"
    return UsageRecord(
        metering_sn=f"sn-{state}",
        instance_id="inst-1",
        customer_id="cust-1",
        product_id="TOKENS",
        meter="tokens_total",
        begin=begin,
        end=begin + HOUR_MS,
        recorded_at=begin + HOUR_MS + MINUTE,
        quantity=1_234_567,
        value=str(Decimal("1234.567")),
        unit=1000,
        window=HOUR - 100 + number,
        state=state,
        code="MKT.0150" if refused else "",
        error="另一卖家的实例 <b>" if refused else "",
    )


def callbacks(instance_id: str) -> list[LifecycleInbox]:
    """Bought, frozen, and one that was refused."""
    return [
        LifecycleInbox(
            identity=f"{instance_id} {number}",
            activity=activity,
            instance_id=instance_id,
            body=body,
            sent_at=START + number * MINUTE,
            received_at=START + number * MINUTE + 500,
            answer=f'{{"resultCode": "{code}"}}',
        )
        for number, (activity, body, code) in enumerate(
            (
                ("newInstance", '{"orderId": "order-1", "mobilePhone": "secret-phone"}', "000000"),
                ("updateInstanceStatus", '{"instanceStatus": "FREEZE"}', "000000"),
                ("upgradeInstance", "no json", "000002"),
            )
        )
    ]
