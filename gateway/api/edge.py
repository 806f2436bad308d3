"""What stands around the API: every error under its prefix is a problem, whoever made it."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from gateway.api import problems

PREFIX = "/api/"
MAX_BODY_BYTES = 1024 * 1024
"""Of one request; files go in as addresses, or small ones as data."""

_WORDS = {
    400: "The request cannot be read.",
    403: "Refused.",
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
    413: "The request is too large.",
}


class ApiEdge:
    """Middleware: the size of what comes in, the form of what goes wrong."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._next = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """The answer, which no cache may keep."""
        if not request.path.startswith(PREFIX):
            return self._next(request)
        if _length(request) > MAX_BODY_BYTES:
            detail = f"A request has at most {MAX_BODY_BYTES} bytes."
            return problems.response(problems.Problem(413, detail))
        answer = self._next(request)
        answer = _as_problem(answer) if answer.status_code >= 400 else answer
        answer.headers.setdefault("Cache-Control", "no-store")
        return answer


def _length(request: HttpRequest) -> int:
    said = str(request.META.get("CONTENT_LENGTH") or "0")
    return int(said) if said.isdecimal() else 0


def _as_problem(answer: HttpResponseBase) -> HttpResponseBase:
    if answer.headers.get("Content-Type", "").startswith(problems.CONTENT_TYPE):
        return answer
    status = answer.status_code
    detail = _WORDS.get(status, "Something went wrong on this side.")
    kept = {name: value for name, value in answer.headers.items() if not _is_content(name)}
    made: HttpResponse = problems.response(problems.Problem(status, detail, headers=kept))
    return made


def _is_content(header: str) -> bool:
    return header.lower() in ("content-type", "content-length")
