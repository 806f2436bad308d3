"""`{{ kinds|stopped }}`: whether their count stopped where no more rows are looked at."""

from __future__ import annotations

from collections.abc import Sequence

from django import template

from gateway.console import shelves
from gateway.console.shelves import Kind

register = template.Library()


@register.filter
def stopped(kinds: Kind | Sequence[Kind]) -> bool:
    """There may be more failed turns than these kinds, or this one, count."""
    some = [kinds] if isinstance(kinds, Kind) else kinds
    return sum(kind.count for kind in some if kind.shelf.name == "failed") >= shelves.MANY
