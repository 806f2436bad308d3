"""The repair page: what waits for a person, why, and what can be done about it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse

from gateway.console.frame import OPERATE, render
from gateway.console.shelves import MANY, SHELVES, WAITING, Kind, Shelf
from sessions_app import clock

EACH = 5
"""Rows shown of each kind while there are several kinds."""

PAGE = 50
"""Rows on a page of one kind."""

BATCH = 500
"""Rows changed in one transaction, so that the gateway need not wait long."""

SECONDS = 5.0
"""For how long one request changes rows; what is left then is said, and waits for the next."""

FILTERS = ("what", "channel", "code", "before")

DONE = {"retry": "queued again", "discard": "discarded"}


def page(request: HttpRequest) -> HttpResponse:
    """Everything that ended badly, by kind; with `confirm` the question before an action."""
    if not request.user.has_perm("gateway.view_delivery"):
        raise PermissionDenied
    if request.method == "POST":
        return _act(request)
    if "confirm" in request.GET:
        return _confirm(request)
    return _list(request)


def count(request: HttpRequest) -> int:
    """How much waits for a person, counted up to `MANY`; 0 for who may not see it."""
    if not request.user.has_perm("gateway.view_delivery"):
        return 0
    shelves = [shelf for shelf in visible(request) if shelf.name in WAITING]
    return min(MANY, sum(shelf.rows().order_by()[:MANY].count() for shelf in shelves))


def visible(request: HttpRequest) -> list[Shelf]:
    """The shelves this account may see."""
    return [shelf for shelf in SHELVES.values() if request.user.has_perm(shelf.permission)]


def _list(request: HttpRequest) -> HttpResponse:
    every = [kind for shelf in visible(request) for kind in shelf.kinds()]
    chosen = {name: request.GET.get(name, "") for name in FILTERS}
    kinds = [kind for kind in every if _fits(kind, chosen)]
    following = ""
    if len(kinds) == 1:
        only = kinds[0]
        before = _key(only.shelf, chosen["before"]) if chosen["before"] else ""
        only.items, following = only.shelf.page(only.channel, only.code, before, PAGE)
    else:
        for shelf in {kind.shelf.name: kind.shelf for kind in kinds}.values():
            shelf.fill([kind for kind in kinds if kind.shelf is shelf], EACH)
    context = {
        "kinds": kinds,
        "alone": len(kinds) == 1,
        "filtered": any(chosen.values()),
        "chosen": chosen,
        "choices": _choices(every),
        "waiting": sum(kind.count for kind in every if kind.shelf.name in WAITING),
        "back": urlencode({name: value for name, value in chosen.items() if value}),
        "more": urlencode({**_filters(kinds[0]), "before": following}) if following else "",
    }
    return render(request, "console/repair.html", "Repair", context)


def _confirm(request: HttpRequest) -> HttpResponse:
    """Ask before something happens to many rows, or for good."""
    _require_operator(request)
    verb, shelf = _wanted(request, request.GET, "confirm")
    key = request.GET.get("key", "")
    channel, code = request.GET.get("channel", ""), request.GET.get("code", "")
    now = clock.now()
    rows = shelf.rows().filter(pk=_key(shelf, key)) if key else shelf.of_kind(channel, code)
    number = rows.count()
    context = {
        "verb": verb,
        "shelf": shelf,
        "number": number,
        "reason": shelf.why(code) if code else None,
        "fields": {
            "do": verb, "what": shelf.name, "channel": channel, "code": code, "key": key,
            "until": now.isoformat(), "all": "" if key else "1",
            "back": request.GET.get("back", ""),
        },
        "items": [shelf.show(row) for row in shelf.whole().filter(pk__in=[key])] if key else [],
        "channel": channel,
        "return_to": _address(request.GET.get("back", "")),
    }  # fmt: skip
    title = f"{verb.capitalize()} {number} {shelf.one if number == 1 else shelf.many}?"
    return render(request, "console/repair_confirm.html", title, context)


def _act(request: HttpRequest) -> HttpResponse:
    """Retry or discard what the form names, and say how many that were."""
    _require_operator(request)
    form = request.POST
    verb, shelf = _wanted(request, form, "do")
    keys = _keys(shelf, form)
    act = getattr(shelf, verb)
    actor = request.user.get_username()
    done, tried, until = 0, 0, time.monotonic() + SECONDS
    while tried < len(keys) and (not tried or time.monotonic() < until):
        batch = keys[tried : tried + BATCH]
        done, tried = done + act(actor, batch), tried + len(batch)
    said = f"{done} {shelf.one if done == 1 else shelf.many} {DONE[verb]}."
    if done < tried:
        said += f" {tried - done} had moved on meanwhile and stayed as they are."
    if tried < len(keys):
        said += f" {len(keys) - tried} are left: do the same once more for the next of them."
    messages.add_message(request, messages.SUCCESS if done else messages.WARNING, said)
    return HttpResponseRedirect(_address(form.get("back", "")))


def _require_operator(request: HttpRequest) -> None:
    if not request.user.has_perm(OPERATE):
        raise PermissionDenied


def _wanted(request: HttpRequest, form: QueryDict, name: str) -> tuple[str, Shelf]:
    """The action and the shelf a form asks for. Raises `BadRequest`, `PermissionDenied`."""
    verb, shelf = form.get(name, ""), SHELVES.get(form.get("what", ""))
    if verb not in DONE or shelf is None or getattr(shelf, verb) is None:
        raise BadRequest("no such action")
    if not request.user.has_perm(shelf.permission):
        raise PermissionDenied
    return verb, shelf


def _keys(shelf: Shelf, form: QueryDict) -> list[Any]:
    """The rows a form names: one by its key, or all of a kind that stood there when it asked."""
    if form.get("key"):
        return [_key(shelf, form.get("key", ""))]
    try:
        until = datetime.fromisoformat(form.get("until", ""))
    except ValueError:
        raise BadRequest("no such moment") from None
    if not form.get("all") or until.tzinfo is None:
        raise BadRequest("neither a row nor a kind")
    rows = shelf.of_kind(form.get("channel", ""), form.get("code", ""))
    return list(rows.filter(**{f"{shelf.since}__lte": until}).values_list("pk", flat=True))


def _key(shelf: Shelf, text: str) -> Any:
    """A primary key as it stands in a form. Raises `BadRequest`."""
    if shelf.model._meta.pk.get_internal_type() == "CharField":
        return text
    if not text.isdecimal() or len(text) > 18:
        raise BadRequest("no such row")
    return int(text)


def _address(back: str) -> str:
    """The list with the filters of a query string; anything else in it is dropped."""
    given = QueryDict(back)
    kept = {name: given[name] for name in FILTERS if given.get(name)}
    return reverse("admin:repair") + (f"?{urlencode(kept)}" if kept else "")


def filters_of(kind: Kind) -> str:
    """The query string that leaves one kind."""
    return urlencode(_filters(kind))


def _filters(kind: Kind) -> dict[str, str]:
    found = {"what": kind.shelf.name, "channel": kind.channel, "code": kind.code}
    return {name: value for name, value in found.items() if value}


def _fits(kind: Kind, chosen: Mapping[str, str]) -> bool:
    mine = {"what": kind.shelf.name, "channel": kind.channel, "code": kind.code}
    return all(not chosen[name] or chosen[name] == mine[name] for name in mine)


def _choices(kinds: list[Kind]) -> dict[str, list[tuple[str, str]]]:
    """What can be chosen in each filter, as (value, label)."""
    return {
        "what": sorted({(kind.shelf.name, kind.shelf.many) for kind in kinds}),
        "channel": sorted({(kind.channel, kind.channel) for kind in kinds}),
        "code": sorted({(kind.code, kind.reason.title) for kind in kinds if kind.code}),
    }


def kinds_waiting(request: HttpRequest) -> list[Kind]:
    """What the start page says about this page: each kind that waits for a person."""
    return [kind for shelf in visible(request) if shelf.name in WAITING for kind in shelf.kinds()]
