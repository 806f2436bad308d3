"""The summary of a person's day: the date, what is due, and what was said since yesterday."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, time, timedelta
from typing import Any

from pi.gateway import Gateway
from pi.tools.dates import long_date
from pi.tools.history import said_at, text_of
from pi.tools.schedules import Schedules, due_at, title

MAX_SAID = 12
MAX_READ = 100


class Summary:
    """A tool. It raises `ToolError`."""

    def __init__(self, gateway: Gateway, schedules: Schedules, asked: Collection[str]) -> None:
        self._gateway = gateway
        self._schedules = schedules
        self._asked = set(asked)

    async def summarise_day(self) -> str:
        """Today's date, what is still due today, and what was said since yesterday."""
        now = await self._schedules.now()
        plans = await self._schedules.plans()
        said = await self._gateway.messages(limit=MAX_READ)
        return "\n\n".join(
            (
                f"Today is {long_date(now)}.",
                _due(plans, now),
                _said([one for one in said if text_of(one) not in self._asked], now),
            )
        )


def _due(plans: list[dict[str, Any]], now: datetime) -> str:
    lines = []
    for plan in plans:
        moment = due_at(plan)
        if moment and moment.astimezone(now.tzinfo).date() == now.date():
            lines.append(f"- {moment.astimezone(now.tzinfo):%H:%M} {title(plan)}")
    if not lines:
        return "Nothing more is due today."
    return "Due today:\n" + "\n".join(lines)


def _said(messages: list[dict[str, Any]], now: datetime) -> str:
    since = datetime.combine(now.date() - timedelta(days=1), time(), now.tzinfo)
    lines = [_line(one, since) for one in messages if one.get("role") == "user"]
    lines = [line for line in reversed(lines) if line]
    if not lines:
        return "You have written nothing since yesterday."
    left_out = f"\n(and {len(lines) - MAX_SAID} before these)" if len(lines) > MAX_SAID else ""
    return "Since yesterday you wrote:\n" + "\n".join(lines[-MAX_SAID:]) + left_out


def _line(message: Mapping[str, Any], since: datetime) -> str:
    moment, text = said_at(message), text_of(message)
    if moment is None or moment < since or not text:
        return ""
    return f"- {moment.astimezone(since.tzinfo):%A %H:%M} {text}"
