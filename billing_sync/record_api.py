"""The operator's API for single usage records: what was decided about one, and deciding."""

from collections.abc import Callable
from typing import Final

import msgspec
from anyio import to_thread
from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from billing_sync.acting import Decision, perform
from billing_sync.admin_api import Endpoint, Told, guarded_routes
from billing_sync.api_answers import error
from billing_sync.api_bodies import body_of
from billing_sync.errors import UnknownRecord, WrongState
from billing_sync.models import UsageRecord
from billing_sync.push_log import PushLog
from billing_sync.states import Act
from billing_sync.store import acts
from billing_sync.store.engine import reading
from metering.clock import Clock

_MAX_BODY: Final = 4096
_TOLD: Final[Told] = {
    UnknownRecord: (404, "unknown_record"),
    WrongState: (409, "wrong_state"),
}


class DecisionBody(msgspec.Struct, forbid_unknown_fields=True):
    """What `POST /api/v1/records/{sn}/{act}` takes."""

    author: str
    reason: str


class RecordApi:
    """Routes that show and decide. `new_id` gives fresh random ids."""

    def __init__(
        self, engine: Engine, log: PushLog, clock: Clock, new_id: Callable[[], str]
    ) -> None:
        self._engine = engine
        self._log = log
        self._clock = clock
        self._new_id = new_id

    def routes(self, admin_token: str) -> list[Route]:
        """`GET /api/v1/records/{sn}`, and `POST …/{act}` with {"author": …, "reason": …}."""
        one = "/api/v1/records/{sn}"
        deciding = [("POST", f"{one}/{act}", self._decide(act)) for act in Act]
        return guarded_routes([("GET", one, self._show), *deciding], admin_token, _TOLD)

    async def _show(self, request: Request) -> Response:
        return await to_thread.run_sync(self._shown, request.path_params["sn"])

    def _shown(self, serial: str) -> Response:
        with reading(self._engine) as session:
            record = session.get(UsageRecord, serial) if serial.isprintable() else None
            if record is None:
                return error(404, "unknown_record", "no usage record has this metering_sn")
            decided = [act.model_dump() for act in acts.of_record(session, serial)]
            return JSONResponse({"record": record.model_dump(), "acts": decided})

    def _decide(self, act: Act) -> Endpoint:
        async def decide(request: Request) -> Response:
            said = await body_of(request, DecisionBody, _MAX_BODY)
            decision = Decision(act, request.path_params["sn"], said.author, said.reason)
            return await to_thread.run_sync(self._decided, decision)

        return decide

    def _decided(self, decision: Decision) -> Response:
        try:
            record = perform(
                self._engine,
                self._log,
                decision,
                act_id=self._new_id(),
                now_ms=self._clock.now_ms(),
            )
        except OSError as problem:
            text = f"the push log cannot be written ({problem.strerror}); nothing was done"
            return error(503, "push_log_unavailable", text)
        return JSONResponse({"record": record.model_dump()})
