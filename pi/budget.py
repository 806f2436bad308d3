"""How much the model may be used: tokens and dollars, for each session and each day."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from pi.config import Config
from pi.gateway import Gateway
from pi.tools import ToolError

log = logging.getLogger("pi")

MAX_REMEMBERED = 10_000
SPENT = {
    "session": (
        "This conversation has used up what it may use of the language model ({used}). "
        "Start a new one with /new, or ask whoever runs this gateway to raise the limit."
    ),
    "day": (
        "You have used up what may be used of the language model in a day ({used}). "
        "Please try again tomorrow."
    ),
}


@dataclass(slots=True)
class Used:
    """Tokens and dollars used."""

    tokens: int = 0
    cost: float = 0.0

    def add(self, usage: Mapping[str, Any]) -> None:
        """Count one more answer."""
        self.tokens += _count(usage, "input_tokens") + _count(usage, "output_tokens")
        self.cost += _number(usage.get("cost"))


Limits = Mapping[str, tuple[int, float]]
"""Scope (session, day) -> tokens and dollars; 0 is no limit."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one turn may use: the limits, and what was used before it."""

    limits: Limits
    before: Mapping[str, Used]

    def refusal(self, usage: Mapping[str, Any]) -> str:
        """What to say instead of calling the model once more; empty where it may be called.

        `usage` is what the turn itself has used so far.
        """
        for scope, (most_tokens, most_cost) in self.limits.items():
            before = self.before.get(scope, Used())
            used = Used(before.tokens, before.cost)
            used.add(usage)
            if most_tokens and used.tokens >= most_tokens:
                return SPENT[scope].format(used=f"{most_tokens} tokens")
            if most_cost and used.cost >= most_cost:
                return SPENT[scope].format(used=f"${most_cost:g}")
        return ""


class Budget:
    """Asked before each turn; its allowance before each call of the model. What the gateway
    has counted decides.

    Where that is less, or there is none, what this process remembers: of the latest
    sessions, since it started, a session counting as a person.
    """

    def __init__(self, config: Config, today: Callable[[], date]) -> None:
        self._limits = {
            "session": (config.session_tokens, config.session_cost),
            "day": (config.day_tokens, config.day_cost),
        }
        self._today = today
        self._sessions: OrderedDict[str, Used] = OrderedDict()
        self._days: OrderedDict[tuple[date, str], Used] = OrderedDict()

    async def allowance(self, session: str, gateway: Gateway) -> Allowance:
        """What a turn of this session may use."""
        limited = any(limit for limits in self._limits.values() for limit in limits)
        return Allowance(self._limits, await self._used(session, gateway) if limited else {})

    def add(self, session: str, usage: Mapping[str, Any]) -> None:
        """Remember what an answer used."""
        _remembered(self._sessions, session).add(usage)
        _remembered(self._days, (self._today(), session)).add(usage)

    async def _used(self, session: str, gateway: Gateway) -> dict[str, Used]:
        own = {
            "session": self._sessions.get(session, Used()),
            "day": self._days.get((self._today(), session), Used()),
        }
        if not gateway.granted:
            return own
        try:
            counted = await gateway.usage()
        except ToolError as problem:
            log.warning("usage not told by the gateway, own count used: %s", problem)
            return own
        return {scope: _larger(own[scope], _read(counted.get(scope))) for scope in self._limits}


def _remembered(kept: OrderedDict[Any, Used], key: Any) -> Used:
    used = kept.setdefault(key, Used())
    kept.move_to_end(key)
    if len(kept) > MAX_REMEMBERED:
        kept.popitem(last=False)
    return used


def _larger(one: Used, other: Used) -> Used:
    """An answer that broke off is counted here and not by the gateway."""
    return Used(max(one.tokens, other.tokens), max(one.cost, other.cost))


def _read(counted: Any) -> Used:
    used = Used()
    if isinstance(counted, dict):
        used.add(counted)
    return used


def _count(usage: Mapping[str, Any], name: str) -> int:
    return int(_number(usage.get(name)))


def _number(value: Any) -> float:
    try:
        return float(value or 0)
    except (TypeError, ValueError):
        return 0.0
