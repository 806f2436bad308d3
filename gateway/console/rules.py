"""Routing rules in the admin: who is answered by which agent, edited in the list."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from django.contrib.admin import ShowFacets
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.http import HttpRequest

from gateway.models import RoutingRule
from sessions_app.admin import ModelAdmin

WIDTHS = {"priority": 5, "channel": 9, "user_pattern": 14, "chat_pattern": 14}
"""Characters of an input in the list."""


class RoutingRuleAdmin(ModelAdmin[RoutingRule]):
    """Who is answered by which agent. Edited in the list; effective at once."""

    list_display = (
        "__str__",
        "priority",
        "channel",
        "user_pattern",
        "chat_pattern",
        "agent",
        "enabled",
    )
    list_per_page = 25
    show_facets = ShowFacets.NEVER
    list_editable = ("priority", "channel", "user_pattern", "chat_pattern", "agent", "enabled")
    list_filter = ("enabled", "agent")
    list_select_related = ("agent",)
    search_fields = ("channel", "user_pattern", "chat_pattern", "agent__name")

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """The agents are read once, not once for each row of the list."""
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if field is not None:
            field.choices = [*cast("Iterable[Any]", field.choices)]
        return field

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """No buttons beside the agent: another page is the place to change it."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and isinstance(field.widget, RelatedFieldWidgetWrapper):
            for name in ("add", "change", "delete", "view"):
                setattr(field.widget, f"can_{name}_related", False)
        return field

    def get_changelist_form(self, request: HttpRequest, **kwargs: Any) -> Any:
        """Narrow inputs, each with its name for who does not see the column's head."""
        made: Any = super().get_changelist_form(request, **kwargs)

        class RowForm(made):  # type: ignore[misc]  # Django makes the class it is
            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **options)
                for name, field in self.fields.items():
                    plain = getattr(field.widget, "widget", field.widget)
                    plain.attrs["aria-label"] = str(field.label)
                    if name in WIDTHS:
                        narrow = {"size": WIDTHS[name], "class": "narrow"}
                        field.widget.attrs |= narrow | {"placeholder": str(field.label).lower()}

        return RowForm
