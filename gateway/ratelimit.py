"""How fast may be sent: token buckets per bot and per chat, and waits a platform asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from adapters.base import Capabilities, Rate

Lane = tuple[str, str]


@dataclass(slots=True)
class _Bucket:
    rate: Rate
    tokens: float
    at: float

    def refill(self, now: float) -> None:
        gained = (now - self.at) * self.rate.per_second
        self.tokens = min(float(self.rate.burst), self.tokens + gained)
        self.at = now

    def wait(self, now: float) -> float:
        """Seconds until there is a whole token."""
        self.refill(now)
        return max(0.0, (1.0 - self.tokens) / self.rate.per_second)


class RateLimiter:
    """Permits for sends. Asked in the ledger's thread, told of waits in the event loop.

    `monotonic` gives seconds. A full bucket is forgotten: a fresh one is the same.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._rules: dict[str, Capabilities | None] = {}
        self._bots: dict[str, _Bucket] = {}
        self._chats: dict[Lane, _Bucket] = {}
        self._lane_until: dict[Lane, float] = {}
        self._bot_until: dict[str, float] = {}
        self._down: set[str] = set()
        self._left_until: float | None = None

    def add_channel(self, name: str, capabilities: Capabilities, unlimited: bool) -> None:
        """From now on `name` may send, at the pace of its platform unless `unlimited`."""
        with self._lock:
            self._rules[name] = None if unlimited else capabilities
            if not unlimited and capabilities.bot_rate:
                rate = capabilities.bot_rate
                self._bots[name] = _Bucket(rate, float(rate.burst), self._monotonic())
            self._down.discard(name)

    def remove_channel(self, name: str) -> None:
        """`name` is down: nothing of it is claimed until it is added again."""
        with self._lock:
            self._down.add(name)

    def hold(self, channel: str, chat_id: str, seconds: float) -> None:
        """The platform asked for a pause on this lane."""
        with self._lock:
            self._lane_until[channel, chat_id] = self._monotonic() + seconds

    def hold_bot(self, channel: str, seconds: float) -> None:
        """The platform asked for a pause of everything on this channel."""
        with self._lock:
            until = self._monotonic() + seconds
            self._bot_until[channel] = max(until, self._bot_until.get(channel, 0.0))

    def open_channels(self) -> list[str]:
        """Channels that are up and have a permit left for the whole bot. A claim begins here."""
        now = self._monotonic()
        with self._lock:
            self._left_until = None
            waits = {name: self._bot_wait(name, now) for name in self._rules}
            for wait in waits.values():
                self._leave(now, wait)
            up = [name for name in self._rules if name not in self._down]
            return [name for name in up if waits.get(name, 0.0) == 0.0]

    def held_lanes(self) -> list[Lane]:
        """Lanes that have to wait for their own bucket or by the platform's word."""
        now = self._monotonic()
        with self._lock:
            for lane in [lane for lane, until in self._lane_until.items() if until <= now]:
                del self._lane_until[lane]
            self._prune(now)
            waits = {lane: until - now for lane, until in self._lane_until.items()}
            for lane, bucket in self._chats.items():
                if (wait := bucket.wait(now)) > 0.0:
                    waits[lane] = max(wait, waits.get(lane, 0.0))
            for wait in waits.values():
                self._leave(now, wait)
            return list(waits)

    def admit(self, channel: str, chat_id: str, is_group: bool) -> bool:
        """Take one permit of the bot's bucket and the chat's; neither if one is empty."""
        now = self._monotonic()
        with self._lock:
            rules = self._rules.get(channel)
            if rules is None:
                return channel in self._rules
            buckets = [self._bots[channel]] if channel in self._bots else []
            if rate := rules.group_rate if is_group else rules.chat_rate:
                fresh = _Bucket(rate, float(rate.burst), now)
                buckets.append(self._chats.setdefault((channel, chat_id), fresh))
            if (wait := max((bucket.wait(now) for bucket in buckets), default=0.0)) > 0.0:
                self._leave(now, wait)
                return False
            for bucket in buckets:
                bucket.tokens -= 1.0
            return True

    def admit_bot(self, channel: str) -> bool:
        """Take one permit of the bot's bucket alone, unless the platform asked for a pause."""
        now = self._monotonic()
        with self._lock:
            if channel not in self._rules or self._bot_wait(channel, now) > 0.0:
                return False
            if channel in self._bots:
                self._bots[channel].tokens -= 1.0
            return True

    def next_permit(self) -> float | None:
        """Seconds until something that waits now may go, or None if nothing waits.

        0, once, where the last claim left something behind that may go by now.
        """
        now = self._monotonic()
        with self._lock:
            if self._left_until is not None and self._left_until <= now:
                self._left_until = None
                return 0.0
            waits = [until - now for until in self._lane_until.values()]
            waits += [until - now for until in self._bot_until.values()]
            waits += [bucket.wait(now) for bucket in (*self._bots.values(), *self._chats.values())]
            waits = [wait for wait in waits if wait > 0.0]
            return min(waits) if waits else None

    def _bot_wait(self, channel: str, now: float) -> float:
        """Seconds until this channel's bot may send anything at all."""
        asked = max(self._bot_until.get(channel, 0.0) - now, 0.0)
        if not asked:
            self._bot_until.pop(channel, None)
        return max(asked, self._bots[channel].wait(now)) if channel in self._bots else asked

    def _leave(self, now: float, wait: float) -> None:
        """The claim under way leaves something behind for `wait` seconds."""
        if wait > 0.0 and (self._left_until is None or now + wait < self._left_until):
            self._left_until = now + wait

    def _prune(self, now: float) -> None:
        for lane, bucket in list(self._chats.items()):
            bucket.refill(now)
            if bucket.tokens >= bucket.rate.burst:
                del self._chats[lane]
