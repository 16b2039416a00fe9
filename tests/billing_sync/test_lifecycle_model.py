"""Random callbacks of both versions against a plain model of the rules.

Repeats, reorderings, unknown and released instances, orders that come late: what the ledger holds is
what the model says, after every call.
"""

import asyncio
import json
import shutil
import tempfile
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlmodel import select

from billing_sync.koogallery.answers import Answer
from billing_sync.market_models import AwaitedChange
from billing_sync.models import Instance, ProjectionOutbox
from billing_sync.order_book import OrderBook
from billing_sync.renewing import Renewer
from billing_sync.store.engine import connect, open_engine, reading, sqlite_url, writing
from billing_sync.store.projections import snapshots
from billing_sync.store.worker import SqlWorker
from tests.billing_sync.marketplace import CATALOGUE, sign
from tests.billing_sync.v1_marketplace import V1Marketplace, stamp

NEVER = 10**15
MOST = 2  # instances: what happens must happen to the same one
KINDS = {"freeze": 20, "unfreeze": 20, "expire": 24, "refresh": 40, "upgrade": 10, "release": 3}
PRODUCTS = ["TOKENS", "TOKENS-YEAR", "IMAGES"]


@dataclass
class Model:
    """An instance as the rules of the specification have it. Times are those of the callbacks."""

    product: str
    known: bool
    trial: bool = False
    product_since: int = 0
    freezes: list[tuple[int, bool]] = field(default_factory=list)
    expiries: list[tuple[int, int]] = field(default_factory=list)  # (when said, until when paid)
    released: int = 0

    def go_on(self, product: str, at: int) -> None:
        """The newest call decides."""
        if product and at >= self.product_since:
            self.product, self.product_since = product, at

    @property
    def expires(self) -> int:
        paid = [each for each in self.expiries if each[1] != NEVER]
        return max(paid)[1] if paid else 0

    @property
    def status(self) -> str:
        if self.released:
            return "released"
        held = bool(self.freezes) and max(self.freezes)[1]
        if held or self.is_expired():
            return "frozen"
        return "active" if self.known else "creating"

    def is_expired(self) -> bool:
        """NEVER stands for V1.0's own call; without one, dates alone stop nothing."""
        calls = [at for at, until in self.expiries if until == NEVER]
        last_at, until = max(self.expiries, default=(0, 0))
        unfrozen = max((at for at, frozen in self.freezes if not frozen), default=0)
        return bool(calls) and last_at > unfrozen and (until == NEVER or until <= last_at)


@dataclass(frozen=True)
class Call:
    """One callback that was signed, and may be delivered now, later, and again."""

    version: int
    instance_id: str
    kind: str
    sent_at: int
    order_id: str = ""
    until: int = 0
    product: str = ""
    formal: bool = False


class Lifecycle(RuleBasedStateMachine):
    """Every call's time is its own, and it arrives within a minute, in any order."""

    calls = Bundle("calls")

    def __init__(self, empty: Path) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        ledger = Path(shutil.copy(empty, self._folder.name))
        self.engine = connect(sqlite_url(ledger))
        self.market = V1Marketplace(self.engine)
        self.loop = asyncio.new_event_loop()
        self.model: dict[str, Model] = {"ghost": Model("", known=False)}
        self.seen: dict[tuple[str, ...], str] = {}
        self.orders: dict[str, tuple[str, int]] = {}
        self.projected: dict[str, tuple[str, int, bool]] = {}
        self.numbers = 0
        self.nonces = count()
        self._buy(1, known=True, trial=False)

    def teardown(self) -> None:
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        self.engine.dispose()
        self._folder.cleanup()

    def _now(self) -> int:
        self.market.clock.advance(ms=7)
        return self.market.clock.now_ms()

    def _run(self, call: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.loop.run_until_complete(call)
        return answer

    @precondition(lambda self: len(self.orders) < MOST)
    @rule(version=st.sampled_from([1, 2]), known=st.booleans(), trial=st.booleans())
    def buy(self, version: int, known: bool, trial: bool) -> None:
        """A purchase, maybe for a trial; V2.0's order may be unknown as yet."""
        self._buy(version, known=known, trial=trial)

    def _buy(self, version: int, *, known: bool, trial: bool) -> None:
        self.numbers += 1
        order_id = f"CS{self.numbers}"
        self._now()
        if version == 1:
            answer = self._run(self.market.v1_create(order_id, trialFlag=str(int(trial))))
        else:
            if known:
                self.market.orders.buy(order_id, trial=trial)
            answer = self._run(self.market.create(order_id))
        known = known or version == 1
        assert answer["resultCode"] == ("000000" if known else "000004")
        assert answer["instanceId"] not in self.model
        self.orders[order_id] = answer["instanceId"], version
        self.model[answer["instanceId"]] = Model("TOKENS", known, trial)

    @rule(data=st.data())
    def buy_again(self, data: st.DataObject) -> None:
        """The same order once more: the same instance, and by now its order is known."""
        order_id = data.draw(st.sampled_from(sorted(self.orders)))
        instance_id, version = self.orders[order_id]
        self._now()
        if version == 2:
            self.market.orders.buy(order_id, trial=self.model[instance_id].trial)
        again = self.market.v1_create if version == 1 else self.market.create
        answer = self._run(again(order_id))
        self.model[instance_id].known = True
        assert (answer["resultCode"], answer["instanceId"]) == ("000000", instance_id)

    @rule(target=calls, seed=st.integers(0, 2**32))
    def sign(self, seed: int) -> Any:
        """The marketplace signs calls about some instance, which arrive now, later, or twice."""
        dice = Random(seed)
        mine = sorted(self.model.keys() - {"ghost"})
        instance_id = dice.choice(mine) if dice.random() < 0.95 else "ghost"
        late: list[Call] = []
        for _ in range(dice.randint(4, 12)):
            call = self._signed(dice, instance_id)
            when = dice.choice(["now", "later", "both"])
            if when != "later":
                self._deliver(call)
            if when != "now":
                late.append(call)
        return multiple(*late)

    def _signed(self, dice: Random, instance_id: str) -> Call:
        kind = dice.choices(list(KINDS), weights=list(KINDS.values()))[0]
        version = 1 if kind == "expire" else dice.choice([1, 2])
        at, until = self._now(), 0
        if kind == "refresh":
            until = (at + dice.choice([-1000, 10**9])) // 1000 * 1000
        self.numbers += 1
        product, formal = "", False
        if kind in ("refresh", "upgrade"):
            product = dice.choice(PRODUCTS if kind == "upgrade" else ["", "", *PRODUCTS])
        if kind == "refresh":
            formal = dice.random() < 0.2
        if product and version == 2:
            self.market.orders.buy(f"R{self.numbers}", product)
        return Call(version, instance_id, kind, at, f"R{self.numbers}", until, product, formal)

    @rule(calls=st.lists(consumes(calls), min_size=1, max_size=4))
    def deliver(self, calls: list[Call]) -> None:
        """Some of those that were late arrive."""
        for call in calls:
            self._deliver(call)

    def _deliver(self, call: Call) -> None:
        """The model judges, and the answer is as it says."""
        expected = self._judge(call)
        send = self._send_v1 if call.version == 1 else self._send_v2
        answer = self.loop.run_until_complete(send(call))
        assert answer.code == expected, (call, answer)

    def _judge(self, call: Call) -> str:
        model = self.model[call.instance_id]
        if call.instance_id == "ghost":
            return "000003"
        name = self._name(call)
        if name in self.seen:
            return self.seen[name]
        if call.kind == "upgrade" and not model.known and not model.released:
            return "000005"  # it has nothing to go on from: to be told again
        wants_service = call.kind in ("unfreeze", "refresh", "upgrade")
        refused = model.released and wants_service and call.sent_at > model.released
        self.seen[name] = "000003" if refused else "000000"
        if model.released:
            return self.seen[name]
        self._take(model, call)
        return "000000"

    @staticmethod
    def _take(model: Model, call: Call) -> None:
        if call.kind in ("freeze", "unfreeze"):
            model.freezes.append((call.sent_at, call.kind == "freeze"))
        elif call.kind == "expire":
            model.expiries.append((call.sent_at, NEVER))
        elif call.kind == "refresh":
            model.expiries.append((call.sent_at, call.until))
            model.trial = model.trial and not call.formal
            model.go_on(call.product, call.sent_at)
        elif call.kind == "upgrade":
            model.go_on(call.product, call.sent_at)
        else:
            model.released = call.sent_at

    @staticmethod
    def _name(call: Call) -> tuple[str, ...]:
        if call.kind == "release":
            return call.instance_id, "release"
        if call.kind == "refresh":
            scene = "formal" if call.formal and call.version == 2 else str(call.version)
            return call.instance_id, scene, call.order_id
        if call.kind == "upgrade":
            return call.instance_id, "upgrade", call.order_id
        return call.instance_id, call.kind, str(call.sent_at)

    async def _send_v1(self, call: Call) -> Answer:
        more = {"instanceId": call.instance_id, "timeStamp": stamp(call.sent_at)}
        match call.kind:
            case "freeze" | "unfreeze":
                word = "FREEZE" if call.kind == "freeze" else "NORMAL"
                query = self.market.query("instanceStatus", instanceStatus=word, **more)
            case "refresh":
                order = {"orderId": call.order_id, "expireTime": stamp(call.until)[:14]}
                if call.product:
                    order["productId"] = call.product
                if call.formal:
                    order["trialToFormal"] = "1"
                query = self.market.query("refreshInstance", **order, **more)
            case "upgrade":
                order = {"orderId": call.order_id, "productId": call.product, "skuCode": "s"}
                query = self.market.query("upgrade", **order, **more)
            case _:
                query = self.market.query(f"{call.kind}Instance", orderId="CS", **more)
        return await self.market.service.answer_v1(query.encode())

    async def _send_v2(self, call: Call) -> Answer:
        body = {"instanceId": call.instance_id}
        match call.kind:
            case "freeze" | "unfreeze":
                body |= {"activity": "updateInstanceStatus", "status": call.kind.upper()}
            case "refresh":
                scene = "TRIAL_TO_FORMAL" if call.formal else "RENEWAL"
                line = f"{call.order_id}-000001"
                order = {"orderId": call.order_id, "orderLineId": line, "scene": scene}
                body |= {"activity": "refreshInstance", **order}
                body["expireTime"] = stamp(call.until)[:14]
                body |= {"productId": call.product} if call.product else {}
            case "upgrade":
                order = {"orderId": call.order_id, "orderLineId": f"{call.order_id}-000001"}
                body |= {"activity": "upgradeInstance", **order}
            case _:
                body |= {"activity": "releaseInstance"}
        raw, nonce = json.dumps(body).encode(), str(next(self.nonces))
        signed = {"signature": sign(raw, call.sent_at, nonce), "timestamp": str(call.sent_at)}
        return await self.market.service.answer({**signed, "nonce": nonce}, raw)

    @rule()
    def resolve(self) -> None:
        """Another control plane looks what renewals wait for; all of it can be learnt by now."""
        sql = SqlWorker(self.engine)
        book = OrderBook(sql, self.market.orders, CATALOGUE)
        renewer = Renewer(sql, book, self.market.clock, lambda: None)
        for _ in range(10):  # some at a time
            self.loop.run_until_complete(renewer.resolve())
        with reading(self.engine) as session:
            awaited = set(session.exec(select(AwaitedChange.instance_id)))
        assert not any(self.model[name].known for name in awaited)

    def _told(self) -> dict[str, tuple[str, int, bool]]:
        """What the gateways are told of each instance when they are told."""
        with reading(self.engine) as session:
            return {
                each.instance_id: (str(each.status), each.expires, each.trial)
                for snapshot in snapshots(session, ["cust-1"])
                for each in snapshot.instances
            }

    @rule()
    def project(self) -> None:
        """The gateways are told: from now on only a change is to be told again."""
        with writing(self.engine) as session:
            for row in session.exec(select(ProjectionOutbox)):
                session.delete(row)
        self.projected = self._told()

    @invariant()
    def the_ledger_is_as_the_model_says(self) -> None:
        """Status, expiry and release of every instance."""
        with reading(self.engine) as session:
            found = {
                row.id: (row.status, row.expires, row.released, bool(row.customer_id))
                for row in session.exec(select(Instance))
            }
        assert found == {
            name: (model.status, model.expires, model.released, model.known)
            for name, model in self.model.items()
            if name != "ghost"
        }

    @invariant()
    def the_newest_call_decides_the_product(self) -> None:
        """Unless it came before the buyer was known: then it is awaited."""
        with reading(self.engine) as session:
            awaited = set(session.exec(select(AwaitedChange.instance_id)))
            found = {row.id: row.product_id for row in session.exec(select(Instance))}
        for name, model in self.model.items():
            if model.known and name != "ghost" and name not in awaited:
                assert found[name] == model.product, name

    @invariant()
    def what_changed_will_be_told(self) -> None:
        """Whatever the gateways do not know yet is on its way to them."""
        told = self._told()
        assert told == {
            name: (model.status, model.expires, model.trial)
            for name, model in self.model.items()
            if model.known
        }
        if told != self.projected:
            with reading(self.engine) as session:
                assert session.exec(select(ProjectionOutbox)).all()


def test_random_callbacks_of_both_versions(tmp_path: Path) -> None:
    """The ledger follows the model through every history."""
    empty = tmp_path / "ledger.db"
    open_engine(sqlite_url(empty)).dispose()
    run_state_machine_as_test(
        lambda: Lifecycle(empty),  # type: ignore[arg-type]  # whatever makes one will do
        settings=settings(
            max_examples=14,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
