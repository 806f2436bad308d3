"""The frame of a console page: title, navigation, what the admin's own pages show too."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.response import TemplateResponse

OPERATE = "sessions_app.operate"
"""The permission to step in: stop, end, restore, retry, discard."""


def render(
    request: HttpRequest, template: str, title: str, context: dict[str, Any]
) -> TemplateResponse:
    """A page of ours that reads as part of the admin."""
    frame = admin.site.each_context(request) | {
        "title": title,
        "may_operate": request.user.has_perm(OPERATE),
    }
    return TemplateResponse(request, template, frame | context)
