"""Small plots, drawn by the server as columns; the template puts a table behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from sessions_app import clock
from sessions_app.sql import moment, parse_moment, run_rows

HOURS = 24
WIDTH, HEIGHT, GAP = 480, 72, 4
"""Of the drawing, in its own units."""

_COUNT = """
WITH hours(start, finish) AS ({{rows}})
SELECT hours.start, (SELECT COUNT(*) FROM {table} x WHERE {what}
                     AND {time} >= hours.start AND {time} < hours.finish)
FROM hours
"""

MESSAGES = _COUNT.format(table="sessions_app_message", what="x.role = 'user'", time="x.created_at")
FAILED = _COUNT.format(
    table="gateway_turn",
    what="x.state IN ('failed', 'quarantined')",
    time="x.ended_at",
)
DEAD = _COUNT.format(
    table="gateway_delivery",
    what="x.state IN ('failed', 'expired', 'unsure') AND NOT x.error_code = 'discarded'",
    time="COALESCE(x.failed_at, x.created_at)",
)


@dataclass(frozen=True, slots=True)
class Column:
    """One hour: where it is drawn and what it stands for. A count above 0 is always seen."""

    at: datetime
    value: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Plot:
    """A day of columns. `peak` is the highest of them."""

    name: str
    columns: Sequence[Column]
    peak: int
    total: int


def last_hours() -> list[datetime]:
    """The beginnings of the last 24 hours, oldest first, the current one included."""
    this = clock.now().replace(minute=0, second=0, microsecond=0)
    return [this - timedelta(hours=back) for back in reversed(range(HOURS))]


def counted(sql: str, hours: Sequence[datetime]) -> list[int]:
    """What `sql` counts in each of the hours. One query."""
    rows = [(moment(start), moment(start + timedelta(hours=1))) for start in hours]
    if connection.vendor == "sqlite":  # as the column keeps it: "2026-01-31 12:00:00"
        rows = [(str(start), str(finish)) for start, finish in rows]
    found = {parse_moment(start): int(number) for start, number in run_rows(sql, rows)}
    return [found.get(start, 0) for start in hours]


def draw(name: str, hours: Sequence[datetime], values: Sequence[int]) -> Plot:
    """Columns as high as their values, the highest filling the drawing."""
    peak = max(values, default=0)
    step = WIDTH / max(len(values), 1)
    columns = []
    for index, (at, value) in enumerate(zip(hours, values, strict=True)):
        height = max(value / peak * HEIGHT, 2.0) if value else 0.0
        columns.append(
            Column(
                at=at,
                value=value,
                x=round(index * step + GAP / 2, 1),
                y=round(HEIGHT - height, 1),
                width=round(step - GAP, 1),
                height=round(height, 1),
            )
        )
    return Plot(name, columns, peak, sum(values))
