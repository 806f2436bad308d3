"""What is changed by hand in the admin, in the same audit as what operators do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from gateway.models import Audit

if TYPE_CHECKING:
    Base = admin.ModelAdmin[Any]
else:
    Base = object


class Audited(Base):
    """Mixed into every table's admin by the site. Names the fields, never their values."""

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        """A row was made."""
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


def _note(request: HttpRequest, verb: str, obj: Model, message: Any) -> None:
    name = obj._meta.model_name
    Audit.objects.create(
        actor=request.user.get_username(),
        action=f"{verb}_{name}",
        row=f"{name} {obj.pk}",
        detail={"what": message},
    )
