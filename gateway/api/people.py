"""What is known about people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings


def zone_of(preferences: Mapping[str, Any]) -> str:
    """The person's time zone, as `preferences` name it; else the gateway's."""
    said = preferences.get("timezone") if isinstance(preferences, Mapping) else None
    if isinstance(said, str) and said:
        try:
            return ZoneInfo(said).key
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass
    return settings.TIME_ZONE
