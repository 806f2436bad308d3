"""What goes with a part beside its text, read from its column: see `records.Part`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.base import Button, Location


def location_of(extra: Mapping[str, Any]) -> Location | None:
    """The place, if there is one. Raises `LookupError`, `TypeError` or `ValueError`."""
    if (place := extra.get("location")) is None:
        return None
    name = str(place.get("name") or "")
    return Location(float(place["latitude"]), float(place["longitude"]), name)


def buttons_of(extra: Mapping[str, Any]) -> list[Button]:
    """The buttons. Raises `LookupError` or `TypeError`."""
    return [Button(str(one["text"]), str(one["value"])) for one in extra.get("buttons") or ()]


def check_extra(extra: Mapping[str, Any]) -> None:
    """Whether it can be sent. Raises `LookupError`, `TypeError`, `ValueError`, `AttributeError`."""
    location_of(extra)
    buttons_of(extra)
