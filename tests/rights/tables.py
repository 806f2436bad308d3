"""Who may do what: from whom upwards. An address that is not in here fails the tests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tests.rights.people import Who

V, O, A, NOBODY = Who.VIEWER, Who.OPERATOR, Who.ADMIN, Who.NOBODY  # noqa: E741  (columns)


@dataclass(frozen=True)
class Rights:
    """Of a table: from whom upwards rows may be looked at, added, changed, deleted."""

    look: Who
    add: Who = NOBODY
    change: Who = NOBODY
    delete: Who = NOBODY


TABLES = {
    "auth.group": Rights(A, A, A, A),
    "auth.user": Rights(A, A, A, A),
    "gateway.agent": Rights(V, A, A, A),
    "gateway.agenthealth": Rights(V),
    "gateway.apitoken": Rights(A, A),
    "gateway.audit": Rights(V),
    "gateway.cursor": Rights(V),
    "gateway.delivery": Rights(V),
    "gateway.heartbeat": Rights(V),
    "gateway.idempotencykey": Rights(A),
    "gateway.occurrence": Rights(V),
    "gateway.pairingcode": Rights(O),
    "gateway.replay": Rights(V),
    "gateway.routingrule": Rights(V, A, A, A),
    "gateway.schedule": Rights(V, O, O, O),
    "gateway.setaside": Rights(V, delete=O),
    "gateway.turn": Rights(V),
    "sessions_app.attachment": Rights(V),
    "sessions_app.contact": Rights(V, A, O, A),
    "sessions_app.contactalias": Rights(V),
    "sessions_app.message": Rights(V),
    "sessions_app.overheard": Rights(V),
    "sessions_app.session": Rights(V),
}

ACTIONS = {
    "gateway.schedule": {"enable_schedules", "disable_schedules"},
    "gateway.pairingcode": {"approve_pairings", "refuse_pairings"},
    "gateway.delivery": {"retry_deliveries", "discard_deliveries"},
    "gateway.turn": {"cancel_turns", "requeue_turns", "discard_turns", "compare_turn"},
    "sessions_app.session": {"terminate_sessions", "restore_sessions"},
}
"""All of them from the operator upwards."""

ADMIN_ACTIONS = {"gateway.apitoken": {"revoke"}}
"""From the admin upwards (tests/api/test_tokens.py)."""


@dataclass(frozen=True)
class Ask:
    """One request, and from whom upwards it is let through. `path` fills the pattern."""

    least: Who
    method: str = "get"
    data: dict[str, Any] | None = None
    path: dict[str, str] | None = None
    hidden: bool = False
    """Refused with 404: as if it were not there."""


PAGES: dict[str, list[Ask]] = {
    "admin/": [Ask(Who.STAFF)],
    "admin/login/": [Ask(Who.STRANGER), Ask(Who.STRANGER, "post", {})],
    "admin/logout/": [Ask(Who.STAFF, "post")],
    "admin/password_change/": [Ask(Who.STAFF), Ask(Who.STAFF, "post", {})],
    "admin/password_change/done/": [Ask(Who.STAFF)],
    "admin/autocomplete/": [
        Ask(NOBODY),  # without a field
        Ask(
            V,  # names of agents, for who may see agents
            data={"app_label": "gateway", "model_name": "routingrule", "field_name": "agent"},
        ),
    ],
    "admin/jsi18n/": [Ask(Who.STAFF)],
    "admin/r/<path:content_type_id>/<path:object_id>/": [
        Ask(Who.STAFF, path={"content_type_id": "1", "object_id": "1"})  # none has such a page
    ],
    "admin/^(?P<app_label>auth|sessions_app|gateway)/$": [
        Ask(V, path={"app_label": "gateway"}, hidden=True),
        Ask(V, path={"app_label": "sessions_app"}, hidden=True),
        Ask(A, path={"app_label": "auth"}, hidden=True),
    ],
    "admin/(?P<url>.*)$": [Ask(Who.STAFF, path={"url": "nothing-here/"})],
    "admin/live/": [Ask(V)],
    "admin/live/cancel/": [Ask(O, "post", {"turn": "{turn}"})],
    "admin/live/waiting.json": [Ask(V)],
    "admin/live/ended.json": [Ask(V, data={"turn": "{turn}"})],
    "admin/overview/": [Ask(V)],
    "admin/compare/<str:turn>/": [
        Ask(V, path={"turn": "{turn}"}),
        Ask(O, "post", {"agent": "nobody"}, {"turn": "{turn}"}),
    ],
    "admin/repair/": [
        Ask(V),
        Ask(O, data={"confirm": "retry", "what": "letters", "key": "{delivery}"}),
        Ask(O, "post", {"do": "retry", "what": "letters", "key": "{delivery}"}),
        Ask(O, "post", {"do": "discard", "what": "letters", "key": "{delivery}"}),
    ],
    "admin/sessions_app/session/<str:pk>/entries/": [Ask(V, path={"pk": "{session}"})],
    "admin/sessions_app/session/<str:pk>/act/": [
        Ask(O, "post", {"do": "terminate"}, {"pk": "{session}"}),
        Ask(O, "post", {"do": "nothing known"}, {"pk": "{session}"}),
    ],
    "admin/auth/user/<id>/password/": [
        Ask(A, path={"id": "{user}"}),
        Ask(A, "post", {}, {"id": "{user}"}),
        Ask(Who.SUPERUSER, path={"id": "{superuser}"}),
        Ask(Who.SUPERUSER, "post", {}, {"id": "{superuser}"}),
    ],
    "api/v1/docs": [Ask(Who.STRANGER)],
    "api/v1/openapi.json": [Ask(Who.STRANGER)],
    "api/v1/": [Ask(NOBODY, hidden=True)],  # only its name is used
    "chat/": [Ask(Who.PERSON)],
    "chat/login/": [Ask(Who.STRANGER), Ask(Who.STRANGER, "post", {})],
    "chat/leave/": [Ask(Who.STRANGER, "post")],
}
"""Every address that is not a table's own five."""


def of_api(address: str) -> list[Ask]:
    """Of an operation of the API: no login counts there, only a token (tests/api/)."""
    path = dict.fromkeys(re.findall(r"<(?:\w+:)?(\w+)>", address), "1")
    return [Ask(NOBODY, method, path=path) for method in ("get", "post", "patch", "delete")]


def of_table(part: str, rights: Rights, row: str) -> list[Ask]:
    """What is asked of a table's own address, by the end of its pattern."""
    this = {"object_id": row}
    match part:
        case "":
            return [Ask(rights.look)]
        case "add/":
            return [Ask(rights.add), Ask(rights.add, "post", {})]
        case "<path:object_id>/history/":
            return [Ask(rights.look, path=this)]
        case "<path:object_id>/delete/":
            return [
                Ask(rights.delete, path=this),
                Ask(rights.delete, "post", {"post": "yes"}, this),
            ]
        case "<path:object_id>/change/":
            return [Ask(rights.look, path=this), Ask(rights.change, "post", {}, this)]
        case "<path:object_id>/":
            return [Ask(Who.STAFF, path=this)]  # leads to the change page, which asks again
    raise KeyError(part)
