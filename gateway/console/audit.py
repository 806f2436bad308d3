"""What is changed by hand in the admin, in the same audit as what operators do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import BooleanField, ManyToManyField, Model, QuerySet
from django.http import HttpRequest

from gateway.models import Audit

if TYPE_CHECKING:
    Base = admin.ModelAdmin[Any]
else:
    Base = object


class Audited(Base):
    """Mixed into every table's admin by the site.

    Names the fields; their values, as they were and are, only where those are fixed
    choices or groups: never a text, never a secret. `audits_itself`: what makes a row
    writes its own line.
    """

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> Any:
        """The fields that were changed, with {field: [before, after]} as "values"."""
        message: Any = super().construct_change_message(request, form, formsets, add)
        if not add and (values := _values(self.model, form)):
            message[0]["changed"]["values"] = values
        return message

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        """A row was made."""
        if not getattr(self, "audits_itself", False):
            _note(request, "add", obj, message)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        """A row was changed, or found to be as it was sent."""
        if message:
            _note(request, "change", obj, message)
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Rows are about to be deleted."""
        for obj in queryset:
            _note(request, "delete", obj, str(obj))
        return super().log_deletions(request, queryset)


def note_password(request: HttpRequest) -> None:
    """Somebody has changed their own password."""
    Audit.objects.create(
        actor=request.user.get_username(), action="change_password", row=f"user {request.user.pk}"
    )


def _values(model: type[Model], form: Any) -> dict[str, list[Any]]:
    fields = {field.name: field for field in model._meta.get_fields()}
    found: dict[str, list[Any]] = {}
    for name in form.changed_data:
        field, both = fields.get(name), (form.initial.get(name), form.cleaned_data.get(name))
        if isinstance(field, ManyToManyField) and field.related_model is Group:
            found[name] = [sorted(str(group) for group in rows or ()) for rows in both]
        elif isinstance(field, BooleanField) or getattr(field, "choices", None):
            found[name] = list(both)
    return found


def _note(request: HttpRequest, verb: str, obj: Model, message: Any) -> None:
    name = obj._meta.model_name
    Audit.objects.create(
        actor=request.user.get_username(),
        action=f"{verb}_{name}",
        row=f"{name} {obj.pk}",
        detail={"what": message},
    )
