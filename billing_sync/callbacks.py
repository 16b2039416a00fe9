"""The production address: KooGallery's V2.0 callbacks over HTTP (spec §2).

Every reply is HTTP 200 with a result code, as the marketplace reads nothing else. Success is said
only after SQL has committed; nothing that goes wrong in here reaches the caller as a stack trace.
"""

import logging
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import anyio
from cryptography.exceptions import InvalidTag
from sqlalchemy import Engine
from sqlmodel import Session
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from billing_sync.bounded_bodies import bounded_body
from billing_sync.errors import BadEvent, BadSignature
from billing_sync.figures import UsageFigure, UsageFigures
from billing_sync.koogallery import answers, fields, query, signing, v2
from billing_sync.koogallery.answers import Answer
from billing_sync.koogallery.codes import ResultCode
from billing_sync.koogallery.fields import Callback
from billing_sync.koogallery.query import Shown
from billing_sync.koogallery.signing import NonceMemory, SignedQuery
from billing_sync.lifecycle import Activity, LifecycleEvent
from billing_sync.models import Instance
from billing_sync.provisioning import Orders, Provisioner, may_replace
from billing_sync.settings import KooGallerySettings
from billing_sync.store import customers, lifecycle
from billing_sync.store.worker import SqlWorker
from metering import keys
from metering.catalogue import Catalogue
from metering.clock import Clock

_log = logging.getLogger(__name__)

FIGURES_BUDGET_S: Final = 2.0
_BODY_BUDGET_S: Final = 10.0
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
        self._sql = SqlWorker(self.engine)
        self._provisioner = Provisioner(
            sql=self._sql,
            settings=self.settings,
            catalogue=self.catalogue,
            orders=self.orders,
            secret=self.secret,
            clock=self.clock,
            randomness=self.randomness,
            on_change=self.on_change,
        )

    @property
    def unknown_products(self) -> int:
        """How many orders named a product that is not configured."""
        return self._provisioner.unknown_products

    async def resolve_creating(self) -> int:
        """One background round for instances whose order was not known; how many were settled."""
        return await self._provisioner.resolve_creating()

    async def answer(self, parameters: Mapping[str, str], raw: bytes) -> Answer:
        """The reply to one callback. Never raises for anything a caller can cause."""
        try:
            answer = await self._judged(parameters, raw)
        except BadSignature as reason:
            answer = Answer(ResultCode.BAD_SIGNATURE, str(reason))
        except BadEvent as reason:
            answer = Answer(ResultCode.BAD_PARAMETER, str(reason))
        except Exception as error:  # noqa: BLE001  (the marketplace must get a reply it can read)
            # Only where and what: messages of SQL errors quote their parameters.
            _log.error("callback failed: %s", _origin(error))
            answer = Answer(ResultCode.INTERNAL, "internal error, try again")
        self.answers[fields.activity_name(raw), answer.code.value] += 1
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
        event = v2.to_event(callback, sent_at)
        if callback.activity is Activity.NEW:
            return await self._provisioner.create(event)
        if callback.activity is Activity.UPGRADE:
            answer = await self._provisioner.upgrade(event)
            return answer or _unknown(event)
        return await self._apply(event)

    def _verified(self, signed: SignedQuery, raw: bytes) -> int:
        if self.settings.access_key is None:
            _log.error("callback refused: koogallery.access_key is not set")
            raise BadSignature("this address has no access key yet")
        now = self.clock.now_ms()
        sent_at = signing.verify(self.settings.access_key.get_secret_value(), signed, raw, now)
        self.nonces.admit(signed.nonce, now)
        return sent_at

    async def _apply(self, event: LifecycleEvent) -> Answer:
        answer = await self._sql.write(
            partial(
                lifecycle.apply,
                event=event,
                at=self.clock.now_ms(),
                may_replace=partial(may_replace, self.catalogue),
            )
        )
        if answer is None:
            return _unknown(event)
        self.on_change()
        return answer

    async def _query(self, callback: Callback) -> Answer:
        ids = fields.instance_ids(callback)
        instances = await self._instances(ids)
        waiting = [i for i in instances.values() if not lifecycle.is_settled(i)]
        if waiting and await self._provisioner.resolve(waiting):
            instances = await self._instances(ids)
        shown = await self._sql.read(partial(self._shown, instances=list(instances.values())))
        figures = await self._figures([i for i in ids if i in shown and shown[i].settled])
        return query.answer(ids, shown, figures, self.clock.now_ms())

    async def _instances(self, ids: Sequence[str]) -> dict[str, Instance]:
        return await self._sql.read(partial(lifecycle.by_ids, instance_ids=ids))

    async def _figures(self, ids: Sequence[str]) -> Mapping[str, Sequence[UsageFigure]]:
        if not ids:
            return {}
        with anyio.fail_after(self.figures_budget_s):
            return await self.figures.for_instances(ids)

    def _shown(self, session: Session, instances: Sequence[Instance]) -> dict[str, Shown]:
        buyers = {i.customer_id for i in instances if i.customer_id}
        sealed = customers.sealed_keys(session, buyers, self.clock.now_ms())
        apps = {buyer: self._app_info(buyer, sealed.get(buyer)) for buyer in buyers}
        return {i.id: Shown(lifecycle.is_settled(i), apps.get(i.customer_id)) for i in instances}

    def _app_info(self, customer_id: str, sealed: str | None) -> dict[str, str]:
        key = None
        try:
            key = keys.unseal(self.secret, sealed) if sealed else None
        except (InvalidTag, ValueError):
            _log.error("key of customer %s was sealed with another secret_key", customer_id)
        return query.app_info(self.front_end_url, customer_id, key)


def _unknown(event: LifecycleEvent) -> Answer:
    return Answer(ResultCode.UNKNOWN_INSTANCE, f"unknown instanceId: {event.instance_id}")


def _origin(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    places = " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames))
    return f"{type(error).__name__} at {places}"


def routes(service: CallbackService) -> list[Route]:
    """The routes of the control plane's public listener that belong to the marketplace."""

    async def callback(request: Request) -> Response:
        if request.method != "POST":
            reply = Answer(ResultCode.BAD_PARAMETER, "V1.0 (GET) is not yet built; V2.0 is POST")
        else:
            body = await bounded_body(request, fields.MAX_BODY, _BODY_BUDGET_S)
            reply = await service.answer(request.query_params, body)
        return Response(answers.encode(reply), headers={"Content-Type": answers.CONTENT_TYPE})

    return [Route(path, callback, methods=["GET", "POST"]) for path in _PATHS]
