"""What is planned in this conversation: make, list and cancel it through the gateway."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pi.gateway import DoneBefore, Gateway
from pi.tools import ToolError
from pi.tools.dates import Clock, long_date
from pi.tools.written_dates import MONTHS, WEEKDAYS
from pi.tools.written_times import read_timing

MARK = "Reminder: "
MAX_TEXT = 1000
MAX_LISTED = 20
NOTHING = "Nothing is planned in this conversation."
WHEN = (
    "I could not tell when. Please write it like “tomorrow at 9”, “in 20 minutes” "
    "or “every weekday at 8:30”."
)
_SMALL = {"the", "a", "an", "my", "to", "about", "of", "for", "at", "me", "on", "and"}
_SMALL |= {"it", "that", "this", "them", "these", "those"}


class Schedules:
    """Tools for what is planned. Each raises `ToolError`."""

    def __init__(self, gateway: Gateway, clock: Clock) -> None:
        self._gateway = gateway
        self._clock = clock

    async def remind(self, when: str, text: str) -> str:
        """Send a fixed text to this person later, once or again and again.

        Args:
            when: such as "tomorrow at 9", "in 20 minutes", "every weekday at 8:30", or cron.
            text: what to remind of.
        """
        return await self._add(when, {"text": MARK + _short(text)})

    async def plan_task(self, when: str, task: str) -> str:
        """Do something later, once or again and again, and send the person the result.

        Args:
            when: such as "every day at 9:00", "on Friday at 15:00", or a cron expression.
            task: what you are to do then, as an instruction to yourself.
        """
        return await self._add(when, {"prompt": _short(task)})

    async def list_plans(self) -> str:
        """The reminders and tasks planned in this conversation, with their ids."""
        lines = [await self.shown(plan) for plan in await self.plans()]
        return "\n".join(f"- {line}" for line in lines[:MAX_LISTED]) or NOTHING

    async def cancel_plan(self, which: str) -> str:
        """Cancel one reminder or task of this conversation.

        Args:
            which: its id, or words from its text.
        """
        found = matching(await self.plans(), which)
        if not found:
            raise ToolError(f"Nothing planned here matches “{which.strip()[:60]}”.")
        if len(found) > 1:
            lines = [f"- {await self.shown(plan)}" for plan in found[:MAX_LISTED]]
            raise ToolError("More than one matches; which one?\n" + "\n".join(lines))
        await self._gateway.cancel_schedule(str(found[0]["id"]))
        return f"Cancelled: {title(found[0])}."

    async def cancel_all_plans(self) -> str:
        """Cancel every reminder and task of this conversation."""
        plans = await self.plans()
        for plan in plans:
            await self._gateway.cancel_schedule(str(plan["id"]))
        return "\n".join(f"- Cancelled: {title(plan)}." for plan in plans) or NOTHING

    async def plans(self) -> list[dict[str, Any]]:
        """What is still to come, soonest first."""
        plans = [plan for plan in await self._gateway.schedules() if plan.get("next_run")]
        return sorted(plans, key=lambda plan: str(plan["next_run"]))

    async def shown(self, plan: Mapping[str, Any]) -> str:
        """One plan in one line: when, what, and its id."""
        return f"{rhythm(plan)}{due(plan)}: {title(plan)} (id {plan.get('id')})"

    async def now(self) -> datetime:
        """The person's local time."""
        return self._clock().astimezone(zone_of(await self._gateway.me()))

    async def _add(self, when: str, what: dict[str, str]) -> str:
        now = await self.now()
        timing = read_timing(when, now)
        if timing is None:
            raise ToolError(WHEN)
        new = {"kind": timing.kind, "spec": timing.spec, "timezone": str(now.tzinfo), **what}
        try:
            made = await self._gateway.add_schedule(new, f"{when}\0{what}")
        except DoneBefore:  # an earlier try of this turn: "in 20 minutes" was another time then
            made = next((one for one in await self.plans() if _same(one, what)), {})
        plan = {**new, **made}
        return f"Planned {rhythm(plan)}{due(plan)}: {title(plan)}."


def _same(plan: Mapping[str, Any], what: Mapping[str, str]) -> bool:
    return all(plan.get(field) == text for field, text in what.items())


def zone_of(me: Mapping[str, Any]) -> ZoneInfo:
    """The time zone the gateway names for a person; UTC where it names none that is known."""
    try:
        return ZoneInfo(str(me.get("timezone") or "UTC"))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def title(plan: Mapping[str, Any]) -> str:
    """What a plan is about, on one line."""
    words = str(plan.get("text") or plan.get("prompt") or "").removeprefix(MARK)
    return " ".join(words.split())[:200]


def due_at(plan: Mapping[str, Any]) -> datetime | None:
    """When it is due next, in its own time zone."""
    try:
        moment = datetime.fromisoformat(str(plan.get("next_run")))
    except ValueError:
        return None
    return moment.astimezone(zone_of(plan))


def due(plan: Mapping[str, Any]) -> str:
    """When it is due next, for people."""
    moment = due_at(plan)
    if moment is None:
        return "at a time the gateway chose" if plan.get("kind") == "at" else ""
    words = f"{moment:%H:%M} on {long_date(moment)} ({moment.tzname()})"
    return words if plan.get("kind") == "at" else f", next at {words}"


def rhythm(plan: Mapping[str, Any]) -> str:
    """How often, for people; empty for once."""
    kind, spec = plan.get("kind"), str(plan.get("spec"))
    if kind == "every" and spec.isdigit():
        return f"every {_duration(int(spec))}"
    return cron_words(spec) if kind == "cron" else ""


def cron_words(spec: str) -> str:
    """A cron expression in words where it is a plain one, else as it stands."""
    fields = spec.split()
    if len(fields) != 5 or not (fields[0].isdigit() and fields[1].isdigit()):
        return f"by cron {spec}"
    clock, (day, month, weekday) = f"{int(fields[1]):02}:{int(fields[0]):02}", fields[2:]
    names = {"*": "every day", "1-5": "every weekday", "6,0": "every weekend"}
    if day == month == "*" and weekday in names:
        return f"{names[weekday]} at {clock}"
    if day == month == "*" and all(one in "0123456" for one in weekday.split(",")):
        days = (WEEKDAYS[(int(one) - 1) % 7].capitalize() for one in weekday.split(","))
        return f"every {' and '.join(days)} at {clock}"
    if nth := re.fullmatch("([0-6])(?:#([1-4])|(L))", weekday if day == month == "*" else ""):
        which = "last" if nth[3] else ("first", "second", "third", "fourth")[int(nth[2]) - 1]
        return (
            f"every {which} {WEEKDAYS[(int(nth[1]) - 1) % 7].capitalize()} of the month at {clock}"
        )
    if day == "L" and weekday == month == "*":
        return f"on the last day of every month at {clock}"
    if day.isdigit() and weekday == "*" and month == "*":
        return f"on day {day} of every month at {clock}"
    if day.isdigit() and weekday == "*" and month.isdigit() and 1 <= int(month) <= 12:
        return f"every {day} {MONTHS[int(month) - 1].capitalize()} at {clock}"
    return f"by cron {spec}"


def matching(plans: Sequence[dict[str, Any]], which: str) -> list[dict[str, Any]]:
    """The plans with this id, else those that hold every word."""
    wanted = which.strip()
    if exact := [plan for plan in plans if plan.get("id") == wanted]:
        return exact
    words = set(re.findall(r"\w+", wanted.lower())) - _SMALL
    if words in ({"last"}, {"last", "one"}, {"latest"}, {"newest"}):
        return (
            [max(plans, key=lambda plan: str(plan.get("id")))] if plans else []
        )  # ids are in order
    return [plan for plan in plans if words and words <= _names(plan)]


def _names(plan: Mapping[str, Any]) -> set[str]:
    """Every word a plan may be called by."""
    often = rhythm(plan).lower()
    daily = "daily " if often.startswith("every day") else ""
    return set(re.findall(r"\w+", f"{title(plan)} {often} {daily}".lower()))


def _short(text: str) -> str:
    words = text.strip()
    if not words:
        raise ToolError("I do not know what it is about.")
    if len(words) > MAX_TEXT:
        raise ToolError(f"That is too long to plan: at most {MAX_TEXT} characters.")
    return words


def _duration(seconds: int) -> str:
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds % size == 0:
            count = seconds // size
            return unit if count == 1 else f"{count} {unit}s"
    return f"{seconds} seconds"
