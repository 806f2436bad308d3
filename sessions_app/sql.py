"""Small helpers for SQL that runs alike on SQLite and PostgreSQL.

The verbs that write are on the way of every message, so they speak SQL themselves:
compiling an ORM query costs more than running it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any

import orjson
from django.db import connection, transaction

Row = tuple[Any, ...]


def run(sql: str, params: Sequence[Any] = ()) -> list[Row]:
    """Run one statement; its rows, if it has any."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall()) if cursor.description else []


def run_each(sql: str, rows: Sequence[Sequence[Any]]) -> None:
    """Run one statement once per row."""
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(sql, rows)


def run_rows(sql: str, rows: Sequence[Sequence[Any]], tail: Sequence[Any] = ()) -> list[Row]:
    """Run one statement over a list of rows: `{rows}` in it becomes a query that yields them.

    `tail` holds the parameters after the rows. Without rows nothing is run.
    """
    if not rows:
        return []
    source, params = rows_source(rows, len(rows[0]))
    return run(sql.replace("{rows}", source), [*params, *tail])


@contextmanager
def one_moment() -> Iterator[None]:
    """What is read in here is the database as it stood at one moment. No writer waits for it."""
    if connection.in_atomic_block:  # which sees one moment already
        yield
    elif connection.vendor == "sqlite":
        run("BEGIN DEFERRED")
        try:
            yield
        finally:
            run("COMMIT")
    else:
        with transaction.atomic():
            run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield


def rows_source(rows: Sequence[Sequence[Any]], width: int) -> tuple[str, list[Any]]:
    """A query that yields `rows`, and its parameters.

    On SQLite the rows travel as one JSON text, so that a statement reads the
    same for one row and for five hundred: prepared once, and kept once. (A
    prepared `VALUES` list of hundreds of rows holds half a megabyte, and every
    length of it is another.) Values: None, bool, int, float, str.
    """
    if connection.vendor == "sqlite":
        text = orjson.dumps(rows).decode()
        if "\\u0000" not in text:  # SQLite's json_extract ends a text at the character NUL
            return _json_source(width), [text]
    group = "(" + ", ".join(["%s"] * width) + ")"
    values = "VALUES " + ", ".join([group] * len(rows))
    empty = f"SELECT {', '.join(['NULL'] * width)} WHERE 1 = 0"
    return (values if rows else empty), [value for row in rows for value in row]


@cache
def _json_source(width: int) -> str:
    columns = ", ".join(f"json_extract(value, '$[{index}]')" for index in range(width))
    # "WHERE 1" keeps an ON CONFLICT that follows from being read as a join
    return f"SELECT {columns} FROM json_each(%s) WHERE 1"  # noqa: S608  (numbers only)


def data_version() -> int | None:
    """Another number whenever another connection has committed; None where nobody can say."""
    return int(run("PRAGMA data_version")[0][0]) if connection.vendor == "sqlite" else None


def moment(value: datetime | None) -> Any:
    """A time as the database keeps it."""
    return connection.ops.adapt_datetimefield_value(value) if value else None


def dumps(value: Any) -> str:
    """JSON text of a column."""
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def loads(value: Any) -> Any:
    """A JSON column read by raw SQL: text on SQLite, already parsed on PostgreSQL.

    The column may have been written by hand or by another program. What could not be
    written again (halves of surrogate pairs, huge numbers) comes back as something that can.
    """
    if not isinstance(value, str | bytes):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return _mended(json.loads(value))


def loads_object(value: Any) -> dict[str, Any]:
    """The same where an object is meant; empty if somebody has put something else there."""
    found = loads(value) if value else {}
    return found if isinstance(found, dict) else {}


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [_mended(item) for item in value]
    if isinstance(value, dict):
        return {_mended(key): _mended(item) for key, item in value.items()}
    if isinstance(value, int) and value.bit_length() > 63:
        return str(value)
    return value


def parse_moment(value: Any) -> datetime | None:
    """A time read by raw SQL, aware: SQLite gives it without its zone, which is UTC."""
    if value is None:
        return None
    found = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def written_moment(value: Any) -> str | None:
    """The same as it stands in a file: ISO 8601 with its zone, UTC."""
    found = parse_moment(value)
    return found.isoformat() if found else None
