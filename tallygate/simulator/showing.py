"""Under `/_sim`: looking at the marketplace. What is due by the clock is done before it is shown."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .errors import BadRequest
from .in_process import Simulator
from .wire import answer


class Showing:
    """Records, totals, bills, instances, findings."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._marketplace = simulator.marketplace

    def routes(self) -> list[Route]:
        return [
            Route("/health", self.health),
            Route("/sdrs", self.sdrs),
            Route("/sdrs.csv", self.sdrs_csv),
            Route("/totals", self.totals),
            Route("/collected", self.collected),
            Route("/bills", self.bills),
            Route("/runs", self.runs),
            Route("/packages", self.packages),
            Route("/instances", self.instances),
            Route("/findings", self.findings),
            Route("/faults", self.faults),
        ]

    async def health(self, _: Request) -> Response:
        return answer({"status": "ok", "now_ms": self._simulator.clock.now_ms()})

    async def sdrs(self, request: Request) -> Response:
        """The SDR management list; `?instance_id=` and `?state=` choose."""
        self._simulator.advance()
        instance_id = request.query_params.get("instance_id")
        state = request.query_params.get("state")
        found = [
            stored.as_json()
            for stored in self._marketplace.records
            if instance_id in (None, stored.instance_id) and state in (None, stored.state)
        ]
        return answer({"sdrs": found})

    async def sdrs_csv(self, request: Request) -> Response:
        """The same as the console exports it; `?lang=zh` for Chinese headers."""
        self._simulator.advance()
        language = request.query_params.get("lang", "en")
        if language not in ("en", "zh"):
            raise BadRequest("lang must be en or zh")
        text = self._simulator.sdr_csv(chinese=language == "zh")
        return Response(text, media_type="text/csv; charset=utf-8")

    async def totals(self, _: Request) -> Response:
        self._simulator.advance()
        return answer(self._marketplace.totals())

    async def collected(self, _: Request) -> Response:
        """Collected billing units by instance, as decimals."""
        self._simulator.advance()
        sums = self._marketplace.collected()
        return answer({instance_id: f"{total:f}" for instance_id, total in sums.items()})

    async def bills(self, request: Request) -> Response:
        """By instance and cycle; `?instance_id=` chooses."""
        self._simulator.advance()
        instance_id = request.query_params.get("instance_id")
        bills = self._marketplace.bills()
        found = [b.as_json() for b in bills if instance_id in (None, b.instance_id)]
        return answer({"bills": found})

    async def runs(self, _: Request) -> Response:
        """The latest collections that found something."""
        self._simulator.advance()
        return answer({"runs": list(self._marketplace.usage.collection.runs)})

    async def packages(self, _: Request) -> Response:
        """Used quota by package and pay-per-use product."""
        self._simulator.advance()
        return answer(self._marketplace.usage.packages.as_json())

    async def instances(self, _: Request) -> Response:
        found = [instance.as_json() for instance in self._marketplace.instances.values()]
        return answer({"instances": found})

    async def findings(self, _: Request) -> Response:
        self._simulator.advance()
        log = self._marketplace.findings
        return answer({"findings": log.as_json(), "total": log.total})

    async def faults(self, _: Request) -> Response:
        return answer(self._simulator.faults.as_json())
