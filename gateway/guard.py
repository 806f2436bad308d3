"""Who writes too much, or answers us like a machine: kept out for a while, before the ledger.

Counts are in memory and bounded; a restart forgets them, which lets everybody in again.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

MAX_PEOPLE = 10_000
"""People remembered; who wrote longest ago is forgotten first."""

LOOP_SECONDS = 5.0
"""A message that comes sooner than this after our reply was hardly typed by a person."""

LOOP_TURNS = 12
"""So many of them in a row are a machine's."""

PAUSE_SECONDS = 600.0
"""How long a machine is not listened to."""

SLOW_DOWN = "You write faster than I can read. I go on reading in a minute."


@dataclass(slots=True)
class _Person:
    tokens: float
    at: float
    told: bool = False
    replied_at: float | None = None
    quick: int = 0
    paused_until: float = 0.0


@dataclass(slots=True)
class Verdict:
    """Whether a message is let through; `notice` is what the person is told, once."""

    admitted: bool
    notice: str = ""
    why: str = ""


@dataclass(slots=True)
class Guard:
    """One channel's people. `per_minute` None: no limit. `monotonic` gives seconds."""

    per_minute: float | None
    monotonic: Callable[[], float] = time.monotonic
    _people: OrderedDict[str, _Person] = field(default_factory=OrderedDict)

    def judge(self, user_id: str) -> Verdict:
        """A message of this person has come."""
        if self.per_minute is None:
            return Verdict(True)
        now = self.monotonic()
        person = self._person(user_id, now)
        if person.paused_until > now:
            return Verdict(False, why="loop")
        if self._is_loop(person, now):
            person.paused_until, person.quick = now + PAUSE_SECONDS, 0
            return Verdict(False, why="loop")
        gained = (now - person.at) * self.per_minute / 60.0
        person.tokens, person.at = min(self.per_minute, person.tokens + gained), now
        if person.tokens >= 1.0:
            person.tokens -= 1.0
            person.told = person.told and person.tokens < self.per_minute / 2
            return Verdict(True)
        told, person.told = person.told, True
        return Verdict(False, "" if told else SLOW_DOWN, "flood")

    def replied(self, user_id: str) -> None:
        """We have answered this person."""
        if self.per_minute is not None and (person := self._people.get(user_id)):
            person.replied_at = self.monotonic()

    def _person(self, user_id: str, now: float) -> _Person:
        person = self._people.get(user_id)
        if person is None:
            person = self._people[user_id] = _Person(self.per_minute or 0.0, now)
            if len(self._people) > MAX_PEOPLE:
                self._people.popitem(last=False)
        self._people.move_to_end(user_id)
        return person

    @staticmethod
    def _is_loop(person: _Person, now: float) -> bool:
        """Whether this is one quick answer too many. Counts it."""
        if person.replied_at is None:
            return False
        person.quick = person.quick + 1 if now - person.replied_at < LOOP_SECONDS else 0
        person.replied_at = None
        return person.quick >= LOOP_TURNS
