"""A bad network in front of a fake platform: seeded, so that a run can be repeated.

    fake.weather = Weather(seed=7)

`on_call` says what befalls the next call of our gateway to the platform,
`on_push` what befalls the next event that the platform hands to the gateway.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Literal

Call = Literal["fine", "lost", "cut", "slow", "busy", "broken"]

UNSURE = ("lost", "cut", "broken")
MOST_UNSURE = 3
"""In a row: after five the gateway leaves a message to the operator, as it should."""


@dataclass(frozen=True, slots=True)
class Push:
    """One event's way: handed over `times` times, the first after `delay` seconds."""

    times: int = 1
    delay: float = 0.0


class Weather:
    """Draws what goes wrong; `share` of everything does. May be asked from any thread.

    lost    the connection is closed before the platform read the call
    cut     the connection is closed after the platform did what was asked
    slow    the answer takes `pause()` seconds
    busy    429 with a wait of `retry_after` seconds, in the platform's own form
    broken  a 5xx, nothing done

    Who does not know whether a call was done gets to know it at the fourth try.
    """

    retry_after = 1

    def __init__(self, seed: int, share: float = 0.2) -> None:
        self.seed, self.share = seed, share
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self.counts: dict[str, int] = {}
        self._unsure: Counter[str] = Counter()

    def on_call(self, what: str) -> Call:
        """What befalls this call. `what` says its kind and to whom: a try again says the same."""
        with self._lock:
            bad = self._random.random() < self.share
            kinds: tuple[Call, ...] = ("lost", "cut", "slow", "busy", "broken")
            found: Call = self._random.choice(kinds) if bad else "fine"
            if self._unsure[what] >= MOST_UNSURE:
                found = "fine"
            self._unsure[what] = self._unsure[what] + 1 if found in UNSURE else 0
            self.counts[found] = self.counts.get(found, 0) + 1
            return found

    def pause(self) -> float:
        """Seconds that a slow answer takes."""
        with self._lock:
            return self._random.uniform(0.05, 0.5)

    def on_push(self) -> Push:
        """How this event is handed over: doubled, or late enough to be overtaken."""
        with self._lock:
            if self._random.random() >= self.share:
                return Push()
            return Push(times=self._random.choice((1, 2)), delay=self._random.uniform(0.0, 0.3))
