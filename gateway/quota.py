"""`GET /-/quota` on the public listener: what is left to the customer who asks with his own key.

Each customer's figures are read at most once a second in a worker, however often he asks. Where they
cannot be read he gets the last ones, whose time stands in them.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

import anyio
from starlette.types import Receive, Scope, Send

from gateway.admission import KnownKey, holder_of
from gateway.credentials import presented_key
from gateway.errors import (
    GatewayError,
    Headers,
    MethodNotAllowed,
    QuotaUnreadable,
    body_of,
    headers_of,
)
from gateway.gate import Gate
from gateway.headers import dated
from gateway.limit_settings import Limits
from gateway.quota_view import LimitNow, accounts_of, view
from gateway.strictness import check_request
from gateway.telemetry import NO_ROUTE, Telemetry
from metering.clock import Clock
from metering.errors import MeteringError
from metering.lending import Balance
from metering.partitions import partition_of

FRESH_S: Final = 1.0
_CUSTOMERS: Final = 8192  # whose figures are kept
_AT_ONCE: Final = 16  # reads of Redis


class Lender(Protocol):
    """The bank, as far as it is asked here. Raises MeteringError."""

    async def balances(self, partition: int, accounts: Sequence[str]) -> list[Balance]:
        """What the ledger told it of the accounts, of which anything is known."""

    async def leased(self, partition: int, names: Sequence[str]) -> list[int]:
        """What gateways hold of each."""


# The limits of a customer who comes with the key of this id, as they are now. Raises MeteringError.
Limiting: TypeAlias = Callable[[Limits, str, str], Awaitable[list[LimitNow]]]


async def no_limits(limits: Limits, customer_id: str, key_id: str) -> list[LimitNow]:  # noqa: ARG001  (nobody's)
    """Nobody is limited."""
    return []


@dataclass(frozen=True)
class QuotaSource:
    """Where the figures come from."""

    lender: Lender
    limiting: Limiting
    partitions: int


@dataclass(slots=True)
class _Kept:
    body: bytes = b""
    until_s: float = 0.0
    reading: anyio.Lock = field(default_factory=anyio.Lock)


class Quota:
    """Of one worker. `new_id` makes request ids."""

    def __init__(
        self,
        gate: Gate,
        source: QuotaSource,
        clock: Clock,
        telemetry: Telemetry,
        new_id: Callable[[], str],
    ) -> None:
        self._gate = gate
        self._source = source
        self._clock = clock
        self._telemetry = telemetry
        self._new_id = new_id
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._reads = anyio.CapacityLimiter(_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for it."""
        del receive  # the body is the server's to drop
        request_id = self._new_id()
        try:
            body = await self._figures(self._holder(scope))
        except GatewayError as error:
            self._telemetry.refused(NO_ROUTE, error.status, error.code)
            body = body_of(error, request_id)
            await self._send(error.status, headers_of(error, request_id, len(body)), body, send)
            return
        self._telemetry.answered(NO_ROUTE, 200)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            (b"x-request-id", request_id.encode()),
        ]
        await self._send(200, headers, body, send)

    def _holder(self, scope: Scope) -> KnownKey:
        """Whose key it is. Raises GatewayError."""
        headers = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        check_request(headers, scope["http_version"])
        if scope["method"] not in ("GET", "HEAD"):
            raise MethodNotAllowed
        directory = self._gate.served.directory
        return holder_of(directory, presented_key(headers), self._clock.now_ms())

    async def _figures(self, known: KnownKey) -> bytes:
        """What he is told. Raises QuotaUnreadable."""
        name = (known.customer.customer_id, known.key.key_id)
        kept = self._kept.get(name)
        if kept is None:
            if len(self._kept) >= _CUSTOMERS:
                self._kept.clear()
            kept = self._kept[name] = _Kept()
        async with kept.reading:
            if anyio.current_time() >= kept.until_s:
                with suppress(MeteringError):
                    kept.body = await self._read(known)
                kept.until_s = anyio.current_time() + FRESH_S
        if not kept.body:
            raise QuotaUnreadable
        return kept.body

    async def _read(self, known: KnownKey) -> bytes:
        source, customer = self._source, known.customer
        products = self._gate.served.table.products
        accounts = sorted(accounts_of(customer, products))
        partition = partition_of(customer.customer_id, source.partitions)
        async with self._reads:
            balances = await source.lender.balances(partition, accounts)
            held = await source.lender.leased(partition, [each.account for each in balances])
            limits = await source.limiting(
                self._gate.served.limits, customer.customer_id, known.key.key_id
            )
        by_account = {each.account: (each, n) for each, n in zip(balances, held, strict=True)}
        shown = view(customer, products, by_account, limits, self._clock.now_ms())
        return json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode()

    async def _send(self, status: int, headers: Headers, body: bytes, send: Send) -> None:
        dated_headers = dated(headers, self._clock.now_ms())
        with suppress(OSError):  # the client left
            start = {"type": "http.response.start", "status": status, "headers": dated_headers}
            await send(start)
            await send({"type": "http.response.body", "body": body})
