"""Which sessions are meant: by id, person, channel and time, in the database and in files."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import CommandParser
from django.db.models import Q

from sessions_app import clock
from sessions_app.archive import Whole
from sessions_app.models import Contact

UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@dataclass(frozen=True, slots=True)
class Selection:
    """Sessions that fit everything that is given. `since` and `until` bound the last activity."""

    sessions: tuple[str, ...] = ()
    person: str = ""
    channel: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def __bool__(self) -> bool:
        return bool(self.sessions or self.person or self.channel or self.since or self.until)

    def query(self) -> Q:
        """The condition on `Session` rows."""
        found = Q()
        if self.sessions:
            found &= Q(pk__in=self.sessions)
        if self.person:
            # not iexact: SQLite compares the case of ASCII letters only
            people = Contact.objects.values_list("pk", "user_id", "name").iterator()
            found &= Q(contact__in=[key for key, *who in people if self._is_person(*who)])
        if self.channel:
            found &= Q(channel=self.channel)
        if self.since:
            found &= Q(last_activity__gte=self.since)
        if self.until:
            found &= Q(last_activity__lt=self.until)
        return found

    def fits(self, whole: Whole) -> bool:
        """The same for a session out of a file, checked."""
        session, contact = whole["session"], whole["contact"]
        return (
            (not self.sessions or session["id"] in self.sessions)
            and (not self.person or self._is_person(contact["user_id"], contact["name"]))
            and (not self.channel or session["channel"] == self.channel)
            and (not self.since or session["last_activity"] >= self.since)
            and (not self.until or session["last_activity"] < self.until)
        )

    def _is_person(self, user_id: str, name: str) -> bool:
        return user_id == self.person or name.casefold() == self.person.casefold()


def add_arguments(parser: CommandParser) -> None:
    """The options by which a command lets people choose sessions."""
    group = parser.add_argument_group("which sessions")
    group.add_argument(
        "--session", action="append", default=[], metavar="ID", help="This one; may be repeated."
    )
    group.add_argument(
        "--person", default="", metavar="ID_OR_NAME", help="Those of this user id, or this name."
    )
    group.add_argument("--channel", default="", metavar="NAME", help="Those of this channel.")
    when = "a date, a time (2026-11-22T18:00, UTC), or an age like 90m, 12h, 7d, 2w"
    group.add_argument(
        "--since", type=a_time, metavar="TIME", help=f"Last used then or later: {when}."
    )
    group.add_argument("--until", type=a_time, metavar="TIME", help="Last used before then.")


def selection(options: dict[str, Any]) -> Selection:
    """What was chosen."""
    return Selection(
        sessions=tuple(options["session"]),
        person=options["person"],
        channel=options["channel"],
        since=options["since"],
        until=options["until"],
    )


def a_time(value: str) -> datetime:
    """A time as people write it. Raises `argparse.ArgumentTypeError`."""
    if age := re.fullmatch(r"(\d{1,6})([mhdw])", value.strip()):
        return clock.now() - timedelta(seconds=int(age[1]) * UNITS[age[2]])
    try:
        found = datetime.fromisoformat(value.strip())
    except ValueError:
        raise argparse.ArgumentTypeError(f"{value!r} is no time") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
