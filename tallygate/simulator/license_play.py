"""Under `/_sim`: the handles that ask for licences and act on authorization codes (spec §4)."""

from typing import Final
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .checks import RESULT_CODES
from .errors import BadRequest, NotFound
from .in_process import Simulator
from .license_book import Code
from .licensing import CODE_ACTIONS
from .times import DAY_MS, parse_compact_time
from .wire import answer, only, read_object, text

_FIELDS: Final = (
    *("eventId", "deviceFingerprint", "effectiveTime", "expireTime"),
    *("testFlag", "expect"),
)
_CODE_FIELDS: Final = ("scene", "orderId", "orderLineId", "productId", "expireTime", "testFlag")


class LicensePlay:
    """Applications for licences, and codes."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._book = simulator.marketplace.licenses

    def routes(self) -> list[Route]:
        """Before those of `Play`, whose actions have the same shape."""
        return [
            Route("/instances/{instance_id}/license", self.ask, methods=["POST"]),
            Route("/licenses", self.licenses),
            Route("/licenses/{event_id}", self.content),
            Route("/codes", self.make_code, methods=["POST"]),
            Route("/codes", self.codes),
            Route("/codes/{license_id}/{action}", self.tell, methods=["POST"]),
        ]

    async def ask(self, request: Request) -> Response:
        """getLicenseAsync; a known `eventId` repeats that application. `expect`: another code."""
        instance = self._simulator.marketplace.instance(request.path_params["instance_id"])
        fields = dict(await read_object(request))
        only(fields, *_FIELDS)
        expect = fields.pop("expect", None)
        if expect is None:
            asked = await self._simulator.licensing.ask(instance, fields)
        elif expect in RESULT_CODES:
            codes = frozenset({str(expect)})
            asked = await self._simulator.licensing.ask(instance, fields, codes)
        else:
            raise BadRequest(f"expect must be one of {', '.join(sorted(RESULT_CODES))}")
        return answer(asked.as_json())

    async def licenses(self, _: Request) -> Response:
        """What was asked for, and what was uploaded for it."""
        return answer({"licenses": [wish.as_json() for wish in self._book.wishes.values()]})

    async def content(self, request: Request) -> Response:
        """The first licence of an application, as it was uploaded."""
        wish = self._book.wishes.get(request.path_params["event_id"])
        if wish is None or not wish.delivered:
            raise NotFound("no licence came for this eventId; GET /_sim/licenses lists them")
        return Response(wish.uploads[0].content, media_type="application/octet-stream")

    async def make_code(self, request: Request) -> Response:
        """An authorization code that a buyer has; `license` and `expire_time` may be given."""
        body = await read_object(request)
        only(body, "license", "expire_time")
        license_id = text(body, "license", f"PL{uuid4().hex[:16].upper()}")
        expires_ms = parse_compact_time(body.get("expire_time"))
        if expires_ms is None and "expire_time" in body:
            raise BadRequest("expire_time must be yyyyMMddHHmmss, UTC")
        a_year_ms = self._simulator.clock.now_ms() + 365 * DAY_MS
        code = Code(license_id[:64], a_year_ms if expires_ms is None else expires_ms)
        self._book.add_code(code)
        return answer(code.as_json(), 201)

    async def codes(self, _: Request) -> Response:
        return answer({"codes": [code.as_json() for code in self._book.codes.values()]})

    async def tell(self, request: Request) -> Response:
        action = request.path_params["action"]
        if action not in CODE_ACTIONS:
            raise NotFound(f"no action {action!r}; known are {', '.join(CODE_ACTIONS)}")
        code = self._book.code(request.path_params["license_id"])
        fields = await read_object(request)
        only(fields, *_CODE_FIELDS)
        return answer((await self._simulator.licensing.tell(code, action, fields)).as_json())
