"""Planned sends, as the operator sees them."""

from __future__ import annotations

from gateway.models import Occurrence, Schedule
from sessions_app.admin import ModelAdmin, ReadOnly
from sessions_app.lists import Fast


class ScheduleAdmin(Fast, ReadOnly, ModelAdmin[Schedule]):
    """Planned sends."""

    list_display = ("__str__", "contact", "channel", "next_run", "timezone", "catch_up", "enabled")
    list_filter = ("enabled", "kind")
    list_select_related = ("contact",)
    search_fields = ("=id", "text", "prompt")
    ordering = ("-id",)


class OccurrenceAdmin(Fast, ReadOnly, ModelAdmin[Occurrence]):
    """Each time a schedule was due, and what came of it."""

    list_display = ("schedule", "due_at", "state", "reason")
    list_filter = ("state",)
    list_select_related = ("schedule",)
    search_fields = ("=schedule", "reason")
    ordering = ("-id",)
