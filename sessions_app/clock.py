"""The one clock. Everything that asks for the time asks here, so that tests can move it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime


def _utc_now() -> datetime:
    return datetime.now(UTC)


_source: Callable[[], datetime] = _utc_now


def now() -> datetime:
    """The current time, aware, in UTC."""
    return _source()


@contextmanager
def reading(source: Callable[[], datetime]) -> Iterator[None]:
    """Read the time from `source` instead, for as long as the context lasts."""
    global _source
    before, _source = _source, source
    try:
        yield
    finally:
        _source = before
