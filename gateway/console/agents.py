"""Agents in the admin: where they are or how they are started, and whether they answer."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from gateway.models import Agent, AgentHealth
from sessions_app.admin import ModelAdmin, ReadOnly, shorten

if TYPE_CHECKING:
    AgentModelForm = forms.ModelForm[Agent]
else:
    AgentModelForm = forms.ModelForm

REMOVE = "-"


class AgentForm(AgentModelForm):
    """An agent. Its key goes in and never comes out; a new default takes over from the old."""

    url = forms.URLField(
        assume_scheme="http",  # agents mostly live on the same machine
        max_length=500,
        required=False,
        help_text="For example http://127.0.0.1:9000/rpc/message",
    )
    api_key = forms.CharField(
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=f"OpenAI-compatible only. Empty keeps the stored key; {REMOVE} removes it.",
    )

    class Meta:
        model = Agent
        fields = (
            "name",
            "url",
            "command",
            "instances",
            "max_instances",
            "idle_seconds",
            "protocol",
            "stream",
            "model",
            "api_key",
            "busy",
            "debounce_seconds",
            "is_default",
            "enabled",
        )

    def clean_command(self) -> str:
        """A command that can be taken apart into words."""
        command = str(self.cleaned_data["command"])
        try:
            shlex.split(command)
        except ValueError as error:
            raise forms.ValidationError(f"This cannot be read: {error}.") from error
        return command

    def clean(self) -> dict[str, Any] | None:
        """An address or a command."""
        cleaned = super().clean()
        if not self.errors and bool(self.cleaned_data["url"]) == bool(self.cleaned_data["command"]):
            raise forms.ValidationError("Give either a URL or a command.")
        return cleaned

    def clean_api_key(self) -> str:
        """The key to store."""
        typed = str(self.cleaned_data["api_key"])
        if typed == REMOVE:
            return ""
        return typed or str(self.initial.get("api_key", ""))

    def _get_validation_exclusions(self) -> set[str]:
        """One default only: AgentAdmin.save_model sees to it, so the form need not refuse."""
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]  # untyped
        return excluded | {"is_default"}


class AgentAdmin(ModelAdmin[Agent]):
    """What answers."""

    form = AgentForm
    list_display = ("name", "where", "protocol", "stream", "is_default", "enabled")
    list_filter = ("enabled", "protocol")
    search_fields = ("name", "url", "command")
    ordering = ("name",)

    @admin.display(description="where")
    def where(self, agent: Agent) -> str:
        """Its address, or the command that starts it."""
        return shorten(agent.url or agent.command)

    def get_fields(self, request: HttpRequest, obj: Agent | None = None) -> Any:
        """Who may only look gets the fields as text: the key is not among them."""
        hidden = set() if self.has_change_permission(request, obj) else {"api_key"}
        return [name for name in AgentForm.Meta.fields if name not in hidden]

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """What is known of its health goes with it, without asking."""
        gone, counts, needed, protected = super().get_deleted_objects(objs, request)
        return gone, counts, needed - {AgentHealth._meta.verbose_name}, protected

    def save_model(self, request: HttpRequest, obj: Agent, form: Any, change: bool) -> None:
        """Store it; as the default it takes over in the same transaction."""
        if obj.is_default:
            Agent.objects.exclude(pk=obj.pk).filter(is_default=True).update(is_default=False)
        super().save_model(request, obj, form, change)


class AgentHealthAdmin(ReadOnly, ModelAdmin[AgentHealth]):
    """Whether each agent answers."""

    list_display = ("agent", "state", "failures", "detail", "opened_at", "retry_at", "ok_at")
    list_select_related = ("agent",)
    search_fields = ("agent__name", "detail")
    ordering = ("agent__name",)
