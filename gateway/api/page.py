"""The page of the API: its OpenAPI document for people, without a script."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from gateway.api.site import api
from gateway.api.tokens import SCOPES


def docs(request: HttpRequest) -> HttpResponse:
    """GET /api/v1/docs: every operation, by subject."""
    document = api.get_openapi_schema()
    subjects: dict[str, list[dict[str, Any]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            shown = _operation(method, path, operation)
            subjects.setdefault(operation["tags"][0], []).append(shown)
    shapes = {name: _pretty(shape) for name, shape in document["components"]["schemas"].items()}
    context = {
        "title": document["info"]["title"],
        "subjects": subjects,
        "shapes": shapes,
        "scopes": SCOPES,
    }
    return render(request, "api/docs.html", context)


def _operation(method: str, path: str, operation: dict[str, Any]) -> dict[str, Any]:
    body = operation.get("requestBody", {}).get("content", {})
    return {
        "method": method.upper(),
        "path": path,
        "id": operation["operationId"],
        "description": operation.get("description", ""),
        "security": operation.get("x-needs", ""),
        "parameters": operation["parameters"],
        "body": [_shape(content["schema"]) for content in body.values()],
        "responses": [
            (status, answer["description"], _answer(answer))
            for status, answer in operation["responses"].items()
        ],
    }


def _answer(answer: dict[str, Any]) -> dict[str, str]:
    for content in answer.get("content", {}).values():
        return _shape(content["schema"])
    return {}


def _shape(schema: dict[str, Any]) -> dict[str, str]:
    """What it is called, and where on the page it stands, if it has a place of its own."""
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    return {"name": name or str(schema.get("type", "")), "at": f"#shape-{name}" if name else ""}


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
