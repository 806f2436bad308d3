"""When something is due, in words."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from gateway.schedules.when import BadTiming, zone_of

DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")

_DAILY = re.compile(r"(\d{1,2}) (\d{1,2}) \* \* (\*|[0-6]|1-5)")
_UNITS = ((7 * 86400, "week"), (86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def rhythm(kind: str, spec: str) -> str:
    """How often: "every day at 09:00", "every 2 hours", "once"."""
    if kind == "at":
        return "once"
    if kind == "every" and spec.isdecimal() and int(spec):
        return _every(int(spec))
    if match := _DAILY.fullmatch(spec):
        day = {"*": "day", "1-5": "weekday"}.get(match[3]) or DAYS[int(match[3])]
        return f"every {day} at {int(match[2]):02}:{int(match[1]):02}"
    try:
        return CronSim(spec, datetime(2024, 1, 1, tzinfo=UTC)).explain()
    except CronSimError:
        return spec


def local(moment: datetime, timezone: str) -> str:
    """A time for people: "Monday, 1 June 2026 at 09:00 (Europe/Paris)"."""
    try:
        there = moment.astimezone(zone_of(timezone))
    except BadTiming:
        there, timezone = moment.astimezone(UTC), "UTC"
    seconds = f":{there:%S}" if there.second else ""
    return f"{there:%A}, {there.day} {there:%B %Y} at {there:%H:%M}{seconds} ({timezone})"


def _every(seconds: int) -> str:
    size, name = next(unit for unit in _UNITS if seconds % unit[0] == 0)
    count = seconds // size
    return f"every {name}" if count == 1 else f"every {count} {name}s"
