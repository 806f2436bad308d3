"""Fields of a platform's JSON with the type they are documented to have.

Each reader raises `Unreadable` where the type is another, so that a payload
which is not understood is kept for a person instead of being half read.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from adapters.base import Unreadable

Json = dict[str, Any]


def obj(data: Json, key: str) -> Json:
    """An object that must be there."""
    found = data.get(key)
    if not isinstance(found, dict):
        raise Unreadable(f"{key} is not an object")
    return found


def objects(data: Json, key: str) -> list[Json]:
    """A list of objects; empty where it is missing or null."""
    found = data.get(key)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise Unreadable(f"{key} is not a list of objects")
    return found


def text(data: Json, key: str, default: str | None = None) -> str:
    """A text; `default` where it is missing or null, if one is given."""
    found = data.get(key)
    if found is None and default is not None:
        return default
    if not isinstance(found, str):
        raise Unreadable(f"{key} is not a text")
    return found


def number(data: Json, key: str) -> float:
    """A number."""
    found = data.get(key)
    if type(found) not in (int, float):
        raise Unreadable(f"{key} is not a number")
    return float(found)  # type: ignore[arg-type]  # one of the two


def whole(data: Json, key: str, default: int | None = None) -> int | None:
    """A whole number; `default` where it is missing or null."""
    found = data.get(key)
    if found is None:
        return default
    if type(found) is not int:
        raise Unreadable(f"{key} is not a whole number")
    return found


def moment(seconds: float | str) -> datetime:
    """A time from seconds since 1970, as a number or as its text."""
    try:
        return datetime.fromtimestamp(float(seconds), UTC)
    except (OverflowError, ValueError, OSError):
        raise Unreadable("a time out of range") from None


def first_text(data: Any, keys: Sequence[str]) -> str:
    """The first of these fields that holds a text; empty where none does, or `data` is no object.

    For what is nice to know: nothing here is `Unreadable`.
    """
    names = [data.get(key) for key in keys] if isinstance(data, dict) else []
    return next((one for one in names if isinstance(one, str) and one), "")
