"""The admin site with the console's own pages: start page, live, repair."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite, ModelAdmin
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path

from gateway.console import actions, compare, live, overview, repair
from gateway.console.audit import Audited, note_password
from gateway.console.lookups import Narrow


class ConsoleSite(AdminSite):
    """Django's admin, beginning with whether anything needs a person."""

    site_header = "OpenClaw"
    site_title = "OpenClaw"
    site_url = "/chat/"
    index_title = "Overview"
    index_template = "console/overview.html"

    def get_urls(self) -> list[URLResolver | URLPattern]:
        """Our pages before the models'."""
        return [
            path("live/", self.admin_view(live.page), name="live"),
            path("live/cancel/", self.admin_view(actions.cancel), name="live-cancel"),
            path("live/waiting.json", self.admin_view(live.waiting_turns), name="live-waiting"),
            path("live/ended.json", self.admin_view(live.ended_turns), name="live-ended"),
            path("overview/", self.admin_view(overview.fragment), name="overview"),
            path("repair/", self.admin_view(repair.page), name="repair"),
            path("compare/<str:turn>/", self.admin_view(compare.page), name="compare"),
            *super().get_urls(),
        ]

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Every table comes with the audit, and answers only what its own links ask."""
        plain = admin_class or ModelAdmin
        audited = type(plain.__name__, (Audited, Narrow, plain), {"__module__": plain.__module__})
        super().register(model_or_iterable, audited, **options)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """What the frame of every page needs: how many things wait for a person."""
        return super().each_context(request) | {"waiting_for_a_person": repair.count(request)}

    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """One's own password; a new one stands in the audit."""
        answer = super().password_change(request, extra_context)
        if request.method == "POST" and answer.status_code == 302:
            note_password(request)
        return answer

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """The start page."""
        return super().index(request, overview.context(request) | (extra_context or {}))
