"""The production address: KooGallery's callbacks over HTTP, V2.0 by POST and V1.0 by GET (spec §2, §3).

Every reply is HTTP 200 with a result code, as the marketplace reads nothing else, and is signed.
Success is said only after SQL has committed; nothing that goes wrong in here reaches the caller as a
stack trace.
"""

import logging
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from billing_sync.bounded_bodies import bounded_body
from billing_sync.errors import BadEvent, BadSignature
from billing_sync.figures import UsageFigures
from billing_sync.instance_view import InstanceView
from billing_sync.koogallery import (
    answers,
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
from billing_sync.koogallery.codes import ResultCode
from billing_sync.koogallery.fields import Callback
from billing_sync.koogallery.order import Order
from billing_sync.koogallery.signing import NonceMemory, SignedQuery
from billing_sync.lifecycle import Activity, LifecycleEvent
from billing_sync.noticing import Notices
from billing_sync.order_book import OrderBook, Orders
from billing_sync.provisioning import Provisioner
from billing_sync.renewing import Renewer
from billing_sync.settings import KooGallerySettings
from billing_sync.store.worker import SqlWorker
from metering.catalogue import Catalogue
from metering.clock import Clock

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

    `on_change` is called after each commit, to wake whoever projects. `answers` counts replies by
    (activity, result code).
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
    nonces: NonceMemory = field(default_factory=NonceMemory, repr=False)
    figures_budget_s: float = FIGURES_BUDGET_S
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        if len(self.front_end_url) > query.MAX_URL:
            raise ValueError(f"gateway.public_url is longer than {query.MAX_URL} characters")
        sql = SqlWorker(self.engine)
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
        self.view = InstanceView(
            sql=sql,
            figures=self.figures,
            secret=self.secret,
            front_end_url=self.front_end_url,
            resolve=self._provisioner.resolve,
            budget_s=self.figures_budget_s,
        )

    @property
    def unknown_products(self) -> int:
        """How many orders named a product that is not configured."""
        return self._book.unknown_products

    async def resolve(self) -> int:
        """One background round for whatever order was not known; how many were learnt."""
        learnt = await self._provisioner.resolve_creating()
        return learnt + await self._renewer.resolve() + await self._notices.resolve()

    async def answer(self, parameters: Mapping[str, str], raw: bytes) -> Answer:
        """The reply to one V2.0 callback. Never raises for anything a caller can cause."""
        answer = await self._guarded(partial(self._judged, parameters, raw))
        self._answered(fields.activity_name(raw), answer)
        return answer

    async def answer_v1(self, query_string: bytes) -> Answer:
        """The reply to one V1.0 callback, in the same way."""
        answer = await self._guarded(partial(self._judged_v1, query_string))
        self._answered(v1_fields.activity_name(query_string), answer)
        return answer

    def _answered(self, activity: str, answer: Answer) -> None:
        self.answers[activity, answer.code.value] += 1
        _log.info("callback %s answered %s", activity, answer.code.value)

    def body_sign(self, body: bytes) -> str | None:
        """The `Body-Sign` of a reply; None while there is no key to sign with."""
        key = self._access_key()
        return v1_signing.body_sign(key, body) if key else None

    async def _guarded(self, judge: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            answer = await judge()
        except BadSignature as reason:
            answer = Answer(ResultCode.BAD_SIGNATURE, str(reason))
        except BadEvent as reason:
            answer = Answer(ResultCode.BAD_PARAMETER, str(reason))
        except Exception as error:  # noqa: BLE001  (the marketplace must get a reply it can read)
            # Only where and what: messages of SQL errors quote their parameters.
            _log.error("callback failed: %s", _origin(error))
            answer = Answer(ResultCode.INTERNAL, "internal error, try again")
        return answer

    async def _judged(self, parameters: Mapping[str, str], raw: bytes) -> Answer:
        """Verify, parse, judge: in this order."""
        if len(raw) > fields.MAX_BODY:
            raise BadEvent(f"body is larger than {fields.MAX_BODY} bytes")
        sent_at = self._verified(SignedQuery.of(parameters), raw)
        callback = fields.parse(raw)
        if callback.test:
            return v2.debug_answer(callback, self.clock.now_ms(), self.front_end_url)
        if callback.activity is Activity.QUERY:
            return await self._query(callback)
        if callback.activity is Activity.NOTIFY:
            return await self._notices.take(callback)
        if callback.activity is Activity.CHECK:
            return await self._check(callback)
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
            answer = v1.debug_answer(callback, self.clock.now_ms(), self.front_end_url)
        elif callback.activity is Activity.QUERY:
            answer = await self._query(callback)
        else:
            event = v1.to_event(callback, proved.sent_at)
            answer = await self._perform(event, v1.order_of(callback))
        if callback.activity is Activity.NEW and answer.app_info is None:
            access = await self.view.access(answer.instance_id, self.clock.now_ms())
            answer = replace(answer, app_info=access)
        return v1_replies.sealed(answer, self._cipher(key), self._new_iv)

    async def _perform(self, event: LifecycleEvent, order: Order | None = None) -> Answer:
        """Whatever changes an instance; `order` is what the call itself told of it."""
        if event.activity is Activity.NEW:
            return await self._provisioner.create(event, order)
        if event.activity is Activity.UPGRADE:
            answer = await self._provisioner.upgrade(event, order)
        else:
            answer = await self._renewer.apply(event)
        return answer or _unknown(event.instance_id)

    async def _check(self, callback: Callback) -> Answer:
        instance_id = callback.values["instanceId"]
        answer = await self._renewer.check(instance_id, fields.wanted_product(callback))
        return answer or _unknown(instance_id)

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

    def _access_key(self) -> str:
        key = self.settings.access_key
        return key.get_secret_value() if key else ""

    def _key(self) -> str:
        key = self._access_key()
        if not key:
            _log.error("callback refused: koogallery.access_key is not set")
            raise BadSignature("this address has no access key yet")
        return key

    def _verified(self, signed: SignedQuery, raw: bytes) -> int:
        now = self.clock.now_ms()
        sent_at = signing.verify(self._key(), signed, raw, now)
        self.nonces.admit(signed.nonce, now)
        return sent_at


def _unknown(instance_id: str) -> Answer:
    return Answer(ResultCode.UNKNOWN_INSTANCE, f"unknown instanceId: {instance_id}")


def _origin(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    places = " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames))
    return f"{type(error).__name__} at {places}"


def routes(service: CallbackService) -> list[Route]:
    """The routes of the control plane's public listener that belong to the marketplace."""

    async def callback(request: Request) -> Response:
        if request.method == "POST":
            body = await bounded_body(request, fields.MAX_BODY, _BODY_BUDGET_S)
            reply = await service.answer(request.query_params, body)
        else:
            reply = await service.answer_v1(request.scope["query_string"])
        return signed(answers.encode(reply).encode())

    def signed(body: bytes) -> Response:
        response = Response(body, headers={"Content-Type": answers.CONTENT_TYPE})
        if (signature := service.body_sign(body)) is not None:
            # Spelt as documented, where the server lets it through: Response would write it small.
            name = v1_signing.BODY_SIGN.encode()
            response.raw_headers.append((name, signature.encode()))
        return response

    return [Route(path, callback, methods=["GET", "POST"]) for path in _PATHS]
