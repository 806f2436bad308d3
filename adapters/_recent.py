"""What was learnt lately: a small memory that forgets what is oldest."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """The last `most` things that were noted. What is noted again is new again.

    A set has None as its values.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[Key, Value] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._kept

    def note(self, key: Key, value: Value) -> bool:
        """Keep it; the oldest goes where there is no room. Whether it was not kept before."""
        is_new = key not in self._kept
        self._kept.pop(key, None)
        self._kept[key] = value
        if len(self._kept) > self._most:
            del self._kept[next(iter(self._kept))]
        return is_new

    def get(self, key: Key) -> Value | None:
        """What was noted, if it is still kept."""
        return self._kept.get(key)
