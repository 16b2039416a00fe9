"""The joint-operation Kit over HTTP (spec §5): five interfaces in two versions, below the production
address.

Every reply is HTTP 200 with a result code and signed; success is said only after SQL has committed.
With testFlag 1 it is made from the request and the keys alone, and nothing is written.
"""

import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

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
from billing_sync.koogallery.kit_values import object_of
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


class Reply(NamedTuple):
    """An answer, and the key that signs it; empty while there is none."""

    answer: Answer
    key: str


@dataclass(frozen=True, slots=True)
class Proof:
    """A call as it came, and the key that it is held against."""

    key: str = field(repr=False)
    headers: KitHeaders = field(repr=False)
    raw: bytes = field(repr=False)


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

    async def answer(self, version: int, sync: Sync, headers: KitHeaders, raw: bytes) -> Reply:
        """The reply to one call. Never raises for anything a caller can cause."""
        key = await to_thread.run_sync(self._key_of, version, sync, headers, raw)
        answer = await guarded(partial(self._judged, version, sync, Proof(key, headers, raw)))
        self.answers[sync.value, str(version), answer.code.value] += 1
        return Reply(answer, key)

    @property
    def key(self) -> str:
        """Signs the Kit; empty while there is none."""
        key = self.settings.kit_key or self.settings.access_key
        return key.get_secret_value() if key else ""

    def _key_of(self, version: int, sync: Sync, headers: KitHeaders, raw: bytes) -> str:
        """V1.0's pages know one key of the seller; whichever of ours makes the token is meant."""
        base = self.settings.access_key.get_secret_value() if self.settings.access_key else ""
        if version == 1 and base and base != self.key and len(raw) <= kit_fields.MAX_BODY[sync]:
            with suppress(BadEvent):
                if kit_signing.is_token_of(base, headers.token, object_of(raw)):
                    return base
        return self.key

    async def _judged(self, version: int, sync: Sync, proof: Proof) -> Answer:
        """Verify, parse, judge. A long list is read in a thread: others are answered meanwhile."""
        now = self.clock.now_ms()
        read = self._read_v1 if version == 1 else self._read_v2
        call = await to_thread.run_sync(read, sync, proof, now)
        if version != 1:
            self.nonces.admit(proof.headers.nonce, now)
        if isinstance(call.told, AppTold):
            call = await self._opened(call, call.told)
        if not call.test and not await self.sql.write(partial(kit.apply, call=call)):
            return unknown(call.instance_id)
        return Answer(ResultCode.SUCCESS)

    def _read_v2(self, sync: Sync, proof: Proof, now: int) -> KitCall:
        _check(sync, proof)
        kit_signing.verify_v2(proof.key, proof.headers, proof.raw, now)
        return kit_fields.parse(2, sync, object_of(proof.raw), now)

    def _read_v1(self, sync: Sync, proof: Proof, now: int) -> KitCall:
        """The token is made of the body's fields, so they are read before it can be checked."""
        _check(sync, proof)
        data, max_age_ms = object_of(proof.raw), self.settings.v1_max_age_ms
        kit_signing.verify_v1(proof.key, proof.headers.token, data, now, max_age_ms)
        return kit_fields.parse(1, sync, data, now)

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


def _check(sync: Sync, proof: Proof) -> None:
    """Raises BadSignature without a key, BadEvent for too long a body."""
    if not proof.key:
        _log.error("call refused: neither koogallery.kit_key nor access_key is set")
        raise BadSignature("this address has no Kit key yet")
    if len(proof.raw) > kit_fields.MAX_BODY[sync]:
        raise BadEvent(f"body is larger than {kit_fields.MAX_BODY[sync]} bytes")


def routes(service: KitService) -> list[Route]:
    """The Kit's routes of the control plane's public listener."""

    def route(path: str, version: int, sync: Sync) -> Route:
        async def endpoint(request: Request) -> Response:
            body = await bounded_body(request, kit_fields.MAX_BODY[sync], _BODY_BUDGET_S)
            headers = KitHeaders.of(request.headers)
            return signed(*await service.answer(version, sync, headers, body))

        return Route(f"{path}/{sync}", endpoint, methods=["POST"])

    return [
        route(f"{prefix}{path}", version, sync)
        for prefix in _PREFIXES
        for version, path in _PATHS.items()
        for sync in Sync
    ]
