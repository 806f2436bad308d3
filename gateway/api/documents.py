"""JSON documents that are changed by merging (RFC 7396): notes, preferences, context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from django.db import transaction

from gateway.api.problems import Problem
from gateway.models import Audit
from sessions_app import clock
from sessions_app.models import Contact, Session

MAX_BYTES = 64 * 1024
MAX_DEPTH = 20


def merge(old: Any, patch: Mapping[str, Any]) -> dict[str, Any]:
    """`old` with `patch` in it: objects are merged, null deletes, all else replaces."""
    made = dict(old) if isinstance(old, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            made.pop(name, None)
        elif isinstance(value, Mapping):
            made[name] = merge(made.get(name), value)
        else:
            made[name] = value
    return made


def change_person(actor: str, contact: int, field: str, patch: Mapping[str, Any]) -> dict[str, Any]:
    """Merge into a person's notes or preferences. Raises `Problem`, `Contact.DoesNotExist`."""
    with transaction.atomic():
        row = Contact.objects.select_for_update().get(pk=contact)
        made = _merged(getattr(row, field), patch)
        Contact.objects.filter(pk=contact).update(**{field: made})
        _note(actor, f"change_{field}", f"contact {contact}")
    return made


def change_context(actor: str, session: str, patch: Mapping[str, Any]) -> dict[str, Any]:
    """Merge into a session's context. Raises `Problem`, `Session.DoesNotExist`."""
    with transaction.atomic():
        row = Session.objects.select_for_update().get(pk=session)
        made = _merged(row.context, patch)
        Session.objects.filter(pk=session).update(context=made)
        _note(actor, "change_context", session)
    return made


def _merged(old: Any, patch: Mapping[str, Any]) -> dict[str, Any]:
    if _depth(patch) > MAX_DEPTH:
        raise Problem(422, f"It is nested more than {MAX_DEPTH} deep.")
    made = merge(old, patch)
    if len(orjson.dumps(made)) > MAX_BYTES:
        raise Problem(422, f"It would have more than {MAX_BYTES} bytes.")
    return made


def _depth(value: Any) -> int:
    """How deep it is nested, without recursion: what is counted may be very deep."""
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            inner
            for one in level
            if isinstance(one, Mapping | list)
            for inner in (one.values() if isinstance(one, Mapping) else one)
        ]
    return depth


def _note(actor: str, action: str, row: str) -> None:
    """Who changed it; never what it says."""
    Audit.objects.create(at=clock.now(), actor=actor[:150], action=action, row=row)
