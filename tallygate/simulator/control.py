"""Under `/_sim`: setting the scene. Looking at it is in `showing`, calling the merchant in `play`."""

from collections.abc import Sequence
from typing import Final, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .callbacks import check_url
from .errors import BadRequest
from .in_process import Simulator
from .models import Item, Kind, Order
from .offers import read_item, read_product
from .settings import PUSH_AUTHS, PushAuth
from .times import DAY_MS
from .wire import answer, flag, number, objects, only, read_object, text, whole

MAX_PRODUCTS: Final = 1000
MAX_LINES: Final = 100
MAX_PACKAGES: Final = 30  # in one order, spec §8.4
_OFFSET_MS: Final = (-3650 * DAY_MS, 3650 * DAY_MS)
_TIME_MS: Final = (0, 253_402_300_799_000)  # until the year 9999


class Control:
    """Products, orders, settings, time and faults."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._marketplace = simulator.marketplace

    def routes(self) -> list[Route]:
        return [
            Route("/settings", self.settings, methods=["PUT"]),
            Route("/clock", self.clock, methods=["PUT"]),
            Route("/products", self.products, methods=["PUT"]),
            Route("/orders", self.orders, methods=["POST"]),
            Route("/orders/{order_id}/reveal", self.reveal, methods=["POST"]),
            Route("/faults", self.set_faults, methods=["POST"]),
            Route("/collect", self.collect, methods=["POST"]),
        ]

    async def settings(self, request: Request) -> Response:
        """What is absent stays. Times are in seconds where the name does not say otherwise."""
        body = await read_object(request)
        only(body, "production_url", "push_auth", "clock_offset_ms", "validation_delay")
        intake, conversation = self._simulator.intake, self._simulator.conversation
        clock, usage = self._simulator.clock, self._marketplace.usage
        url = check_url(text(body, "production_url")) if "production_url" in body else None
        auth = text(body, "push_auth", intake.push_auth)
        if auth not in PUSH_AUTHS:
            raise BadRequest(f"push_auth must be one of {', '.join(PUSH_AUTHS)}")
        delay = number(body, "validation_delay", usage.validation_delay_ms / 1000, (0, 86_400))
        clock.offset_ms = whole(body, "clock_offset_ms", clock.offset_ms, _OFFSET_MS)
        intake.push_auth = cast(PushAuth, auth)
        conversation.production_url = url or conversation.production_url
        usage.validation_delay_ms = round(delay * 1000)
        self._simulator.advance()
        return answer(
            {
                "production_url": conversation.production_url,
                "push_auth": intake.push_auth,
                "clock_offset_ms": clock.offset_ms,
                "validation_delay": usage.validation_delay_ms / 1000,
            }
        )

    async def clock(self, request: Request) -> Response:
        """`now_ms`, or `forward_ms` from now. Everything due by then is done before it answers."""
        body = await read_object(request)
        only(body, "now_ms", "forward_ms")
        if len(body) != 1:
            raise BadRequest("name either now_ms or forward_ms")
        clock = self._simulator.clock
        now_ms = clock.now_ms()
        if "forward_ms" in body:
            clock.set(now_ms + whole(body, "forward_ms", 0, (0, _OFFSET_MS[1])))
        else:
            clock.set(whole(body, "now_ms", now_ms, _TIME_MS))
        self._simulator.advance()
        return answer({"now_ms": clock.now_ms(), "clock_offset_ms": clock.offset_ms})

    async def products(self, request: Request) -> Response:
        body = await read_object(request)
        only(body, "products")
        products = [read_product(item) for item in objects(body, "products", MAX_PRODUCTS)]
        self._marketplace.offer(products)
        return answer({"products": sorted(self._marketplace.products)})

    async def orders(self, request: Request) -> Response:
        body = await read_object(request)
        only(body, "customer_id", "customer_name", "buyer", "lines")
        items = [read_item(line) for line in objects(body, "lines", MAX_LINES)]
        now_ms = self._simulator.clock.now_ms()
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

    def _check_items(self, items: Sequence[Item]) -> None:
        if not items:
            raise BadRequest("lines must name at least one product")
        known = [self._marketplace.products.get(item.product_id) for item in items]
        packages = [product for product in known if product and product.kind is Kind.ON_DEMAND_PKG]
        if len(packages) > MAX_PACKAGES:
            raise BadRequest(f"an order holds at most {MAX_PACKAGES} packages")

    async def reveal(self, request: Request) -> Response:
        order = self._marketplace.order(request.path_params["order_id"])
        order.buyer_shown = True
        return answer({"order_id": order.order_id})

    async def set_faults(self, request: Request) -> Response:
        self._simulator.faults.set(await read_object(request))
        return answer(self._simulator.faults.as_json())

    async def collect(self, _: Request) -> Response:
        """Validates and collects everything at once, whatever is due."""
        self._simulator.advance()
        return answer(self._marketplace.collect(self._simulator.clock.now_ms()))


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
