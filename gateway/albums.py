"""Albums in groups: only one part carries the words that make it ours, and all of them are.

Parts arrive one by one, mostly the one with the words first. What is remembered
is in memory, bounded and short: an album is sent within seconds.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from adapters.base import Inbound

Key = tuple[str, str, str]

KEPT_SECONDS = 120.0
MAX_ALBUMS = 1000
MAX_PARTS = 20


@dataclass(slots=True)
class _Album:
    at: float
    addressed: bool = False
    parts: list[Inbound] = field(default_factory=list)


@dataclass(slots=True)
class Albums:
    """One channel's albums. `monotonic` gives seconds."""

    monotonic: Callable[[], float] = time.monotonic
    _known: OrderedDict[Key, _Album] = field(default_factory=OrderedDict)

    def gather(self, inbounds: Sequence[Inbound]) -> list[Inbound]:
        """The same, with all parts of an album addressed where one is.

        Parts that came before the one that addresses us stand before it.
        """
        found: list[Inbound] = []
        for item in inbounds:
            found += self._gathered(item) if _is_part(item) else [item]
        return found

    def _gathered(self, item: Inbound) -> list[Inbound]:
        album = self._album((item.chat_id, item.user_id, item.album))
        if not item.addressed and not album.addressed:
            album.parts = [*album.parts, item][-MAX_PARTS:]
            return [item]
        earlier, album.parts, album.addressed = album.parts, [], True
        return [replace(one, addressed=True) for one in (*earlier, item)]

    def _album(self, key: Key) -> _Album:
        now = self.monotonic()
        while self._known:
            oldest = next(iter(self._known))
            late = self._known[oldest].at < now - KEPT_SECONDS
            if not late and len(self._known) < MAX_ALBUMS:
                break
            del self._known[oldest]
        return self._known.setdefault(key, _Album(now))


def _is_part(item: Inbound) -> bool:
    return item.is_group and bool(item.album) and not item.is_edit
