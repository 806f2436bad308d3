"""When something planned is due: by cron, every so often, or at a time.

cron    five fields, as Debian's cron reads them, in a time zone. A fixed time that a
        clock change leaves out comes right behind the gap; one that it repeats comes
        once, the first time. What goes by wildcards follows the clock on the wall.
every   seconds, counted from an anchor, so that lateness never adds up
at      ISO 8601: local in the time zone, or with an offset of its own
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

MIN_SECONDS = 60
"""Shortest time between two of `every`, where nothing else is set."""

MAX_SECONDS = 10 * 366 * 86400
"""The longest."""

LAST_YEAR = 9998
"""Later than this no clock can show a time in every time zone."""

NEAR = timedelta(hours=3)
"""No clock change moves further than this."""


class BadTiming(ValueError):
    """A time that cannot be planned; the text says why, for people."""


def check(kind: str, spec: str, timezone: str, min_seconds: int = MIN_SECONDS) -> None:
    """Whether this can be planned at all. Raises `BadTiming`."""
    zone = zone_of(timezone)
    match kind:
        case "cron":
            start = datetime(2024, 1, 1, tzinfo=UTC)
            if next_after(kind, spec, timezone, start, start) is None:
                raise BadTiming(f"{spec!r} never comes")
        case "every":
            seconds = _seconds(spec)
            if not min_seconds <= seconds <= MAX_SECONDS:
                raise BadTiming(f"every {seconds} seconds: at least {min_seconds}")
        case "at":
            _moment(spec, zone)
        case _:
            raise BadTiming(f"{kind!r} is none of cron, every, at")


def next_after(
    kind: str, spec: str, timezone: str, anchor: datetime, after: datetime
) -> datetime | None:
    """The first time strictly after `after`, in UTC; None where there is none any more.

    `anchor` is what `every` counts from. Raises `BadTiming`.
    """
    match kind:
        case "cron":
            return _next_cron(spec, zone_of(timezone), after)
        case "every":
            step = timedelta(seconds=_seconds(spec))
            return anchor + step * max(1, (after - anchor) // step + 1)
        case "at":
            moment = _moment(spec, zone_of(timezone))
            return moment if moment > after else None
    raise BadTiming(f"{kind!r} is none of cron, every, at")


def zone_of(timezone: str) -> ZoneInfo:
    """The time zone of this name. Raises `BadTiming`."""
    try:
        return ZoneInfo(timezone)
    except (KeyError, ValueError, OSError) as error:  # OSError: a folder of zones ("Europe")
        raise BadTiming(f"there is no time zone {timezone!r}") from error


def resolve(local: datetime, zone: ZoneInfo) -> datetime:
    """A time on the wall -> UTC: the first of two, or the first behind a gap."""
    while _instant(local, zone) is None:
        local = (local + timedelta(minutes=1)).replace(second=0)
    return local.replace(tzinfo=zone, fold=0).astimezone(UTC)


def _seconds(spec: str) -> int:
    if not (spec.isascii() and spec.isdecimal() and 0 < len(spec) <= 10 and int(spec)):
        raise BadTiming(f"{spec!r} is no number of seconds")
    return int(spec)


def _moment(spec: str, zone: ZoneInfo) -> datetime:
    """The one time that an `at` means, in UTC."""
    try:
        if len(spec) < len("2030-01-31T09:00") or spec[10] not in "T ":
            raise ValueError
        said = datetime.fromisoformat(spec)
        if said.year > LAST_YEAR:
            raise ValueError
        return said.astimezone(UTC) if said.tzinfo else resolve(said, zone)
    except (ValueError, OverflowError) as error:
        raise BadTiming(f"{spec!r} is no date and time like 2030-01-31T09:00") from error


def _next_cron(spec: str, zone: ZoneInfo, after: datetime) -> datetime | None:
    fields = spec.split()
    if len(fields) != 5:
        raise BadTiming(f"{spec!r} does not have five fields")
    local = after.astimezone(zone)
    try:
        if fields[0].startswith("*") or fields[1].startswith("*"):
            return _next_on_the_wall(spec, zone, after)
        for found in CronSim(spec, local):
            # in the second of two equal hours the wall shows times that have passed
            if found.astimezone(UTC) > after:
                return found.astimezone(UTC)
    except CronSimError as error:
        raise BadTiming(f"{spec!r}: {error}") from error
    except OverflowError:
        return None
    return None


def _next_on_the_wall(spec: str, zone: ZoneInfo, after: datetime) -> datetime | None:
    """The next moment at which the clock on the wall matches, however often it shows that."""
    local = after.astimezone(zone)
    wall = local.replace(tzinfo=None, fold=0)
    steady = len(
        {(after + shift).astimezone(zone).utcoffset() for shift in (-NEAR, NEAR * 0, NEAR)}
    )
    if steady == 1:
        found = next(CronSim(spec, wall), None)
        if found is None:
            return None
        if (instant := _instant(found, zone)) and instant == _instant(found, zone, fold=1):
            return instant
    return min(_around(spec, zone, wall - NEAR, after), default=None)


def _around(spec: str, zone: ZoneInfo, wall: datetime, after: datetime) -> Iterator[datetime]:
    """Moments after `after`, among them the next: near a clock change the wall goes to and fro."""
    enough: datetime | None = None
    for found in CronSim(spec, wall):
        if enough and found > enough:
            return
        for fold in (0, 1):
            instant = _instant(found, zone, fold)
            if instant and instant > after:
                enough = enough or found + NEAR
                yield instant


def _instant(local: datetime, zone: ZoneInfo, fold: int = 0) -> datetime | None:
    """When the wall shows this, in UTC; None where it never does."""
    instant = local.replace(tzinfo=zone, fold=fold).astimezone(UTC)
    there = instant.astimezone(zone).replace(tzinfo=None, fold=0)
    return instant if there == local.replace(tzinfo=None, fold=0) else None
