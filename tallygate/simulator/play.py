"""Under `/_sim`: the handles that make the marketplace call the merchant."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .checks import RESULT_CODES
from .errors import BadRequest, NotFound
from .in_process import Simulator
from .lifecycle import ACTIVITIES
from .offers import read_item
from .tampering import TAMPERS
from .wire import answer, flag, only, read_object, text, whole

MAX_REPEAT: Final = 100
_OVERRIDES: Final = ("scene", "orderId", "orderLineId", "productId", "expireTime", "testFlag")


class Play:
    """Opens orders, acts on instances, sends anything."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._marketplace = simulator.marketplace

    def routes(self) -> list[Route]:
        return [
            Route("/orders/{order_id}/open", self.open, methods=["POST"]),
            Route("/instances/{instance_id}/upgrade", self.upgrade, methods=["POST"]),
            Route("/instances/{instance_id}/{action}", self.act, methods=["POST"]),
            Route("/callback", self.callback, methods=["POST"]),
        ]

    async def open(self, request: Request) -> Response:
        order = self._marketplace.order(request.path_params["order_id"])
        return answer((await self._simulator.creation.open(order)).as_json())

    async def act(self, request: Request) -> Response:
        action = request.path_params["action"]
        if action not in ACTIVITIES:
            raise NotFound(f"no action {action!r}; known are {', '.join(ACTIVITIES)}, upgrade")
        instance = self._marketplace.instance(request.path_params["instance_id"])
        overrides = await read_object(request)
        only(overrides, *_OVERRIDES)
        return answer((await self._simulator.lifecycle.act(instance, action, overrides)).as_json())

    async def upgrade(self, request: Request) -> Response:
        """`product_id` and, optionally, `linear_value`; a CHANGE order is made for them."""
        instance = self._marketplace.instance(request.path_params["instance_id"])
        wanted = dict(await read_object(request))
        test_flag = flag({"test_flag": wanted.pop("test_flag", False)}, "test_flag", default=False)
        item = read_item({"product_id": instance.product.product_id, **wanted})
        lifecycle = self._simulator.lifecycle
        return answer((await lifecycle.upgrade(instance, item, test_flag)).as_json())

    async def callback(self, request: Request) -> Response:
        """`body` (text goes out as it is), `tamper`, `repeat`, and the result code to `expect`."""
        wanted = await read_object(request)
        only(wanted, "body", "tamper", "repeat", "expect")
        tamper = text(wanted, "tamper", "none")
        if tamper not in TAMPERS:
            raise BadRequest(f"tamper must be one of {', '.join(TAMPERS)}")
        answers = await self._simulator.conversation.call_raw(
            wanted.get("body", {}),
            tamper,
            whole(wanted, "repeat", 1, (1, MAX_REPEAT)),
            _expected(text(wanted, "expect")) if "expect" in wanted else None,
        )
        found = [finding.as_json() for answered in answers for finding in answered.findings]
        replies = [answered.as_json() for answered in answers]
        return answer({**answers[-1].as_json(), "findings": found, "replies": replies})


def _expected(code: str) -> frozenset[str]:
    if code not in RESULT_CODES:
        raise BadRequest(f"expect must be one of {', '.join(sorted(RESULT_CODES))}")
    return frozenset({code})
