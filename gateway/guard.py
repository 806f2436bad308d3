"""Who writes too much, or answers us like a machine: kept out for a while.

Only messages that are new and admitted are judged, each once. Counts are in
memory and bounded; a restart forgets them, which lets everybody in again.
Asked in the ledger's thread, told of replies in the event loop.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from adapters.base import Inbound
from sessions_app import clock

MAX_PEOPLE = 10_000
"""People remembered; who wrote longest ago is forgotten first."""

MAX_JUDGED = 20_000
"""Messages whose verdict is remembered: platforms hand some over again and again."""

LATE_SECONDS = 60.0
"""A message that was sent longer ago than this piled up somewhere: it is counted by then."""

LATEST_SECONDS = 7 * 24 * 3600.0
"""No platform keeps messages for longer, so no message counts as older."""

MINUTES_KEPT = 64
"""Minutes of a backlog that are counted at a time, for one person."""

LOOP_SECONDS = 5.0
"""A message that comes sooner than this after our reply was hardly typed by a person,"""

INSTANT_SECONDS = 1.5
"""and one that comes sooner than this even less."""

LOOP_REPEATS, LOOP_INSTANTS, LOOP_QUICK = 12, 30, 100
"""So many in a row are a machine's: quick ones that say the same again, instant, quick ones."""

TEXTS_KEPT = 3
"""Who says again what they said so many answers ago repeats themselves."""

PAUSE_SECONDS = 600.0
"""How long a machine is not listened to."""

SLOW_DOWN = "You write faster than I can read. I go on reading in a minute."
LIKE_A_MACHINE = (
    "You answer as quickly as a machine, so I stop reading for ten minutes. "
    "If you are a person, please write again then."
)


@dataclass(slots=True)
class _Person:
    tokens: float
    at: float
    told: bool = False
    replied_at: float | None = None
    texts: deque[str] = field(default_factory=lambda: deque(maxlen=TEXTS_KEPT))
    repeats: int = 0
    instants: int = 0
    quick: int = 0
    paused_until: float = 0.0
    backlog: OrderedDict[int, int] = field(default_factory=OrderedDict)

    def is_loop(self, text: str, now: float) -> bool:
        """Whether this is one quick answer too many. Counts it."""
        said = " ".join(text.casefold().split())
        again, replied_at = said in self.texts, self.replied_at
        self.texts.append(said)
        if replied_at is None:
            return False
        self.replied_at = None
        gap = now - replied_at
        self.quick = self.quick + 1 if gap < LOOP_SECONDS else 0
        self.repeats = self.repeats + 1 if again and gap < LOOP_SECONDS else 0
        self.instants = self.instants + 1 if gap < INSTANT_SECONDS else 0
        return (
            self.repeats >= LOOP_REPEATS
            or self.instants >= LOOP_INSTANTS
            or self.quick >= LOOP_QUICK
        )

    def pause(self, now: float) -> None:
        """Not listened to for a while."""
        self.paused_until = now + PAUSE_SECONDS
        self.repeats = self.instants = self.quick = 0

    def has_room(self, per_minute: float, now: float) -> bool:
        """Whether one more fits into what may be written now. Takes it."""
        gained = (now - self.at) * per_minute / 60.0
        self.tokens, self.at = min(per_minute, self.tokens + gained), now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        self.told = self.told and self.tokens < per_minute / 2
        return True

    def had_room(self, per_minute: float, minute: int) -> bool:
        """The same for an earlier minute, of which messages come in any order."""
        self.backlog[minute] = self.backlog.get(minute, 0) + 1
        if len(self.backlog) > MINUTES_KEPT:
            self.backlog.popitem(last=False)
        return self.backlog.get(minute, 0) <= per_minute


@dataclass(slots=True)
class Verdict:
    """Whether a message is let through; `notice` is what the person is told, once."""

    admitted: bool
    notice: str = ""
    why: str = ""


@dataclass(slots=True)
class Guard:
    """One channel's people. `per_minute` None: no limit. `monotonic` gives seconds.

    `loops`: whether who answers like a machine is kept out.
    """

    per_minute: float | None
    monotonic: Callable[[], float] = time.monotonic
    loops: bool = True
    _people: OrderedDict[str, _Person] = field(default_factory=OrderedDict)
    _judged: OrderedDict[str, bool] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def judge(self, inbound: Inbound) -> Verdict:
        """A new message has come. Handed over again it gets the same verdict, and counts once."""
        if self.per_minute is None and not self.loops:
            return Verdict(True)
        with self._lock:
            known = self._judged.get(inbound.external_id)
            if known is not None:
                return Verdict(known)
            verdict = self._weigh(inbound)
            self._judged[inbound.external_id] = verdict.admitted
            if len(self._judged) > MAX_JUDGED:
                self._judged.popitem(last=False)
            return verdict

    def replied(self, user_id: str) -> None:
        """We have answered this person."""
        with self._lock:
            if person := self._people.get(user_id):
                person.replied_at = self.monotonic()

    def _weigh(self, inbound: Inbound) -> Verdict:
        now, late = self.monotonic(), _lateness(inbound)
        person = self._person(inbound.user_id, now)
        if self.loops and late < LATE_SECONDS and not inbound.by_hand:
            if person.paused_until > now:
                return Verdict(False, why="loop")
            if person.is_loop(inbound.text, now):
                person.pause(now)
                return Verdict(False, LIKE_A_MACHINE, "loop")
        if self.per_minute is None or self._has_room(person, self.per_minute, now, late):
            return Verdict(True)
        told, person.told = person.told, True
        return Verdict(False, "" if told else SLOW_DOWN, "flood")

    @staticmethod
    def _has_room(person: _Person, per_minute: float, now: float, late: float) -> bool:
        if late >= LATE_SECONDS:
            return person.had_room(per_minute, int((now - late) // 60))
        return person.has_room(per_minute, now)

    def _person(self, user_id: str, now: float) -> _Person:
        person = self._people.get(user_id)
        if person is None:
            person = self._people[user_id] = _Person(self.per_minute or 0.0, now)
            if len(self._people) > MAX_PEOPLE:
                self._people.popitem(last=False)
        self._people.move_to_end(user_id)
        return person


def _lateness(inbound: Inbound) -> float:
    """Seconds since it was sent, where the platform says; what piled up is no flood of now."""
    if inbound.sent_at is None:
        return 0.0
    return min(max((clock.now() - inbound.sent_at).total_seconds(), 0.0), LATEST_SECONDS)
