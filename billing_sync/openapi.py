"""The operator's API as an OpenAPI document, at `/api/v1/openapi.json`: made of the types that its
handlers take and answer."""

import re
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

import msgspec
from pydantic import BaseModel, TypeAdapter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from billing_sync.admin_api import guarded_routes
from billing_sync.api_operations import Operation, operations
from billing_sync.api_shapes import Refusal

PATH: Final = "/api/v1/openapi.json"
_REF: Final = "#/components/schemas/{}"
_ALWAYS: Final = (400, 401, 503)
_WORDS: Final = {
    200: "Done",
    201: "Made",
    400: "A parameter or the body cannot be read",
    401: "The admin token is missing or wrong",
    404: "There is no such thing",
    409: "It cannot be done; the message says why",
    503: "The ledger or the push log does not answer; try again",
}


def routes(admin_token: str) -> list[Route]:
    """The route that shows the document, which is made when somebody asks for it first."""
    made = cache(document)

    async def show(_: Request) -> Response:
        return JSONResponse(made())

    return guarded_routes([("GET", PATH, show)], admin_token)


def document() -> dict[str, Any]:
    """The whole of it, OpenAPI 3.1."""
    calls = list(operations())
    paths: dict[str, dict[str, Any]] = {}
    for call in calls:
        paths.setdefault(call.path, {})[call.method.lower()] = _described(call)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tallygate",
            "version": "1",
            "description": "The operator's API of the control plane. Quantities are whole meter "
            "units or decimal text, never floats; times are UTC milliseconds or ISO 8601.",
        },
        "security": [{"admin_token": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(calls),
            "securitySchemes": {"admin_token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _described(call: Operation) -> dict[str, Any]:
    refusals = sorted({*_ALWAYS, *call.refusals})
    described: dict[str, Any] = {
        "operationId": _id_of(call),
        "summary": call.summary,
        "parameters": [*_in_path(call), *_in_query(call)],
        "responses": {
            **{str(status): _reply(status, shape) for status, shape in call.answers.items()},
            **{str(status): _reply(status, Refusal) for status in refusals},
        },
    }
    if call.body is not None:
        described["requestBody"] = {"required": call.must, "content": _content(call.body)}
    return described


def _id_of(call: Operation) -> str:
    words = re.sub(r"[^a-z]+", "_", call.path.removeprefix("/api/v1")).strip("_")
    return f"{call.method.lower()}_{words}"


def _in_path(call: Operation) -> list[dict[str, Any]]:
    text = {"type": "string", "minLength": 1}
    names = re.findall(r"{(\w+)}", call.path)
    return [{"name": name, "in": "path", "required": True, "schema": text} for name in names]


def _in_query(call: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "schema": schema}
        | ({"style": "form", "explode": False} if schema["type"] == "array" else {})
        for name, schema in call.parameters.items()
    ]


def _reply(status: int, shape: type[BaseModel]) -> dict[str, Any]:
    return {"description": _WORDS[status], "content": _content(shape)}


def _content(shape: type) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REF.format(shape.__name__)}}}


def _schemas(calls: Iterable[Operation]) -> dict[str, Any]:
    bodies = {call.body for call in calls if call.body is not None}
    answers = {shape for call in calls for shape in call.answers.values()} | {Refusal}
    _, taken = msgspec.json.schema_components(
        sorted(bodies, key=lambda body: body.__name__), ref_template=_REF.format("{name}")
    )
    _, answered = TypeAdapter.json_schemas(
        [(shape, "serialization", TypeAdapter(shape)) for shape in answers],
        ref_template=_REF.format("{model}"),
    )
    return dict(sorted({**taken, **answered["$defs"]}.items()))
