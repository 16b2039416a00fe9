"""The production address: KooGallery's callbacks over HTTP, V2.0 by POST and V1.0 by GET (spec §2, §3).

Every reply is HTTP 200 with a result code, as the marketplace reads nothing else, and is signed.
Success is said only after SQL has committed; nothing that goes wrong in here reaches the caller as a
stack trace.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import anyio
from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from billing_sync.answering import guarded, signed, unknown
from billing_sync.bounded_bodies import bounded_body
from billing_sync.errors import BadEvent, BadSignature
from billing_sync.figures import UsageFigures
from billing_sync.instance_view import InstanceView
from billing_sync.koogallery import (
    cipher,
    fields,
    query,
    signing,
    v1,
    v1_fields,
    v1_replies,
    v1_signing,
    v2,
)
from billing_sync.koogallery.answers import Answer
from billing_sync.koogallery.cipher import ValueCipher
from billing_sync.koogallery.fields import Callback
from billing_sync.koogallery.order import Order
from billing_sync.koogallery.query import Addresses
from billing_sync.koogallery.signing import NonceMemory, SignedQuery
from billing_sync.licence_desks import ACTIVITIES as OF_LICENCES
from billing_sync.licence_desks import LicenceDesks
from billing_sync.licence_keeping import Keeper
from billing_sync.lifecycle import Activity, LifecycleEvent
from billing_sync.link_tokens import UsageLinks
from billing_sync.noticing import Notices
from billing_sync.order_book import OrderBook, Orders
from billing_sync.provisioning import Provisioner
from billing_sync.renewing import Renewer
from billing_sync.settings import KooGallerySettings
from billing_sync.store import awaited
from billing_sync.store.worker import SqlWorker
from metering.catalogue import Catalogue
from metering.clock import Clock
from metering.histograms import Histogram

_log = logging.getLogger(__name__)

FIGURES_BUDGET_S: Final = 2.0
_BODY_BUDGET_S: Final = 10.0
# For uvicorn.Config: the parser that writes header names as they are spelt, and bounds a head.
SERVING: Final[Mapping[str, Any]] = {
    "http": "h11",
    "h11_max_incomplete_event_size": 2 * v1_signing.MAX_QUERY,
}
_PATHS: Final = ("/koogallery", "/koogallery/", "/")


@dataclass
class CallbackService:
    """Answers callbacks. `front_end_url` is where the buyer calls; `randomness(n)` gives n bytes.

    `on_change` is called after each commit, to wake whoever projects, `on_licence` to wake whoever
    makes licences. `answers` counts replies by (activity, result code), `seconds` are their times by
    activity. `pages` makes the links to usage pages, if the marketplace is told any.
    """

    engine: Engine
    settings: KooGallerySettings
    catalogue: Catalogue
    orders: Orders
    figures: UsageFigures
    secret: bytes = field(repr=False)
    front_end_url: str
    clock: Clock
    randomness: Callable[[int], bytes]
    on_change: Callable[[], None] = lambda: None
    on_licence: Callable[[], None] = lambda: None
    nonces: NonceMemory = field(default_factory=NonceMemory, repr=False)
    figures_budget_s: float = FIGURES_BUDGET_S
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: dict[str, Histogram] = field(default_factory=dict)
    pages: UsageLinks | None = None

    def __post_init__(self) -> None:
        if len(self.front_end_url) > query.MAX_URL:
            raise ValueError(f"gateway.public_url is longer than {query.MAX_URL} characters")
        sql = self._sql = SqlWorker(self.engine)
        book = self._book = OrderBook(sql, self.orders, self.catalogue)
        self._renewer = Renewer(sql, book, self.clock, self.on_change)
        self._notices = Notices(sql, book, self.clock)
        self._provisioner = Provisioner(
            sql=sql,
            settings=self.settings,
            book=book,
            secret=self.secret,
            clock=self.clock,
            randomness=self.randomness,
            on_change=self.on_change,
        )
        self._licences = LicenceDesks(
            sql,
            self.settings.licence,
            self.catalogue,
            Keeper(self.secret, self.randomness),
            self.clock,
            self._provisioner.resolve,
            self.on_licence,
        )
        self.view = InstanceView(
            sql=sql,
            figures=self.figures,
            secret=self.secret,
            front_end_url=self.front_end_url,
            resolve=self._provisioner.resolve,
            budget_s=self.figures_budget_s,
            pages=self.pages,
        )
        self._debugged = Addresses(self.front_end_url, self.pages.debug_url if self.pages else "")

    @property
    def unknown_products(self) -> int:
        """How many orders named a product that is not configured."""
        return self._book.unknown_products

    async def resolve(self) -> int:
        """One background round for whatever order was not known; how many were learnt."""
        if not await self._sql.read(awaited.anything):
            return 0
        learnt = await self._provisioner.resolve_creating()
        return learnt + await self._renewer.resolve() + await self._notices.resolve()

    async def answer(self, parameters: Mapping[str, str], raw: bytes) -> Answer:
        """The reply to one V2.0 callback. Never raises for anything a caller can cause."""
        begun_s = anyio.current_time()
        answer = await guarded(partial(self._judged, parameters, raw))
        self._count(fields.activity_name(raw), answer, begun_s)
        return answer

    async def answer_v1(self, query_string: bytes) -> Answer:
        """The reply to one V1.0 callback, in the same way."""
        begun_s = anyio.current_time()
        answer = await guarded(partial(self._judged_v1, query_string))
        self._count(v1_fields.activity_name(query_string), answer, begun_s)
        return answer

    def _count(self, activity: str, answer: Answer, begun_s: float) -> None:
        self.answers[activity, answer.code.value] += 1
        times = self.seconds.get(activity) or self.seconds.setdefault(activity, Histogram())
        times.observe(anyio.current_time() - begun_s)
        _log.info("callback %s answered %s", activity, answer.code.value)

    @property
    def key(self) -> str:
        """Signs calls and replies; empty while there is none."""
        key = self.settings.access_key
        return key.get_secret_value() if key else ""

    async def _judged(self, parameters: Mapping[str, str], raw: bytes) -> Answer:
        """Verify, parse, judge: in this order."""
        if len(raw) > fields.MAX_BODY:
            raise BadEvent(f"body is larger than {fields.MAX_BODY} bytes")
        sent_at = self._verified(SignedQuery.of(parameters), raw)
        callback = fields.parse(raw)
        if callback.test:
            return v2.debug_answer(callback, self.clock.now_ms(), self._debugged)
        match callback.activity:
            case Activity.QUERY:
                return await self._query(callback)
            case Activity.NOTIFY:
                return await self._notices.take(callback)
            case Activity.CHECK:
                return await self._check(callback)
            case activity if activity in OF_LICENCES:
                return await self._licences.answer(callback, sent_at)
        return await self._perform(v2.to_event(callback, sent_at))

    async def _judged_v1(self, query_string: bytes) -> Answer:
        """The same for V1.0, whose replies are encrypted in part."""
        key = self._key()
        proved = v1_signing.verify(
            key, query_string, self.clock.now_ms(), self.settings.v1_max_age_ms
        )
        callback = v1_fields.parse(proved.parameters)
        self._look_at_contact(key, proved.parameters)
        if callback.test:
            answer = v1.debug_answer(callback, self.clock.now_ms(), self._debugged)
        elif callback.activity is Activity.QUERY:
            answer = await self._query(callback)
        elif callback.activity is Activity.LICENCE:
            answer = await self._licence_v1(callback, proved.sent_at)
        else:
            event = v1.to_event(callback, proved.sent_at)
            answer = await self._perform(event, v1.order_of(callback))
        if callback.activity is Activity.NEW and answer.app_info is None:
            access = await self.view.access(answer.instance_id, self.clock.now_ms())
            answer = replace(answer, app_info=access)
        return v1_replies.sealed(answer, self._cipher(key), self._new_iv)

    async def _licence_v1(self, callback: Callback, sent_at: int) -> Answer:
        """getLicense: newInstance, and the licence in the reply (spec §4.3)."""
        bought = replace(callback, activity=Activity.NEW)
        order = v1.order_of(bought)
        created = await self._provisioner.create(v1.to_event(bought, sent_at), order)
        return await self._licences.with_licence(created, order.expires if order else 0)

    async def _perform(self, event: LifecycleEvent, order: Order | None = None) -> Answer:
        """Whatever changes an instance; `order` is what the call itself told of it."""
        if event.activity is Activity.NEW:
            return await self._provisioner.create(event, order)
        if event.activity is Activity.UPGRADE:
            answer = await self._provisioner.upgrade(event, order)
        else:
            answer = await self._renewer.apply(event)
        return answer or unknown(event.instance_id)

    async def _check(self, callback: Callback) -> Answer:
        instance_id = callback.values["instanceId"]
        answer = await self._renewer.check(instance_id, fields.wanted_product(callback))
        return answer or unknown(instance_id)

    async def _query(self, callback: Callback) -> Answer:
        return await self.view.answer(fields.instance_ids(callback), self.clock.now_ms())

    def _look_at_contact(self, key: str, parameters: Mapping[str, str]) -> None:
        """Phone and mail are kept nowhere, but they tell which size of key was published."""
        values = [value for name in v1_fields.CONTACT if (value := parameters.get(name))]
        bits = self.settings.encrypt_bits
        if any(not ValueCipher.of(key, bits).opens(value) for value in values):
            _log.warning(
                "mobilePhone or email cannot be decrypted with koogallery.access_key and "
                "encrypt_bits: %d; is the product published with the other size?",
                bits,
            )

    def _cipher(self, key: str) -> ValueCipher:
        return ValueCipher.of(key, self.settings.encrypt_bits)

    def _new_iv(self) -> str:
        return cipher.random_iv(self.randomness(cipher.IV_RANDOMNESS))

    def _key(self) -> str:
        if not self.key:
            _log.error("callback refused: koogallery.access_key is not set")
            raise BadSignature("this address has no access key yet")
        return self.key

    def _verified(self, signed: SignedQuery, raw: bytes) -> int:
        now = self.clock.now_ms()
        sent_at = signing.verify(self._key(), signed, raw, now)
        self.nonces.admit(signed.nonce, now)
        return sent_at


def routes(service: CallbackService) -> list[Route]:
    """The routes of the control plane's public listener that belong to the marketplace."""

    async def callback(request: Request) -> Response:
        if request.method == "POST":
            body = await bounded_body(request, fields.MAX_BODY, _BODY_BUDGET_S)
            reply = await service.answer(request.query_params, body)
        else:
            reply = await service.answer_v1(request.scope["query_string"])
        return signed(reply, service.key)

    return [Route(path, callback, methods=["GET", "POST"]) for path in _PATHS]
