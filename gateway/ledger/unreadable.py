"""Rows that cannot be read: each ends by itself, so that it holds up nobody else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from sessions_app.sql import Row

logger = logging.getLogger(__name__)

UNREADABLE = "unreadable"
"""Error code of such a row."""

FAULTS = (AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What a row raises that holds something else than it should."""

MAX_DETAIL = 200

Built = TypeVar("Built")


def build_each(
    rows: Sequence[Row], build: Callable[[Row], Built]
) -> tuple[list[Built], list[tuple[Row, str]]]:
    """What `build` makes of each row, and the rows that it fails on with the reason."""
    built: list[Built] = []
    faulty: list[tuple[Row, str]] = []
    for row in rows:
        try:
            built.append(build(row))
        except FAULTS as error:
            faulty.append((row, explain(error)))
    return built, faulty


def explain(error: BaseException) -> str:
    """What is wrong, as it is kept with the row."""
    return f"{type(error).__name__}: {error}"[:MAX_DETAIL]


def log_unreadable(what: str, faulty: Sequence[tuple[object, str]]) -> None:
    """Say which rows they were: (id, reason)."""
    for row, reason in faulty:
        logger.error("%s %s cannot be read: %s", what, row, reason)
