"""Signs of life and the audit in the admin: kept by the gateway, only looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html

from gateway.models import Audit, Heartbeat
from sessions_app.admin import ModelAdmin, ReadOnly, shorten
from sessions_app.lists import Fast, ago
from sessions_app.sql import dumps

ACTIONS = {
    "cancel_turn": "stopped a turn",
    "requeue_turn": "asked again",
    "discard_turn": "let a turn go",
    "retry_delivery": "sent again",
    "discard_delivery": "let a part go",
    "fetch_file": "fetched a file again",
    "terminate_session": "ended a session",
    "restore_session": "restored a session",
    "restore_files": "restored from files",
    "invite": "invited a guest",
    "discard_set_aside": "let a payload go",
    "approve_pairing": "let somebody in",
    "refuse_pairing": "kept somebody out",
    "add_schedule": "added a schedule",
    "cancel_schedule": "ended a schedule",
    "send_message": "sent a message",
    "ask_agent": "put a question to an agent",
    "make_token": "made a token",
    "revoke_token": "took a token back",
    "replay_turn": "asked another agent to compare",
    "hand_over": "handed a session over or back",
    "change_password": "changed their own password",
    "add_": "added a row",
    "change_": "changed a row",
    "delete_": "deleted a row",
}
"""What can be chosen; with _ at its end, everything that begins so."""


class ActionFilter(admin.SimpleListFilter):
    """By what was done. The choices are written here: a query for them would read the table."""

    title = "action"
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The actions."""
        return list(ACTIONS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The lines of the chosen action, or all."""
        value = self.value() or ""
        if value.endswith("_"):
            return queryset.filter(action__startswith=value)
        return queryset.filter(action=value) if value else queryset


class HeartbeatAdmin(ReadOnly, ModelAdmin[Heartbeat]):
    """The last sign of life of each part."""

    list_display = ("name", "at", "detail")
    search_fields = ("name",)
    ordering = ("name",)


class AuditAdmin(Fast, ReadOnly, ModelAdmin[Audit]):
    """Who did what to which row."""

    list_display = ("when", "actor", "action", "what", "more")
    list_filter = (ActionFilter,)
    search_fields = ("actor", "action", "row", "detail")
    search_help_text = "A name, an action, a row's or a session's id, among the newest 20,000."
    ordering = ("-id",)
    when_empty = "Each thing that somebody does by hand, here or by a command, gets a line here."

    @admin.display(description="when")
    def when(self, line: Audit) -> str:
        """How long ago."""
        return ago(line.at)

    @admin.display(description="row")
    def what(self, line: Audit) -> str:
        """A way to the row."""
        address = address_of(line)
        shown = format_html('<bdi class="id">{}</bdi>', shorten(line.row))
        return format_html('<a href="{}">{}</a>', address, shown) if address else shown

    @admin.display(description="detail")
    def more(self, line: Audit) -> str:
        """What it was before, or what was changed."""
        return format_html(
            '<bdi class="words">{}</bdi>', shorten(told(line.detail) if line.detail else "")
        )


def told(detail: Any) -> str:
    """A line's detail in words where it names changed fields, else as JSON."""
    what = detail.get("what") if isinstance(detail, dict) else None
    parts = what if isinstance(what, list) else []
    changes = [one["changed"] for one in parts if isinstance(one, dict) and "changed" in one]
    words = [text for change in changes for text in _changes(change)]
    return ", ".join(words) or dumps(detail)


def _changes(change: Any) -> Iterator[str]:
    if not isinstance(change, dict):
        return
    values = change.get("values") or {}
    for name, (before, after) in values.items():
        yield f"{name}: {_shown(before)} → {_shown(after)}"
    if len(fields := change.get("fields") or ()) > len(values):
        yield f"changed {', '.join(map(str, fields))}"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def address_of(line: Audit) -> str:
    """The page of the row that a line is about; empty where it has none."""
    if line.row.startswith("sess_"):
        return reverse("admin:sessions_app_session_change", args=(line.row,))
    if line.row.startswith("turn_"):
        return reverse("admin:gateway_turn_change", args=(line.row,))
    if line.action in ("retry_delivery", "discard_delivery"):
        return f"{reverse('admin:gateway_delivery_changelist')}?q={line.row}"
    name, _, key = line.row.partition(" ")
    for label in ("gateway", "sessions_app", "auth"):
        if key and name in apps.all_models[label]:
            try:
                return reverse(f"admin:{label}_{name}_change", args=(key,))
            except NoReverseMatch:  # a table that the admin does not show
                return ""
    return ""
