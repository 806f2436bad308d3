"""Lists that stay fast however long a table grows: no counts, bounded searches.

A page reads one row more than it shows to know whether there is a next one.
A search looks for ids through their indexes, and for words among the newest rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

from django.contrib.admin import ShowFacets
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.timesince import timesince

MAX_PAGE = 1000
"""Pages that can be turned to; older rows are found by search and filters."""

MAX_FOUND = 1000
"""Rows that one search may find."""


class UncountedList(ChangeList):
    """One page and whether there is another."""

    has_next: bool

    def get_results(self, request: HttpRequest) -> None:
        """Read the page's rows, and let the admin add to them what it shows of each."""
        number = self.page_num
        if not 1 <= number <= MAX_PAGE:
            raise IncorrectLookupParameters
        start = (number - 1) * self.list_per_page
        end = start + self.list_per_page
        # the ids alone first: turning to a late page then skips no joined rows
        keys = list(self.queryset.values_list("pk", flat=True)[start : end + 1])
        self.has_next = len(keys) > self.list_per_page and number < MAX_PAGE
        self.result_list = list(self.queryset.filter(pk__in=keys[: self.list_per_page]))
        self.result_count = len(self.result_list)
        self.full_result_count = None
        self.show_full_result_count = False
        self.show_admin_actions = bool(self.result_list)
        self.can_show_all, self.multi_page = False, False
        self.title = str(self.opts.verbose_name_plural).capitalize()
        complete = getattr(self.model_admin, "complete", None)
        if complete is not None:
            complete(self.result_list)

    @property
    def first_shown(self) -> int:
        """Number of the first row on this page."""
        return (self.page_num - 1) * self.list_per_page + 1

    @property
    def last_shown(self) -> int:
        """Number of the last one."""
        return self.first_shown + self.result_count - 1

    @property
    def previous_page(self) -> str:
        """Its query string; empty on the first page."""
        return self.get_query_string({"p": self.page_num - 1}) if self.page_num > 1 else ""

    @property
    def next_page(self) -> str:
        """Its query string; empty on the last page."""
        return self.get_query_string({"p": self.page_num + 1}) if self.has_next else ""


class Fast:
    """For the admin of a table that grows without end.

    search_fields   "=name" is compared as a whole, in the whole table: give it an index.
                    "name" may stand anywhere in the field, among the newest `search_newest`
    sortable_by     columns that have an index
    when_empty      what an empty list says: what will appear, and what makes it appear
    """

    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 0
    search_newest = 20_000
    when_empty = ""
    search_fields: ClassVar[list[str] | tuple[str, ...]] = ()
    sortable_by: ClassVar[list[str] | tuple[str, ...] | None] = ()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """The list without counts."""
        return UncountedList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """What is found, as (rows, False: none appears twice)."""
        words = search_term.split()
        if not words:
            return queryset, False
        rows = queryset.order_by()
        found: set[Any] = set()
        for name in self.search_fields:
            if name.startswith("="):
                found.update(_exact(rows, name[1:], " ".join(words)))
        found.update(_keys(self._among_newest(rows, words).order_by("-pk")))
        return queryset.filter(pk__in=sorted(found, reverse=True)[:MAX_FOUND]), False

    def _among_newest(self, rows: QuerySet[Any], words: Sequence[str]) -> QuerySet[Any]:
        """The newest rows with every word in one of the fields."""
        fields = [name for name in self.search_fields if not name.startswith("=")]
        if not fields:
            return rows.none()
        keys = rows.model._default_manager.order_by("-pk").values_list("pk", flat=True)
        floor = keys[self.search_newest : self.search_newest + 1].first()
        if floor is not None:
            rows = rows.filter(pk__gt=floor)
        for word in words:
            either = Q()
            for name in fields:
                either |= Q((f"{name}__icontains", word))
            rows = rows.filter(either)
        return rows


def _exact(rows: QuerySet[Any], name: str, value: str) -> list[Any]:
    try:
        return _keys(rows.filter(Q((name, value))).order_by("-pk"))
    except ValueError:  # no number, where a number is compared
        return []


def _keys(rows: QuerySet[Any]) -> list[Any]:
    return list(rows.values_list("pk", flat=True)[:MAX_FOUND])


def ago(moment: Any) -> str:
    """How long ago, with the whole moment on hover; a dash where there is none."""
    if moment is None:
        return "–"
    text = timesince(moment, depth=1) if moment < timezone.now() else "0 minutes"
    when = "just now" if text.startswith("0") else f"{text} ago"
    return format_html(
        '<time datetime="{}" data-show="as-is" title="{}">{}</time>',
        moment.isoformat(),
        f"{moment:%Y-%m-%d %H:%M:%S} UTC",
        when,
    )


def span(time: timedelta) -> str:
    """How long something took: 0.4 s, 3 min 20 s, 20 h 54 min, 3 d 2 h."""
    seconds = max(0.0, time.total_seconds())
    if seconds < 60:
        return f"{seconds:.1f} s"
    for size, unit, less, part in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit} {seconds % size // less:.0f} {part}"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def chip(look: str, word: str) -> str:
    """A state as every page shows it: a mark in its colour, and its word."""
    return format_html('<span class="state {}">{}</span>', look, word)
