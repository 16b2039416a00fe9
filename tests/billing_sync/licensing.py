"""A shop that sells licences: its production address, its maker, and the open API on a real socket.

Multipart bodies are read and signatures checked by hand here, from the specification, so that they can
disagree with ours.
"""

import hashlib
import hmac
import json
import secrets
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any, NamedTuple
from urllib.parse import unquote

import anyio
import httpx
from sqlalchemy import Engine
from sqlmodel import col, select

from billing_sync.koogallery.licence_upload import UploadClient
from billing_sync.licence_jobs import LicenceJobs
from billing_sync.licence_keeping import Keeper
from billing_sync.licence_makers import FunctionMaker
from billing_sync.licence_models import Licence
from billing_sync.licence_plant import LicencePlant
from billing_sync.licences import LicenceFile, LicenceRequest
from billing_sync.repeating import Repeater
from billing_sync.store.engine import reading
from billing_sync.store.worker import SqlWorker
from metering import catalogue as sold
from metering.catalogue import Product, catalogue
from metering.clock import Clock
from tests.billing_sync.marketplace import SECRET
from tests.billing_sync.v1_marketplace import V1Marketplace
from tests.servers import Received, Upstream, upstream

GOODS = catalogue(
    [
        Product(product_id="LIC", licence=sold.Licence()),
        Product(product_id="BOUND", licence=sold.Licence(fingerprint="required", devices=1)),
        Product(product_id="CODE", licence=sold.Licence(kind="code")),
        Product(product_id="TOKENS", meter="tokens_total", unit=1000, routes=["chat"]),
    ]
)
AK, SK = "the-ak", "the-sk"
DAY = 86_400_000


def written(at_ms: int) -> str:
    """A time as the page of getLicenseAsync prints it."""
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%d %H:%M:%S} z"


class Maker:
    """Gives another licence at every call; `plan` says what happens instead, call by call."""

    def __init__(self) -> None:
        self.requests: list[LicenceRequest] = []
        self.plan: list[Any] = []
        self.as_file = True
        self._lock = threading.Lock()

    def __call__(self, request: LicenceRequest) -> Any:
        with self._lock:
            self.requests.append(request)
            step = self.plan.pop(0) if self.plan else None
        if isinstance(step, BaseException):
            raise step
        if callable(step):
            return step(request)
        text = f"{request.id} {secrets.token_hex(8)}"
        return LicenceFile(f"{request.product_id}.lic", text.encode()) if self.as_file else text


class FileApi:
    """`market-event/{event_id}/file` as the page describes it; `plan` holds answers to give first."""

    def __init__(self) -> None:
        self.uploads: list[tuple[str, dict[str, Any], bytes | None]] = []
        self.plan: list[Callable[[Received], None]] = []
        self.refused: list[str] = []

    def __call__(self, request: Received) -> None:
        if problem := wrong_with(request):
            self.refused.append(problem)
            request.reply(b'{"error_code":"APIGW.0301","error_msg":"no"}', status=b"401 No")
            return
        said, file = self._read(request)
        event = unquote(request.target.split(b"/")[-2].decode())
        self.uploads.append((event, said, file))
        if self.plan:
            self.plan.pop(0)(request)
        else:
            request.json(b'{"error_code":"MKT.0000","error_msg":"success"}')

    def _read(self, request: Received) -> tuple[dict[str, Any], bytes | None]:
        parts = parts_read((request.header(b"content-type") or b"").decode(), request.body)
        note = parts["isvUpdateFileReq"]
        assert note.kind == "application/json"
        said: dict[str, Any] = json.loads(note.content)
        file = parts.get("file")
        if file is None:
            assert said["type"] == "CHARACTERS"
            return said, None
        assert said["type"] == "FILE"
        assert hashlib.sha256(file.content).hexdigest() == said["sha256"]
        assert file.file_name == said["file_name"]
        return said, file.content


class Part(NamedTuple):
    """A part of a multipart body."""

    kind: str
    file_name: str | None
    content: bytes


def parts_read(content_type: str, body: bytes) -> dict[str, Part]:
    """The parts by name, as Python's own parser of mail reads them."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    found: dict[str, Part] = {}
    for part in message.iter_parts():
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        name = str(part.get_param("name", header="content-disposition"))
        found[name] = Part(part.get_content_type(), part.get_filename(), content)
    return found


def wrong_with(request: Received) -> str:
    """What is wrong with the AK/SK signature (spec §7.6); empty when it is right."""
    headers = {name.decode().lower(): value.decode() for name, value in request.headers}
    given = dict(
        part.strip().split("=", 1)
        for part in headers["authorization"].removeprefix("SDK-HMAC-SHA256 ").split(",")
    )
    names = given["SignedHeaders"].split(";")
    if not {"host", "x-sdk-date", "x-sdk-content-sha256"} <= set(names):
        return f"signed are only {names}"
    if headers["x-sdk-content-sha256"] != "UNSIGNED-PAYLOAD":
        return "the payload claims to be signed"
    path = request.target.decode().rstrip("/") + "/"
    lines = [request.method, path, "", *(f"{name}:{headers[name]}" for name in names), ""]
    canonical = "\n".join([*lines, given["SignedHeaders"], "UNSIGNED-PAYLOAD"])
    text = f"SDK-HMAC-SHA256\n{headers['x-sdk-date']}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    expected = hmac.new(SK.encode(), text.encode(), hashlib.sha256).hexdigest()
    return "" if (given["Access"], given["Signature"]) == (AK, expected) else "wrong signature"


@contextmanager
def file_api() -> Iterator[tuple[FileApi, Upstream]]:
    """The open API, until the block ends."""
    api = FileApi()
    with upstream(api) as server:
        yield api, server


def jobs_of(
    engine: Engine, maker: Any, http: httpx.AsyncClient, shop: "Shop", clock: Clock | None = None
) -> LicenceJobs:
    """What works on licences, with this maker."""
    settings, clock = shop.service.settings, clock or shop.clock
    return LicenceJobs(
        sql=SqlWorker(engine),
        catalogue=GOODS,
        keeper=KEEPER,
        maker=FunctionMaker(maker, settings.licence.timeout),
        client=UploadClient(http, settings, clock, budget_s=5),
        clock=clock,
        timeout_s=settings.licence.timeout,
    )


KEEPER = Keeper(SECRET, secrets.token_bytes)


class Shop(V1Marketplace):
    """A merchant of licences; `jobs` work when they are told to, or all the time inside `open()`."""

    def __init__(
        self, engine: Engine, base_url: str = "http://nowhere.invalid", **licence: Any
    ) -> None:
        super().__init__(
            engine,
            GOODS,
            ak=AK,
            sk=SK,
            base_url=base_url,
            licence={"answer_within": 0, "timeout": 5} | licence,
        )
        self.maker = Maker()
        self.http = httpx.AsyncClient(trust_env=False)
        self.jobs = jobs_of(engine, self.maker, self.http, self)
        self.plant = LicencePlant(self.jobs)

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Shop"]:
        """Everything is made and uploaded as it comes."""
        self.service._licences._licences.on_wish = self.plant.wake
        async with self.http, anyio.create_task_group() as group:
            self.plant.start(group, Repeater(), 0.05)
            yield self
            group.cancel_scope.cancel()

    async def licensed(self, order: str, product: str = "LIC", **order_says: Any) -> str:
        """An instance of a licence product."""
        known = {"expires": self.clock.now_ms() + 365 * DAY} | order_says
        self.orders.buy(order, product, **known)
        answer = await self.create(order)
        assert answer["resultCode"] == "000000"
        return str(answer["instanceId"])

    async def ask(self, instance_id: str, event: str = "event-1", **fields: Any) -> dict[str, Any]:
        """getLicenseAsync for a year from now."""
        now = self.clock.now_ms()
        times = {"effectiveTime": written(now), "expireTime": written(now + 365 * DAY)}
        body = times | {"instanceId": instance_id, "eventId": event, "deviceFingerprint": "mac-1"}
        return await self.call("getLicenseAsync", **(body | fields))

    async def code(self, instance_id: str, event: str = "event-1", **fields: Any) -> str:
        """The result code of that."""
        return str((await self.ask(instance_id, event, **fields))["resultCode"])

    async def work(self) -> None:
        """One round of everybody who works on licences."""
        await self.jobs.make_due()
        await self.jobs.upload_due()


def rows(engine: Engine) -> list[Licence]:
    """The licences of a ledger, the oldest first."""
    with reading(engine) as session:
        return list(
            session.exec(select(Licence).order_by(col(Licence.received_at), col(Licence.id)))
        )


def states(engine: Engine) -> Counter[str]:
    """How many there are in each state."""
    return Counter(row.state for row in rows(engine))
