"""Keys of the HTTP API: made here and shown once, revoked here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from gateway.api.tokens import SCOPES, make_token, revoke_tokens
from gateway.console.actions import report
from gateway.models import ApiToken, IdempotencyKey
from sessions_app import clock
from sessions_app.admin import ModelAdmin, ReadOnly
from sessions_app.lists import Fast, ago, chip

if TYPE_CHECKING:
    TokenModelForm = forms.ModelForm[ApiToken]
else:
    TokenModelForm = forms.ModelForm


class TokenForm(TokenModelForm):
    """A new token: what it is called, what it may do, whom it may reach, until when."""

    scopes = forms.MultipleChoiceField(
        choices=[(scope, f"{scope}: {meaning}") for scope, meaning in SCOPES.items()],
        widget=forms.CheckboxSelectMultiple,
    )

    class Meta:
        model = ApiToken
        fields = ("name", "scopes", "contact", "expires_at")


class ApiTokenAdmin(ModelAdmin[ApiToken]):
    """Who may use the HTTP API. Not even the hash is shown."""

    form = TokenForm
    audits_itself = True
    actions = ("revoke",)
    list_display = ("name", "scopes", "contact", "standing", "made", "used", "expires_at")
    list_select_related = ("contact",)
    raw_id_fields = ("contact",)
    search_fields = ("name",)
    ordering = ("name",)

    def has_change_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        """Never: what a token may do is said when it is made."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        """Never: it is revoked, and the audit still names it."""
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Who may make tokens may take them back."""
        return request.user.has_perm("gateway.add_apitoken")

    def get_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:
        """What is asked for a new one; of one that is there, everything but its hash."""
        asked = TokenForm.Meta.fields
        return (*asked, "created_at", "last_used_at", "revoked_at") if obj else asked

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        """Make it, and show it this once."""
        made = make_token(
            request.user.get_username(), obj.name, obj.scopes, obj.contact, obj.expires_at
        )
        obj.pk = made.row.pk
        words = "Copy the token now; it is not shown again: {}"
        messages.success(request, format_html(words, made.secret))

    @admin.action(permissions=["revoke"], description="Revoke the selected tokens")
    def revoke(self, request: HttpRequest, rows: QuerySet[ApiToken]) -> None:
        """They count for nothing from now on."""
        chosen = list(rows.order_by().values_list("pk", flat=True))
        changed = revoke_tokens(request.user.get_username(), chosen)
        report(request, changed, len(chosen), "revoked")

    @admin.display(description="state")
    def standing(self, token: ApiToken) -> str:
        """Whether it counts."""
        if token.revoked_at:
            return chip("failed", "revoked")
        late = token.expires_at is not None and token.expires_at <= clock.now()
        return chip("waiting", "expired") if late else chip("done", "counts")

    @admin.display(description="made")
    def made(self, token: ApiToken) -> str:
        """How long ago."""
        return ago(token.created_at)

    @admin.display(description="last used")
    def used(self, token: ApiToken) -> str:
        """How long ago, to the minute."""
        return ago(token.last_used_at)


class IdempotencyKeyAdmin(Fast, ReadOnly, ModelAdmin[IdempotencyKey]):
    """Calls of the HTTP API that were answered, and would be answered alike."""

    list_display = ("owner", "key", "status", "created_at")
    search_fields = ("owner", "key")
    ordering = ("-id",)
