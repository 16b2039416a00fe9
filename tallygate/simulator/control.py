"""Under `/_sim`: setting the scene and looking at it. Calls to the merchant are in `play`."""

from collections.abc import Mapping
from typing import Final, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .callbacks import check_url
from .clock import ShiftedClock
from .conversation import Conversation
from .errors import BadRequest
from .faults import Faults
from .intake import Intake
from .marketplace import Marketplace
from .models import Kind, Order, Product
from .settings import PUSH_AUTHS, PushAuth
from .times import DAY_MS, parse_compact_time
from .wire import answer, flag, objects, only, read_object, text, texts, whole

MAX_PRODUCTS: Final = 1000
MAX_LINES: Final = 100
MAX_PACKAGES: Final = 30  # in one order, spec §8.4
_OFFSET_MS: Final = (-3650 * DAY_MS, 3650 * DAY_MS)


class Control:
    """Products, orders, settings and faults in; records, totals and findings out."""

    def __init__(
        self,
        marketplace: Marketplace,
        conversation: Conversation,
        intake: Intake,
        faults: Faults,
        clock: ShiftedClock,
    ) -> None:
        self._marketplace = marketplace
        self._conversation = conversation
        self._intake = intake
        self._faults = faults
        self._clock = clock

    def routes(self) -> list[Route]:
        return [
            Route("/health", self.health),
            Route("/settings", self.settings, methods=["PUT"]),
            Route("/products", self.products, methods=["PUT"]),
            Route("/orders", self.orders, methods=["POST"]),
            Route("/orders/{order_id}/reveal", self.reveal, methods=["POST"]),
            Route("/faults", self.set_faults, methods=["POST"]),
            Route("/collect", self.collect, methods=["POST"]),
            Route("/sdrs", self.sdrs),
            Route("/totals", self.totals),
            Route("/instances", self.instances),
            Route("/findings", self.findings),
        ]

    async def health(self, _: Request) -> Response:
        return answer({"status": "ok", "now_ms": self._clock.now_ms()})

    async def settings(self, request: Request) -> Response:
        """`production_url`, `push_auth`, `clock_offset_ms`; what is absent stays."""
        body = await read_object(request)
        only(body, "production_url", "push_auth", "clock_offset_ms")
        url = check_url(text(body, "production_url")) if "production_url" in body else None
        auth = text(body, "push_auth", self._intake.push_auth)
        if auth not in PUSH_AUTHS:
            raise BadRequest(f"push_auth must be one of {', '.join(PUSH_AUTHS)}")
        self._clock.offset_ms = whole(body, "clock_offset_ms", self._clock.offset_ms, _OFFSET_MS)
        self._intake.push_auth = cast(PushAuth, auth)
        self._conversation.production_url = url or self._conversation.production_url
        return answer(
            {
                "production_url": self._conversation.production_url,
                "push_auth": self._intake.push_auth,
                "clock_offset_ms": self._clock.offset_ms,
            }
        )

    async def products(self, request: Request) -> Response:
        body = await read_object(request)
        only(body, "products")
        products = [_product(item) for item in objects(body, "products", MAX_PRODUCTS)]
        self._marketplace.offer(products)
        return answer({"products": sorted(self._marketplace.products)})

    async def orders(self, request: Request) -> Response:
        body = await read_object(request)
        only(body, "customer_id", "customer_name", "buyer", "lines")
        items = [_item(line) for line in objects(body, "lines", MAX_LINES)]
        now_ms = self._clock.now_ms()
        order = Order(
            order_id=self._marketplace.new_order_id(now_ms),
            order_type="NEW",
            created_ms=now_ms,
            customer_id=text(body, "customer_id"),
            customer_name=text(body, "customer_name", "Customer"),
            buyer_shown=flag(body, "buyer", default=True),
        )
        self._check_items(items)
        return answer(_placed(self._marketplace.place(order, items)), 201)

    def _check_items(self, items: list[tuple[str, int | None]]) -> None:
        if not items:
            raise BadRequest("lines must name at least one product")
        known = [self._marketplace.products.get(product_id) for product_id, _ in items]
        packages = [product for product in known if product and product.kind is Kind.ON_DEMAND_PKG]
        if len(packages) > MAX_PACKAGES:
            raise BadRequest(f"an order holds at most {MAX_PACKAGES} packages")

    async def reveal(self, request: Request) -> Response:
        order = self._marketplace.order(request.path_params["order_id"])
        order.buyer_shown = True
        return answer({"order_id": order.order_id})

    async def set_faults(self, request: Request) -> Response:
        self._faults.set(await read_object(request))
        return answer(self._faults.as_json())

    async def collect(self, _: Request) -> Response:
        return answer(self._marketplace.collect())

    async def sdrs(self, request: Request) -> Response:
        wanted = request.query_params.get("instance_id")
        found = [
            stored.as_json()
            for stored in self._marketplace.records
            if wanted in (None, stored.record.get("instance_id"))
        ]
        return answer({"sdrs": found})

    async def totals(self, _: Request) -> Response:
        return answer(self._marketplace.totals())

    async def instances(self, _: Request) -> Response:
        found = [instance.as_json() for instance in self._marketplace.instances.values()]
        return answer({"instances": found})

    async def findings(self, _: Request) -> Response:
        log = self._marketplace.findings
        return answer({"findings": log.as_json(), "total": log.total})


def _product(item: Mapping[str, object]) -> Product:
    only(item, "product_id", "name", "kind", "stop_before_excess", "covers")
    product_id, kind = text(item, "product_id"), text(item, "kind", Kind.ON_DEMAND)
    if kind not in (Kind.ON_DEMAND, Kind.ON_DEMAND_PKG):
        raise BadRequest("kind must be ON_DEMAND or ON_DEMAND_PKG")
    if len(product_id) > 64:
        raise BadRequest("product_id has at most 64 characters")
    return Product(
        product_id=product_id,
        name=text(item, "name", product_id)[:64],
        kind=Kind(kind),
        stop_before_excess=flag(item, "stop_before_excess", default=False),
        covers=frozenset(texts(item, "covers")),
    )


def _item(line: Mapping[str, object]) -> tuple[str, int | None]:
    """A product id and, optionally, `expire_time` as `yyyyMMddHHmmss`."""
    only(line, "product_id", "expire_time")
    expires_ms = parse_compact_time(line.get("expire_time"))
    if expires_ms is None and "expire_time" in line:
        raise BadRequest("expire_time must be yyyyMMddHHmmss, UTC")
    return text(line, "product_id"), expires_ms


def _placed(order: Order) -> dict[str, object]:
    lines = [
        {
            "order_line_id": line.order_line_id,
            "product_id": line.product.product_id,
            "charging_mode": line.product.kind.value,
        }
        for line in order.lines
    ]
    return {"order_id": order.order_id, "lines": lines}
