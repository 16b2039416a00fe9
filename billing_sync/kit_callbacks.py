"""The joint-operation Kit over HTTP (spec §5): five interfaces in two versions, below the production
address.

Every reply is HTTP 200 with a result code and signed; success is said only after SQL has committed.
With testFlag 1 it is made from the request and the keys alone, and nothing is written.
"""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from billing_sync.answering import guarded, signed, unknown
from billing_sync.bounded_bodies import bounded_body
from billing_sync.errors import BadEvent, BadSignature, PrivateKeyUnsuitable, Undecipherable
from billing_sync.kit_calls import AppTold, KitCall, Sync
from billing_sync.koogallery import kit_fields, kit_secrets, kit_signing
from billing_sync.koogallery.answers import Answer
from billing_sync.koogallery.codes import ResultCode
from billing_sync.koogallery.kit_signing import KitHeaders
from billing_sync.koogallery.signing import NonceMemory
from billing_sync.settings import KooGallerySettings
from billing_sync.store import kit
from billing_sync.store.kit_access import CLIENT_SECRET
from billing_sync.store.worker import SqlWorker
from metering import keys
from metering.clock import Clock

_log = logging.getLogger(__name__)

_BODY_BUDGET_S: Final = 10.0
_NONCE_BYTES: Final = 12
# The console appends the sub-path to the production address, which may end with a slash.
_PREFIXES: Final = ("", "/", "/koogallery", "/koogallery/")
_PATHS: Final = {1: "/produceAPI", 2: "/produceAPI/v2"}


@dataclass
class KitService:
    """Answers calls of the Kit. `secret` is the installation's, `randomness(n)` gives n bytes.

    `answers` counts replies by (interface, version, result code).
    """

    sql: SqlWorker
    settings: KooGallerySettings
    secret: bytes = field(repr=False)
    clock: Clock
    randomness: Callable[[int], bytes]
    nonces: NonceMemory = field(default_factory=NonceMemory, repr=False)
    answers: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    async def answer(self, version: int, sync: Sync, headers: KitHeaders, raw: bytes) -> Answer:
        """The reply to one call. Never raises for anything a caller can cause."""
        answer = await guarded(partial(self._judged, version, sync, headers, raw))
        self.answers[sync.value, str(version), answer.code.value] += 1
        return answer

    @property
    def key(self) -> str:
        """Signs the Kit; empty while there is none."""
        key = self.settings.kit_key or self.settings.access_key
        return key.get_secret_value() if key else ""

    async def _judged(self, version: int, sync: Sync, headers: KitHeaders, raw: bytes) -> Answer:
        """Verify, parse, judge. A long list is read in a thread: others are answered meanwhile."""
        now = self.clock.now_ms()
        read = self._read_v1 if version == 1 else self._read_v2
        call = await to_thread.run_sync(read, sync, headers, raw, now)
        if version != 1:
            self.nonces.admit(headers.nonce, now)
        if isinstance(call.told, AppTold):
            call = await self._opened(call, call.told)
        if not call.test and not await self.sql.write(partial(kit.apply, call=call)):
            return unknown(call.instance_id)
        return Answer(ResultCode.SUCCESS)

    def _read_v2(self, sync: Sync, headers: KitHeaders, raw: bytes, now: int) -> KitCall:
        key = self._checked(sync, raw)
        kit_signing.verify_v2(key, headers, raw, now)
        return kit_fields.parse(2, sync, kit_fields.object_of(raw), now)

    def _read_v1(self, sync: Sync, headers: KitHeaders, raw: bytes, now: int) -> KitCall:
        """The token is made of the body's fields, so they are read before it can be checked."""
        key = self._checked(sync, raw)
        data = kit_fields.object_of(raw)
        max_age_ms = self.settings.v1_max_age_ms
        kit_signing.verify_v1(key, headers.token, data, now, max_age_ms)
        return kit_fields.parse(1, sync, data, now)

    def _checked(self, sync: Sync, raw: bytes) -> str:
        """The key. Raises BadSignature without one, BadEvent for too long a body."""
        if not self.key:
            _log.error("call refused: neither koogallery.kit_key nor access_key is set")
            raise BadSignature("this address has no Kit key yet")
        if len(raw) > kit_fields.MAX_BODY[sync]:
            raise BadEvent(f"body is larger than {kit_fields.MAX_BODY[sync]} bytes")
        return self.key

    async def _opened(self, call: KitCall, app: AppTold) -> KitCall:
        """With the secret sealed as it is stored. Raises Undecipherable, also for debugging calls: the
        public key is what is debugged there (§9), and a wrong one must not show at the first customer.
        """
        if call.flag.revokes:
            return replace(call, told=replace(app, secret=""))
        try:
            plain = await to_thread.run_sync(self._decrypted, app.secret)
        except Undecipherable as reason:
            _log.warning("applicationSync: %s with koogallery.private_key_file", reason)
            raise
        sealed = keys.seal(self.secret, plain, self.randomness(_NONCE_BYTES), CLIENT_SECRET)
        return replace(call, told=replace(app, secret=sealed))

    def _decrypted(self, encrypted: str) -> str:
        """The file is read each time: there are few such calls, and a new key needs no restart."""
        path = self.settings.private_key_file
        if path is None:
            raise Undecipherable("clientSecret cannot be decrypted: no key is configured")
        try:
            key = kit_secrets.private_key(Path(path).read_bytes()[: kit_secrets.MAX_PEM])
        except (OSError, PrivateKeyUnsuitable) as problem:
            _log.error("koogallery.private_key_file cannot be used: %s", problem)
            raise Undecipherable("clientSecret cannot be decrypted: the key is gone") from None
        return kit_secrets.decrypted(key, encrypted)


def routes(service: KitService) -> list[Route]:
    """The Kit's routes of the control plane's public listener."""

    def route(path: str, version: int, sync: Sync) -> Route:
        async def endpoint(request: Request) -> Response:
            body = await bounded_body(request, kit_fields.MAX_BODY[sync], _BODY_BUDGET_S)
            headers = KitHeaders.of(request.headers)
            return signed(await service.answer(version, sync, headers, body), service.key)

        return Route(f"{path}/{sync}", endpoint, methods=["POST"])

    return [
        route(f"{prefix}{path}", version, sync)
        for prefix in _PREFIXES
        for version, path in _PATHS.items()
        for sync in Sync
    ]
