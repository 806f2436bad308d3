"""Errors as problem details (RFC 9457): {"type", "title", "status", "detail"}, and "errors"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from django.http import HttpResponse

CONTENT_TYPE = "application/problem+json"


class Problem(Exception):
    """What is answered instead. `errors` says it field by field, where there are any."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors = status, detail, errors
        self.headers = dict(headers or {})


def response(problem: Problem) -> HttpResponse:
    """The answer."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
    }
    if problem.errors:
        body["errors"] = list(problem.errors)
    return HttpResponse(
        orjson.dumps(body, default=str),
        status=problem.status,
        content_type=CONTENT_TYPE,
        headers=problem.headers,
    )


def unauthorized(detail: str) -> Problem:
    """Nobody we know: 401."""
    return Problem(401, detail, headers={"WWW-Authenticate": "Bearer"})


def missing(what: str) -> Problem:
    """Not there, or somebody else's: the caller learns no difference."""
    return Problem(404, f"There is no such {what}.")
