"""Two customers whose every datum bears their mark, in the books of an installation."""

import json
import os
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Engine

from billing_sync.alert_models import Alert, AlertDelivery
from billing_sync.correction_models import Adjustment, Assignment, Suspense
from billing_sync.finding_models import FindingRow
from billing_sync.kit_calls import AppTold, KitCall, Sync, TenantTold, UsersTold, UserTold
from billing_sync.kit_marks import Flag
from billing_sync.licence_models import Licence, LicenceCode
from billing_sync.models import (
    CustomerRow,
    Instance,
    LifecycleInbox,
    OrderLine,
    PackageUse,
    UsageRecord,
    UsageWindow,
)
from billing_sync.people_models import PersonSession
from billing_sync.store import kit
from billing_sync.store.engine import writing
from billing_sync.store.kit_access import CLIENT_SECRET
from metering import keys
from metering.windows import HOUR_MS

DAY_MS: Final = 86_400_000
PRODUCTS: Final = [
    {"product_id": "T", "name": "Tokens", "routes": ["chat"], "meter": "tokens_total"},
    {"product_id": "P", "package": {"items": [{"of": "T", "quota": 90_000_000}]}},
]


@dataclass(frozen=True)
class Person:
    """One customer, by the word that stands in all that is his, and by what he used."""

    word: str
    used: int
    given: int

    def named(self, what: str) -> str:
        """The id of something of his."""
        return f"{what}-{self.word}"

    @property
    def formula(self) -> str:
        """An instance id that spreadsheets and browsers would take for something else."""
        return f"=cmd|'<b>{self.word}'!A1"

    @property
    def name(self) -> str:
        """As a buyer might call himself, from right to left."""
        return f'<script>alert("{self.word}")</script><img src=x onerror={self.word}>\u202e\'=1+1'

    def marks(self) -> list[str]:
        """What stands nowhere but in his own data, in small letters."""
        found = [self.word]
        for number in (self.used, self.given):
            found += [str(number), f"{number:,}"]
        return found


AZURITE: Final = Person("azurite", 7_654_321, 45_677)
BASALT: Final = Person("basalt", 8_912_873, 51_239)
BOTH: Final = (AZURITE, BASALT)


def seed(engine: Engine, secret: bytes, person: Person, now: int) -> str:
    """Everything the ledger can hold of him; the secret of his application in the clear."""
    with writing(engine) as session:
        session.add_all([*_bought(person, now), *_used(person, now), *_happened(person, now)])
    client_secret = f"client-secret-{os.urandom(8).hex()}"
    sealed = keys.seal(secret, client_secret, os.urandom(12), CLIENT_SECRET)
    users = tuple(
        UserTold(person.named(name), person.name, person.named("org"), role, True)
        for name, role in (("admin", "admin"), ("user", "user"))
    )
    domain = f"https://{person.word}.example.com"
    for sync, told in (
        (Sync.TENANT, TenantTold(person.named("code"), person.name, domain, person.named("org"))),
        (Sync.APPLICATION, AppTold("app", person.named("client"), sealed)),
        (Sync.AUTH, UsersTold("app", users)),
    ):
        with writing(engine) as session:
            call = KitCall(sync, person.named("inst"), person.named("tenant"), Flag.ADD, now, told)
            assert kit.apply(session, call)
    return client_secret


def signed_in(person: Person, user: str, session_id: str, now: int) -> PersonSession:
    """As a sign-in leaves it; its tokens are good for an hour."""
    return PersonSession(
        id=session_id,
        tenant_id=person.named("tenant"),
        app_id="app",
        user_name=person.named(user),
        created=now,
        seen=now,
        ends=now + DAY_MS,
        sealed="sealed",
        renew_at=now + HOUR_MS,
    )


def _bought(person: Person, now: int) -> list[Any]:
    customer = person.named("koo")
    rows: list[Any] = [CustomerRow(id=customer, name=person.name)]
    for instance, product in (
        (person.named("inst"), "T"),
        (person.formula, "T"),
        (person.named("pack"), "P"),
    ):
        order = person.named("order")
        rows.append(
            Instance(
                id=instance,
                customer_id=customer,
                product_id=product,
                order_id=order,
                order_line_id=instance,
                is_package=product == "P",
                status="active",
                started=now - DAY_MS,
                expires=now + 30 * DAY_MS,
            )
        )
        rows.append(
            OrderLine(
                order_id=order,
                order_line_id=instance,
                product_id=product,
                customer_id=customer,
                customer_name=person.name,
                raw=json.dumps({"name": person.name}),
            )
        )
    return rows


def _used(person: Person, now: int) -> list[Any]:
    window = now // HOUR_MS - 2
    common: dict[str, Any] = {
        "customer_id": person.named("koo"),
        "route": "chat",
        "meter": "tokens_total",
    }
    charged = ((person.named("inst"), person.used), (person.formula, 1), ("", person.used))
    uses: list[Any] = [
        UsageWindow(
            window=window,
            instance_id=instance,
            grade="exact",
            origin=window,
            partition=0,
            quantity=quantity,
            recorded=quantity,
            **common,
        )
        for instance, quantity in charged
    ]
    pack, inst = person.named("pack"), person.named("inst")
    return [
        *uses,
        PackageUse(
            package_id=pack,
            instance_id=inst,
            window=window,
            quantity=person.given,
            recorded=person.given,
        ),
        Suspense(product_id="T", grade="exact", origin=window, quantity=person.given, **common),
    ]


def _happened(person: Person, now: int) -> list[Any]:
    customer, inst, pack = (person.named(what) for what in ("koo", "inst", "pack"))
    begin, window = now - 3 * HOUR_MS, now // HOUR_MS - 3
    by: dict[str, Any] = {"author": person.named("author"), "reason": person.name, "at": now}
    return [
        UsageRecord(
            metering_sn=person.named("sn"),
            instance_id=inst,
            customer_id=customer,
            product_id="T",
            meter="tokens_total",
            begin=begin,
            end=begin + HOUR_MS,
            recorded_at=begin + HOUR_MS,
            quantity=person.given,
            value=str(person.given),
            window=window,
            state="rejected",
            code="MKT.0150",
            error=person.name,
        ),
        LifecycleInbox(
            identity=person.named("call"),
            activity="newInstance",
            instance_id=inst,
            body=json.dumps({"mobilePhone": person.named("phone"), "scene": person.name}),
            sent_at=now,
            received_at=now,
            answer='{"resultCode": "000000"}',
        ),
        FindingRow(
            identity=person.named("finding"),
            kind="uncertain",
            lane=person.named("lane"),
            host="h",
            at=now,
            request_id=person.named("req"),
            customer_id=customer,
            route="chat",
            started=now,
            detail=person.name,
        ),
        Alert(
            id=person.named("alert"),
            package_id=pack,
            item="T",
            threshold=80,
            customer_id=customer,
            product_id="P",
            quota="10",
            used="8",
            remaining="2",
            percent="80",
            at=now,
        ),
        AlertDelivery(
            alert_id=person.named("alert"), webhook="ops", state="given_up", error=person.name
        ),
        Adjustment(
            id=person.named("adj"),
            instance_id=inst,
            customer_id=customer,
            meter="tokens_total",
            quantity=person.given,
            **by,
        ),
        Assignment(
            id=person.named("assign"),
            customer_id=customer,
            instance_id=inst,
            meter="tokens_total",
            window=window,
            quantity=person.given,
            parts="[]",
            **by,
        ),
        Licence(
            id=person.named("lic"),
            event_id=person.named("call"),
            device="",
            instance_id=inst,
            product_id="T",
            effective=now,
            received_at=now,
            state="delivered",
            file_name=person.named("file"),
            error=person.name,
        ),
        LicenceCode(
            id=person.named("code"),
            shown=person.named("begins"),
            product_id="T",
            order_id=person.named("order"),
            known_since=now,
        ),
    ]
