"""What a check is, and how it can end.

A check returns what it has seen, in a few words, or raises::

    Unfit(seen, hint)
        Failed   the gateway could not work with this
        Warned   it works, and something is still not as it should be
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.conformance.subject import Subject

PASSED = "passed"
WARNING = "warning"
FAILED = "failed"


class Unfit(Exception):
    """What was seen is not as it should be; `hint` says what to do."""

    state = FAILED

    def __init__(self, seen: str, hint: str) -> None:
        super().__init__(seen)
        self.seen = seen
        self.hint = hint


class Failed(Unfit):
    """The gateway could not work with this."""


class Warned(Unfit):
    """It works, and something is still not as it should be."""

    state = WARNING


@dataclass(frozen=True, slots=True)
class Check:
    """One question about an agent. `run` returns what was seen, or raises `Unfit`."""

    name: str
    run: Callable[[Subject], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a check ended. `state` is passed, warning or failed."""

    check: str
    state: str
    seen: str
    hint: str = ""
    seconds: float = 0.0
