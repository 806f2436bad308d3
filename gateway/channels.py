"""Channels: found by their files, configured by their prefix, built by their name."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import httpx
from django.conf import settings

import adapters
from adapters.base import Adapter, Build, Capabilities, Inbound, Problem
from sessions_app.manager import SessionManager

ACCESS = ("pairing", "allowlist", "open")
GROUPS = ("mention", "all", "off")
GROUP_SESSIONS = ("chat", "member")
PREVIEW = ("on", "off")
RATES = ("platform", "unlimited")


class ChannelError(Exception):
    """A channel that cannot be had: no such file, or its SDK is missing."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the core decides for a channel; the same names for every one.

    access           pairing, allowlist or open
    allow            user ids let in by the allowlist
    rate             platform, or unlimited
    groups           answer in groups when mentioned, always ("all"), or not at all ("off")
    group_sessions   one session per chat, or one per member
    idle_seconds     idle time-out; None for the default
    group_context    how many unaddressed messages of a group are kept as context; 0 for none
    flood            messages a minute taken from one person; 0 for no limit
    preview          on: show answers while they are written, where the platform can; off
    """

    access: str = "pairing"
    allow: frozenset[str] = frozenset()
    rate: str = "platform"
    groups: str = "mention"
    group_sessions: str = "chat"
    idle_seconds: float | None = None
    group_context: int = 20
    flood: int = 60
    preview: str = "on"

    def admits(self, inbound: Inbound, access: str) -> bool:
        """Whether this sender may talk to an agent. `access` is the contact's own."""
        return self.lets_in((inbound.user_id, *(inbound.aliases or ())), access)

    def lets_in(self, ids: Iterable[str], access: str) -> bool:
        """The same for a person, by all ids they are known by.

        Who is not known yet gets in by the allowlist or where everyone may; an
        operator's word about a contact counts for more than either.
        """
        if access == "blocked":
            return False
        if access == "allowed" or self.access == "open":
            return True
        return not self.allow.isdisjoint(ids)

    def pairs(self, inbound: Inbound, access: str) -> bool:
        """Whether a sender who is not let in gets a code: unknown people in direct chats."""
        asks = not (inbound.is_group or inbound.passive or inbound.is_edit)
        return self.access == "pairing" and access == "pending" and asks

    def hears(self, inbound: Inbound) -> bool:
        """Whether a message is for us at all: in groups by the mention rule."""
        if inbound.passive:
            return False
        if not inbound.is_group:
            return True
        return self.groups == "all" or (self.groups == "mention" and inbound.addressed)

    def overhears(self, inbound: Inbound) -> bool:
        """Whether what is not for us is kept as context of the next message that is."""
        return self.group_context > 0 and not (inbound.is_group and self.groups == "off")


def installed() -> list[str]:
    """Names of all adapters that have a file, enabled or not."""
    return sorted(
        module.name
        for module in pkgutil.iter_modules(adapters.__path__)
        if not module.name.startswith("_") and module.name != "base"
    )


def load(name: str) -> type[Adapter]:
    """The adapter class in `adapters/<name>.py`. Raises `ChannelError`."""
    if name not in installed():
        raise ChannelError(f"there is no channel {name!r}; there are {', '.join(installed())}")
    try:
        module = importlib.import_module(f"adapters.{name}")
    except ImportError as error:
        raise ChannelError(f"channel {name!r} needs a package that is missing: {error}") from error
    for _, member in inspect.getmembers(module, inspect.isclass):
        if issubclass(member, Adapter) and member.__module__ == module.__name__:
            return member
    raise ChannelError(f"adapters/{name}.py holds no Adapter")


@cache
def capabilities(name: str) -> Capabilities | None:
    """The facts about a channel's platform; None where there is no such channel."""
    try:
        return load(name).capabilities
    except ChannelError:
        return None


def configuration(name: str) -> Any:
    """The adapter's `Config`, filled from OPENCLAW_<NAME>_*."""
    config = load(name).Config
    values = settings.OPENCLAW_CHANNEL_SETTINGS.get(name, {})
    return config(**{f.name: values[f.name] for f in fields(config) if f.name in values})


def rules(name: str) -> Rules:
    """What the core decides for this channel. Raises `ValueError` on a bad number."""
    values: Mapping[str, str] = settings.OPENCLAW_CHANNEL_SETTINGS.get(name, {})
    idle = values.get("idle_seconds")
    return Rules(
        access=values.get("access") or _default_access(name),
        allow=_allowed(name, values.get("allow", "")),
        rate=values.get("rate") or "platform",
        groups=values.get("groups") or "mention",
        group_sessions=values.get("group_sessions") or "chat",
        idle_seconds=float(idle) if idle else None,
        group_context=int(values.get("group_context") or 20),
        flood=int(values.get("flood") or (0 if values.get("rate") == "unlimited" else 60)),
        preview=values.get("preview") or "on",
    )


def _allowed(name: str, written: str) -> frozenset[str]:
    """The ids of an allowlist, as messages have them. An adapter that is missing changes none."""
    parts = [part for item in written.split(",") if (part := item.strip())]
    if not parts:
        return frozenset()
    try:
        return frozenset(map(load(name).user_id, parts))
    except ChannelError:
        return frozenset(parts)


def build(name: str, transport: httpx.AsyncBaseTransport) -> Adapter:
    """The adapter, configured, on the process's shared transport."""
    make: Build = load(name)
    return make(configuration(name), transport)


def problems(name: str) -> list[Problem]:
    """All that is wrong with a channel's configuration, without asking the platform."""
    try:
        adapter = load(name)
        found = adapter.problems(configuration(name), settings.OPENCLAW_PUBLIC_URL)
    except ChannelError as error:
        return [Problem("channel", str(error), "Look at OPENCLAW_CHANNELS.")]
    return [*found, *_rule_problems(name)]


def left_out() -> dict[str, list[Problem]]:
    """Enabled channels that cannot start, and why. The gateway runs without them."""
    return {name: found for name in settings.OPENCLAW_CHANNELS if (found := problems(name))}


def session_manager() -> SessionManager:
    """Sessions with the time-outs of the enabled channels, and the rule for who returns."""
    idle: dict[str, float] = {"": float(settings.OPENCLAW_IDLE_SECONDS)}
    for name in settings.OPENCLAW_CHANNELS:
        values = settings.OPENCLAW_CHANNEL_SETTINGS.get(name, {})
        if _is_positive(seconds := values.get("idle_seconds", "")):
            idle[name] = float(seconds)
    return SessionManager(idle, restore_returning=settings.OPENCLAW_RESTORE == "always")


def _is_positive(value: str) -> bool:
    return value.replace(".", "", 1).isdigit() and float(value) > 0


def _rule_problems(name: str) -> list[Problem]:
    values = settings.OPENCLAW_CHANNEL_SETTINGS.get(name, {})
    prefix = f"OPENCLAW_{name.upper()}_"
    choices = {
        "access": ACCESS,
        "rate": RATES,
        "groups": GROUPS,
        "group_sessions": GROUP_SESSIONS,
        "preview": PREVIEW,
    }
    found = [
        Problem(
            field,
            f"{prefix}{field.upper()} is {values[field]!r}",
            f"Use one of: {', '.join(allowed)}.",
        )
        for field, allowed in choices.items()
        if values.get(field) and values[field] not in allowed
    ]
    for field in ("group_context", "flood"):
        if values.get(field) and not values[field].isdecimal():
            hint = "Use a whole number; 0 for none."
            found.append(Problem(field, f"{prefix}{field.upper()} is {values[field]!r}", hint))
    idle = values.get("idle_seconds")
    if idle and not _is_positive(idle):
        hint = "Use a number of seconds above zero."
        found.append(Problem("idle_seconds", f"{prefix}IDLE_SECONDS is {idle!r}", hint))
    return found


def _default_access(name: str) -> str:
    """Unknown senders are not let in, except where a page or a token of ours has done so."""
    return "open" if name in ("webchat", "openai") else "pairing"
