"""A bad network in front of a fake platform: seeded, so that a run can be repeated.

    fake.weather = Weather(seed=7)

`on_call` says what befalls the next call of our gateway to the platform,
`on_push` what befalls the next event that the platform hands to the gateway.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from typing import Literal

Call = Literal["fine", "lost", "cut", "slow", "busy", "broken"]


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
    """

    retry_after = 1

    def __init__(self, seed: int, share: float = 0.2) -> None:
        self.seed, self.share = seed, share
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self.counts: dict[str, int] = {}

    def on_call(self) -> Call:
        """What befalls this call."""
        with self._lock:
            bad = self._random.random() < self.share
            kinds: tuple[Call, ...] = ("lost", "cut", "slow", "busy", "broken")
            found: Call = self._random.choice(kinds) if bad else "fine"
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
