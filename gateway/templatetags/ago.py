"""`{{ moment|ago }}`: how long something is ago, in one word and a number."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.utils.timesince import timesince

from sessions_app import clock

register = template.Library()


@register.filter
def ago(moment: datetime | None) -> str:
    """ "just now", "3 minutes ago", "2 days ago"; a dash where there is no moment."""
    if moment is None:
        return "–"
    now = clock.now()
    if (now - moment).total_seconds() < 60:
        return "just now"
    return f"{timesince(moment, now, depth=1)} ago"
