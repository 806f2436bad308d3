"""What a list's address may ask for: what its filters and our own links ask, and nothing else.

Django lets every field of a table be compared in every way. That would give away what
no page shows, an agent's key by `?api_key__gte=…`, and let a pattern stop the process.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest

if TYPE_CHECKING:
    Base = admin.ModelAdmin[Any]
else:
    Base = object

CHOICES = ("", "__exact", "__isnull", "__id__exact")
"""What a filter of a field puts behind its name."""

ROWS = ("", "__exact", "__id__exact")
"""What a link to the rows of one other row puts behind the relation's name."""


class Narrow(Base):
    """Mixed into every table's admin by the site."""

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Whether a parameter is one of the list's filters, a relation's row, or the row's id."""
        return lookup in set(_names(self, request))


def _names(options: Any, request: HttpRequest | None) -> Iterator[str]:
    yield from ("pk", "pk__exact", "id", "id__exact")
    for wanted in options.get_list_filter(request):
        if isinstance(wanted, type) and issubclass(wanted, admin.SimpleListFilter):
            yield wanted.parameter_name or ""
        else:
            name = wanted[0] if isinstance(wanted, list | tuple) else wanted
            yield from (f"{name}{end}" for end in CHOICES)
    for field in options.model._meta.fields:
        if field.is_relation:
            yield from (f"{field.name}{end}" for end in ROWS)
