"""A set that stays small: of many things it holds those that came last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Thing = TypeVar("Thing", bound=Hashable)


class Kept(Generic[Thing]):
    """At most `most` things; who was added longest ago is forgotten first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._things: OrderedDict[Thing, None] = OrderedDict()

    def __contains__(self, thing: object) -> bool:
        return thing in self._things

    def __len__(self) -> int:
        return len(self._things)

    def add(self, thing: Thing) -> bool:
        """Keep it. Whether it is new."""
        is_new = thing not in self._things
        self._things[thing] = None
        self._things.move_to_end(thing)
        if len(self._things) > self._most:
            self._things.popitem(last=False)
        return is_new
