"""Keys of the HTTP API, as the operator sees them."""

from __future__ import annotations

from gateway.models import ApiToken, IdempotencyKey
from sessions_app.admin import ModelAdmin, ReadOnly
from sessions_app.lists import Fast


class ApiTokenAdmin(ReadOnly, ModelAdmin[ApiToken]):
    """Who may use the HTTP API. Not even the hash is shown."""

    list_display = ("name", "scopes", "created_at", "last_used_at", "revoked_at")
    search_fields = ("name",)
    ordering = ("name",)
    exclude = ("digest",)


class IdempotencyKeyAdmin(Fast, ReadOnly, ModelAdmin[IdempotencyKey]):
    """Calls of the HTTP API that were answered, and would be answered alike."""

    list_display = ("owner", "key", "status", "created_at")
    search_fields = ("owner", "key")
    ordering = ("-id",)
