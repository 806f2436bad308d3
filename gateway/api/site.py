"""The API, put together, and its OpenAPI document."""

from __future__ import annotations

from typing import Any

import orjson
from django.http import HttpRequest
from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation
from ninja.parser import Parser

from gateway.api import (
    contacts,
    deliveries,
    handlers,
    me,
    messages,
    problems,
    schedules,
    sessions,
    turns,
)

_WORDS = {
    "400": "The body is not JSON.",
    "401": "No token, or one that does not count.",
    "403": "The token may not do this.",
    "404": "Not there, or not the caller's.",
    "409": "It has moved on meanwhile, or the idempotency key belongs to another request.",
    "422": "The request does not fit.",
    "429": "Too many calls; Retry-After says when to go on.",
    "503": "The database cannot take it now; Retry-After says when to try again.",
}


class StrictParser(Parser):
    """JSON as it is defined: no NaN, no halves of surrogate pairs."""

    def parse_body(self, request: HttpRequest) -> Any:
        """The body. Raises `ValueError`."""
        return orjson.loads(request.body)


class Api(NinjaAPI):
    """The API; its document says for each operation which problems it may answer."""

    _document: OpenAPISchema | None = None

    def get_openapi_operation_id(self, operation: Operation) -> str:
        """The view's own name."""
        return operation.view_func.__name__

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        """The OpenAPI document, made once; `x-needs` says which token an operation asks for."""
        if self._document is None:
            self._document = self._made(super().get_openapi_schema(**options))
        return self._document

    def _made(self, document: OpenAPISchema) -> OpenAPISchema:
        needs = self._needs()
        document["components"]["schemas"]["Problem"] = handlers.ProblemOut.model_json_schema()
        for path in document["paths"].values():
            for method, operation in path.items():
                operation["x-needs"] = needs[operation["operationId"]]
                for status in _statuses(method, operation):
                    operation["responses"][status] = _problem(_WORDS[status])
                operation["responses"]["default"] = _problem("Anything else that goes wrong.")
        return document

    def _needs(self) -> dict[str, str]:
        """Operation id -> which token it asks for."""
        return {
            self.get_openapi_operation_id(operation): operation.auth_callbacks[0].needs  # type: ignore[attr-defined]
            for bound in self._get_bound_routers()
            for view in bound.path_operations.values()
            for operation in view.operations
        }


def _statuses(method: str, operation: dict[str, Any]) -> list[str]:
    found = ["401", "403", "429", "503"]
    if any(item["in"] == "path" for item in operation["parameters"]) or "requestBody" in operation:
        found.append("404")
    if operation["parameters"] or "requestBody" in operation:
        found.append("422")
    if "requestBody" in operation:
        found.append("400")
    if method == "post":
        found.append("409")
    return sorted(found)


def _problem(words: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": words, "content": {problems.CONTENT_TYPE: {"schema": schema}}}


api = Api(
    title="OpenClaw gateway",
    version="1",
    description="What programs and agents may do. See docs/api.md.",
    urls_namespace="api",
    docs_url=None,
    parser=StrictParser(),
)
handlers.install(api)
api.add_router("/me", me.router)
api.add_router("/messages", messages.router)
api.add_router("/schedules", schedules.router)
api.add_router("/sessions", sessions.router)
api.add_router("/turns", turns.router)
api.add_router("/deliveries", deliveries.router)
api.add_router("/contacts", contacts.router)
