"""Doing something once: the same key gets the same answer, without doing it again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import orjson
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from ninja import Schema

from gateway.api.callers import Agent, Caller, caller_of
from gateway.api.problems import Problem
from gateway.models import IdempotencyKey
from sessions_app import clock

HEADER = "Idempotency-Key"
REPLAY = "Idempotent-Replay"
MAX_KEY = 255

Work = Callable[[], Schema]


def key_of(request: HttpRequest, in_body: str | None) -> str:
    """The key of a request, from the header or the body; empty for none. Raises `Problem` 422."""
    in_header = request.headers.get(HEADER, "")
    if in_header and in_body and in_header != in_body:
        raise Problem(422, f"{HEADER} and idempotency_key are not the same.")
    key = in_header or in_body or ""
    if len(key) > MAX_KEY:
        raise Problem(422, f"An idempotency key has at most {MAX_KEY} characters.")
    return key


def answered(request: HttpRequest, key: str, asked: Schema) -> HttpResponse | None:
    """The answer that this call got before. Raises `Problem` 409 where it was another call."""
    if not key:
        return None
    row = IdempotencyKey.objects.filter(owner=_owner(caller_of(request)), key=key).first()
    if row is None:
        return None
    if row.request != _digest(request, asked):
        raise Problem(409, "This idempotency key belongs to another request.")
    return _response(row.body, row.status, {REPLAY: "true"})


def once(request: HttpRequest, key: str, asked: Schema, work: Work) -> HttpResponse:
    """Do `work` and keep its answer (201), in one transaction; or the answer it had before."""
    try:
        with transaction.atomic():
            if before := answered(request, key, asked):
                return before
            body = work().model_dump(mode="json", by_alias=True)
            if key:
                _keep(request, key, asked, body)
            return _response(body, 201)
    except IntegrityError:
        if key and (before := answered(request, key, asked)):
            return before  # somebody was faster, and ours was undone
        raise


def _keep(request: HttpRequest, key: str, asked: Schema, body: dict[str, Any]) -> None:
    IdempotencyKey.objects.create(
        owner=_owner(caller_of(request)),
        key=key,
        request=_digest(request, asked),
        status=201,
        body=body,
        created_at=clock.now(),
    )


def _owner(caller: Caller) -> str:
    return caller.name if isinstance(caller, Agent) else f"token:{caller.token}"


def _digest(request: HttpRequest, asked: Schema) -> str:
    said = asked.model_dump(mode="json", exclude={"idempotency_key"})
    what = orjson.dumps([request.method, request.path, said], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(what).hexdigest()


def _response(body: Any, status: int, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(
        orjson.dumps(body), status=status, content_type="application/json", headers=headers
    )
