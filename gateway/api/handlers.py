"""What becomes of an exception in the API: problem details, whoever raised it."""

from __future__ import annotations

from typing import Any

from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI, Schema
from ninja.errors import HttpError, ValidationError
from pydantic import Field

from gateway.api.problems import Problem, missing, response

RETRY_SECONDS = "1"


class ProblemOut(Schema):
    """Problem details, RFC 9457."""

    type: str = Field(description="Always about:blank: the status says what kind it is.")
    title: str = Field(description="The status in words.")
    status: int
    detail: str = Field(description="What is wrong, for people.")
    errors: list[dict[str, Any]] | None = Field(None, description="Which fields, and why.")


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
