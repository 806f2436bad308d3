"""What may stand in a file: each value is checked before it comes near the database.

Files are edited by hand, cut by crashes, and come from elsewhere. `parse` takes
one JSON object and returns values that fit their columns, or raises
`Unreadable` with a reason. Fields that are not known are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from sessions_app.ids import MEDIA_NAME

Check = Callable[[Any], Any]
Fields = Mapping[str, Check]

LARGEST = 2**63 - 1
"""The largest whole number that a column holds."""


class Unreadable(ValueError):
    """A value that cannot be what it stands for."""


def parse(data: Any, fields: Fields) -> dict[str, Any]:
    """The fields of `data`, checked. What is missing is checked as None."""
    if not isinstance(data, dict):
        raise Unreadable("not an object")
    found = {}
    for name, check in fields.items():
        try:
            found[name] = check(data.get(name))
        except Unreadable as error:
            raise Unreadable(f"{name}: {error}") from None
    return found


def text(limit: int | None = None) -> Check:
    """A text of at most `limit` characters; empty where it is missing."""

    def check(value: Any) -> str:
        if value is None:
            return ""
        if not isinstance(value, str):
            raise Unreadable("not a text")
        if limit is not None and len(value) > limit:
            raise Unreadable(f"longer than {limit} characters")
        return value

    return check


def required(check: Check) -> Check:
    """The same, where nothing and the empty text are not enough."""

    def strict(value: Any) -> Any:
        if value is None or value == "":
            raise Unreadable("missing")
        return check(value)

    return strict


def optional(check: Check) -> Check:
    """The same, or None."""
    return lambda value: None if value is None else check(value)


def identifier(value: Any) -> str:
    """An id of ours: letters, digits, - and _; up to 40 of them."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", value):
        raise Unreadable("not an id")
    return value


def media_name(value: Any) -> str:
    """The generated name of a kept file; empty where it is missing."""
    if value is None or value == "":
        return ""
    if not isinstance(value, str) or not re.fullmatch(MEDIA_NAME, value):
        raise Unreadable("not the name of a kept file")
    return value


def whole(value: Any) -> int:
    """A whole number from 0; 0 where it is missing."""
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST:
        raise Unreadable("not a number from 0")
    return value


def flag(value: Any) -> bool:
    """True or false; false where it is missing."""
    if value is not None and not isinstance(value, bool):
        raise Unreadable("not true or false")
    return bool(value)


def time(value: Any) -> datetime:
    """A time in ISO 8601, aware; without a zone it is UTC."""
    if not isinstance(value, str):
        raise Unreadable("not a time")
    try:
        found = datetime.fromisoformat(value)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Unreadable("not a time") from None


def one_of(*choices: str) -> Check:
    """One of these words."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise Unreadable(f"not one of {', '.join(choices)}")
        return value

    return check


def json_object(value: Any) -> dict[str, Any]:
    """A JSON object; empty where it is missing."""
    if value is not None and not isinstance(value, dict):
        raise Unreadable("not an object")
    return value or {}


def json_list(value: Any) -> list[Any]:
    """A JSON list; empty where it is missing."""
    if value is not None and not isinstance(value, list):
        raise Unreadable("not a list")
    return value or []


def texts(limit: int) -> Check:
    """A list of texts that are not empty, of at most `limit` characters each."""
    one = required(text(limit))
    return lambda value: [one(entry) for entry in json_list(value)]


def many(fields: Fields) -> Check:
    """A list of objects with these fields."""

    def check(value: Any) -> list[dict[str, Any]]:
        found = []
        for index, entry in enumerate(json_list(value)):
            try:
                found.append(parse(entry, fields))
            except Unreadable as error:
                raise Unreadable(f"entry {index}: {error}") from None
        return found

    return check
