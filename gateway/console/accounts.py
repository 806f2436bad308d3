"""Accounts and groups: whom an administrator may change, and into what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.http import HttpRequest

if TYPE_CHECKING:
    BaseAdmin = UserAdmin[User]
else:
    BaseAdmin = UserAdmin


class AccountAdmin(BaseAdmin):
    """Who has no limits is changed, and made, only by who has none either."""

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """As the account's permissions say."""
        return _reaches(request, obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """As the account's permissions say."""
        return _reaches(request, obj) and super().has_delete_permission(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        """Rights of an account come from its groups; only a superuser gives more."""
        given = tuple(super().get_readonly_fields(request, obj))
        return given if _is_superuser(request) else (*given, "is_superuser", "user_permissions")


def _reaches(request: HttpRequest, obj: User | None) -> bool:
    return obj is None or not obj.is_superuser or _is_superuser(request)


def _is_superuser(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and request.user.is_superuser
