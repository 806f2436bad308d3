"""Errors as problem details (RFC 9457): {"type", "title", "status", "detail"}, and "errors"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI, Schema
from ninja.errors import HttpError, ValidationError
from pydantic import Field

CONTENT_TYPE = "application/problem+json"
RETRY_SECONDS = "1"


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


class ProblemOut(Schema):
    """Problem details, RFC 9457."""

    type: str = Field(description="Always about:blank: the status says what kind it is.")
    title: str = Field(description="The status in words.")
    status: int
    detail: str = Field(description="What is wrong, for people.")
    errors: list[dict[str, Any]] | None = Field(None, description="Which fields, and why.")


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


def install(api: NinjaAPI) -> None:
    """Answer every error of the API in this form."""
    api.add_exception_handler(Problem, lambda request, error: response(_one(error)))
    api.add_exception_handler(ValidationError, _invalid)
    api.add_exception_handler(HttpError, _refused)
    api.add_exception_handler(Http404, lambda request, error: response(missing("thing")))
    api.add_exception_handler(OperationalError, _busy)


def _one(error: Problem | type[Problem]) -> Problem:
    return error if isinstance(error, Problem) else error(500, "")


def _invalid(request: HttpRequest, error: Any) -> HttpResponse:
    fields = [
        {"field": ".".join(str(part) for part in item["loc"]), "message": item["msg"]}
        for item in error.errors
    ]
    return response(Problem(422, "The request does not fit.", fields))


def _refused(request: HttpRequest, error: Any) -> HttpResponse:
    return response(Problem(error.status_code, str(error)))


def _busy(request: HttpRequest, error: Any) -> HttpResponse:
    """Somebody else writes for longer than we wait, or the disk is full: nothing was kept."""
    detail = "The database cannot take it now. Please try again."
    return response(Problem(503, detail, headers={"Retry-After": RETRY_SECONDS}))
