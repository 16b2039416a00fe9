"""The operator's API for single usage records: what was decided about one, and deciding."""

import json
from collections.abc import Callable
from typing import Any, Final

from anyio import to_thread
from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from billing_sync.acting import Decision, perform
from billing_sync.admin_api import guarded
from billing_sync.api_answers import error
from billing_sync.bounded_bodies import bounded_body
from billing_sync.errors import BadQuestion, UnknownRecord, WrongState
from billing_sync.models import UsageRecord
from billing_sync.push_log import PushLog
from billing_sync.states import Act
from billing_sync.store import acts
from billing_sync.store.engine import reading
from metering.clock import Clock

_MOST_BYTES: Final = 4096
_BODY_BUDGET_S: Final = 5.0


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
        return [
            Route("/api/v1/records/{sn}", guarded(self._show, admin_token)),
            *(
                Route(
                    f"/api/v1/records/{{sn}}/{act}",
                    guarded(self._decide(act), admin_token),
                    methods=["POST"],
                )
                for act in Act
            ),
        ]

    async def _show(self, request: Request) -> Response:
        return await to_thread.run_sync(self._shown, request.path_params["sn"])

    def _shown(self, serial: str) -> Response:
        with reading(self._engine) as session:
            record = session.get(UsageRecord, serial) if serial.isprintable() else None
            if record is None:
                return error(404, "unknown_record", "no usage record has this metering_sn")
            decided = [act.model_dump() for act in acts.of_record(session, serial)]
            return JSONResponse({"record": record.model_dump(), "acts": decided})

    def _decide(self, act: Act) -> Callable[[Request], Any]:
        async def decide(request: Request) -> Response:
            said = await _said(request)
            decision = Decision(
                act, request.path_params["sn"], said.get("author", ""), said.get("reason", "")
            )
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
        except UnknownRecord as problem:
            return error(404, "unknown_record", str(problem))
        except WrongState as problem:
            return error(409, "wrong_state", str(problem))
        except OSError as problem:
            text = f"the push log cannot be written ({problem.strerror}); nothing was done"
            return error(503, "push_log_unavailable", text)
        return JSONResponse({"record": record.model_dump()})


async def _said(request: Request) -> dict[str, str]:
    """The body, an object of texts. Raises BadQuestion."""
    body = await bounded_body(request, _MOST_BYTES, _BODY_BUDGET_S)
    if len(body) > _MOST_BYTES:
        raise BadQuestion(f"the body is longer than {_MOST_BYTES} bytes")
    try:
        said = json.loads(body.decode())
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or not all(isinstance(value, str) for value in said.values()):
        raise BadQuestion('send {"author": "…", "reason": "…"}')
    if unknown := sorted(said.keys() - {"author", "reason"}):
        raise BadQuestion(f"{unknown[0][:40]!r} is unknown; known are author, reason")
    return said
