"""Lists, page by page: newest first, from behind the last row that was seen.

A cursor is a place in an order, nothing more: what a caller may see is decided anew
for each page, so a cursor that is made up leads to no other rows.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Generic, TypeVar

import orjson
from django.db.models import Model, QuerySet
from ninja import Query, Schema
from pydantic import Field, StringConstraints

from gateway.api.problems import Problem

DEFAULT, MOST = 50, 200
MAX_ID = 2**63 - 1

Word = Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00]*$")]
"""A short text that a database takes."""

Limit = Annotated[int, Query(ge=1, le=MOST, description="Rows of a page.")]
Cursor = Annotated[
    str, Query(max_length=600, description="`next` of the page before; empty for the first.")
]

Row = TypeVar("Row", bound=Model)
Item = TypeVar("Item")


class Page(Schema, Generic[Item]):
    """A page of a list."""

    items: list[Item]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


def page(
    rows: QuerySet[Row], limit: int, cursor: str, field: str = "pk"
) -> tuple[list[Row], str | None]:
    """One page of rows, and the cursor of the next. `field` is unique. Raises `Problem` 422."""
    name = f"{rows.model._meta.model_name}.{field}"
    if cursor:
        rows = rows.filter(**{f"{field}__lt": _place(rows, cursor, name, field)})
    found = list(rows.order_by(f"-{field}")[: limit + 1])
    more = len(found) > limit
    return found[:limit], _cursor(name, getattr(found[limit - 1], field)) if more else None


def _cursor(name: str, place: Any) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([name, place])).decode().rstrip("=")


def _place(rows: QuerySet[Any], cursor: str, name: str, field: str) -> str | int:
    bad = Problem(422, "This is no cursor of this list.")
    try:
        said = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError):
        raise bad from None
    if not (isinstance(said, list) and len(said) == 2 and said[0] == name):
        raise bad
    place = said[1]
    column = rows.model._meta.pk if field == "pk" else rows.model._meta.get_field(field)
    wanted = str if column.get_internal_type() == "CharField" else int
    if type(place) is not wanted or (isinstance(place, int) and not 0 <= place <= MAX_ID):
        raise bad
    if isinstance(place, str) and "\0" in place:
        raise bad
    return place
