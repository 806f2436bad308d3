"""Misconfiguration, found before anything starts: `python manage.py check`.

Errors (openclaw.E…) concern the whole gateway: it does not start with them.
Warnings (openclaw.W…, openclaw.channel.…) let it start. All that is wrong with
one channel is a warning, because the gateway runs without that channel then.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from gateway import channels
from gateway.schedules.when import BadTiming, zone_of

TAG = "openclaw"

CHOICES: dict[str, tuple[str, ...]] = {
    "OPENCLAW_RESTORE": ("never", "on_restart", "always"),
    "OPENCLAW_JSON": ("archive", "off", "mirror"),
    "OPENCLAW_DURABILITY": ("full", "normal", "batched"),
    "OPENCLAW_UNSURE": ("resend", "hold"),
    "OPENCLAW_LOG_FORMAT": ("auto", "text", "json"),
    "OPENCLAW_LOG_LEVEL": ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
}
ABOVE_ZERO = (
    "OPENCLAW_AGENT_CONNECT_SECONDS",
    "OPENCLAW_AGENT_FIRST_TOKEN_SECONDS",
    "OPENCLAW_AGENT_BETWEEN_TOKENS_SECONDS",
    "OPENCLAW_AGENT_TOTAL_SECONDS",
    "OPENCLAW_AGENT_ATTEMPTS",
    "OPENCLAW_AGENT_MAX_BYTES",
    "OPENCLAW_AGENT_MAX_TURNS",
    "OPENCLAW_AGENT_CIRCUIT_SECONDS",
    "OPENCLAW_AGENT_START_SECONDS",
    "OPENCLAW_HISTORY_MESSAGES",
    "OPENCLAW_IDLE_SECONDS",
    "OPENCLAW_FLUSH_SECONDS",
    "OPENCLAW_DELIVERY_MAX_AGE",
    "OPENCLAW_MAX_BODY_BYTES",
    "OPENCLAW_MEDIA_MAX_BYTES",
    "OPENCLAW_MEDIA_FETCH_SECONDS",
    "OPENCLAW_MEDIA_AGENT_LINK_SECONDS",
    "OPENCLAW_MEDIA_LINK_SECONDS",
    "OPENCLAW_SCHEDULES_MIN_SECONDS",
    "OPENCLAW_API_KEY_DAYS",
)
NOT_NEGATIVE = (
    "OPENCLAW_AGENT_CIRCUIT_FAILURES",
    "OPENCLAW_AGENT_MAX_MEMORY_MB",
    "OPENCLAW_AGENT_RETRY_SECONDS",
    "OPENCLAW_API_PER_MINUTE",
    "OPENCLAW_DRAIN_SECONDS",
    "OPENCLAW_MEDIA_DAYS",
    "OPENCLAW_RETENTION_DAYS",
    "OPENCLAW_SCHEDULES_PER_SESSION",
)
NOT_IN_SETTINGS = (
    "OPENCLAW_DEBUG",
    "OPENCLAW_ENV_FILE",
    "OPENCLAW_LLM_API_KEY",
    "OPENCLAW_LLM_MODEL",
    "OPENCLAW_SECRET_KEY",
)
"""Settings that Django knows by another name, and the bundled agent's."""

NOT_FROM_ENVIRONMENT = {"OPENCLAW_CHANNEL_SETTINGS", "OPENCLAW_UNREADABLE"}
"""What settings.py derives."""


@register(TAG)
def check_readable(**kwargs: Any) -> list[CheckMessage]:
    """openclaw.E001: a value that is not what it should be, or a secret's file cannot be read.

    For a channel's own setting it is the warning openclaw.W001.
    """
    found: list[CheckMessage] = []
    for name, reason in getattr(settings, "OPENCLAW_UNREADABLE", ()):
        kind, letter = (Warning, "W") if _channel_of(name) else (Error, "E")
        hint = "docs/settings.md says what it takes."
        found.append(kind(f"{name} cannot be used: {reason}.", hint, id=f"openclaw.{letter}001"))
    return found


@register(TAG)
def check_choices(**kwargs: Any) -> list[CheckMessage]:
    """openclaw.E002: a setting that takes one of a few words has another."""
    return [
        Error(f"{name} is {value!r}.", f"Use one of: {', '.join(allowed)}.", id="openclaw.E002")
        for name, allowed in CHOICES.items()
        if (value := getattr(settings, name)) not in allowed
    ]


@register(TAG)
def check_numbers(**kwargs: Any) -> list[CheckMessage]:
    """openclaw.E003: a limit that is zero, negative or no number."""
    found: list[CheckMessage] = []
    for names, low, words in (
        (ABOVE_ZERO, math.ulp(0.0), "above zero"),
        (NOT_NEGATIVE, 0.0, "of zero or more"),
    ):
        for name in names:
            value = getattr(settings, name)
            if not (math.isfinite(value) and value >= low):
                message = f"{name} is {value:g}."
                found.append(Error(message, f"Use a number {words}.", id="openclaw.E003"))
    return found


@register(TAG)
def check_ports(**kwargs: Any) -> list[CheckMessage]:
    """openclaw.E004: a port that does not exist, or one port for two processes."""
    ports = {name: getattr(settings, name) for name in ("OPENCLAW_PORT", "OPENCLAW_PI_PORT")}
    found: list[CheckMessage] = [
        Error(f"{name} is {port}.", "Use a port from 1 to 65535.", id="openclaw.E004")
        for name, port in ports.items()
        if not 1 <= port <= 65535
    ]
    if len(set(ports.values())) == 1:
        hint = "Give one of them another port."
        message = f"{' and '.join(ports)} are both {settings.OPENCLAW_PORT}."
        found.append(Error(message, hint, id="openclaw.E004"))
    return found


@register(TAG)
def check_urls(**kwargs: Any) -> list[CheckMessage]:
    """openclaw.E005, E006, E014; W016 for the bundled agent: a URL without scheme or host."""
    found: list[CheckMessage] = []
    for name, example, number in (
        ("OPENCLAW_PUBLIC_URL", "https://chat.example.com", "E005"),
        ("OPENCLAW_AGENT_URL", "http://127.0.0.1:9000/rpc/message", "E006"),
        ("OPENCLAW_AGENT_API_URL", "http://127.0.0.1:8000/api/v1", "E006"),
        ("OPENCLAW_MEDIA_URL", "http://127.0.0.1:8000", "E014"),
        ("OPENCLAW_LLM_BASE_URL", "http://127.0.0.1:11434/v1", "W016"),
    ):
        value = getattr(settings, name)
        if value and not _is_http_url(value):
            kind = Error if number.startswith("E") else Warning
            hint = f"Give scheme and host, like {example}"
            found.append(kind(f"{name} is {value!r}.", hint, id=f"openclaw.{number}"))
    return found


@register(TAG)
def check_timezone(**kwargs: Any) -> list[CheckMessage]:
    """openclaw.E015: a time zone that is not known here."""
    try:
        zone_of(settings.OPENCLAW_TIMEZONE)
    except BadTiming as error:
        hint = "Use a name like Europe/Paris. If even that is unknown, install tzdata."
        return [Error(f"OPENCLAW_TIMEZONE: {error}.", hint, id="openclaw.E015")]
    return []


@register(TAG)
def check_data_dir(**kwargs: Any) -> list[CheckMessage]:
    """openclaw.E007: the data folder cannot be written. W008: others can look into it."""
    folder = Path(settings.OPENCLAW_DATA_DIR)
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        message = f"The data folder {folder} cannot be written: {error.strerror}."
        hint = "Choose one with OPENCLAW_DATA_DIR that belongs to the user who runs the gateway."
        return [Error(message, hint, id="openclaw.E007")]
    mode = folder.stat().st_mode & 0o777
    if mode & 0o077:
        message = f"The data folder {folder} is open to others (mode {mode:o})."
        return [Warning(message, f"chmod 700 {folder}", id="openclaw.W008")]
    return []


@register(TAG)
def check_database(**kwargs: Any) -> list[CheckMessage]:
    """openclaw.E012: the database's file cannot be opened where it should stand."""
    database = settings.DATABASES["default"]
    if not str(database["ENGINE"]).endswith("sqlite3") or "memory" in str(database["NAME"]):
        return []
    file = Path(database["NAME"]).absolute()
    reason = _why_not_writable(file)
    if reason is None:
        return []
    hint = "Give DATABASE_URL a file in a folder that belongs to the user who runs the gateway."
    return [Error(f"The database {file} cannot be opened: {reason}.", hint, id="openclaw.E012")]


@register(TAG)
def check_instance(**kwargs: Any) -> list[CheckMessage]:
    """openclaw.E019: a name that cannot stand in what this gateway claims."""
    name = settings.OPENCLAW_INSTANCE
    if re.fullmatch(r"[A-Za-z0-9_.-]{1,32}", name):
        return []
    hint = "Use 1 to 32 letters, digits, dots, dashes or underscores."
    return [Error(f"OPENCLAW_INSTANCE is {name!r}.", hint, id="openclaw.E019")]


@register(TAG)
def check_hosts(**kwargs: Any) -> list[CheckMessage]:
    """openclaw.W017: a host name that no request can have."""
    hint = "Give host names only, like chat.example.com: no scheme, port or path."
    return [
        Warning(f"OPENCLAW_ALLOWED_HOSTS holds {name!r}.", hint, id="openclaw.W017")
        for name in settings.OPENCLAW_ALLOWED_HOSTS
        if not re.fullmatch(r"\*|\.?[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]", name)
    ]


@register(TAG)
def check_unused(**kwargs: Any) -> list[CheckMessage]:
    """openclaw.W018: a setting that nothing reads yet."""
    if not settings.OPENCLAW_REDIS_URL:
        return []
    hint = "Leave it out; one gateway needs no Redis."
    return [Warning("OPENCLAW_REDIS_URL is not used yet.", hint, id="openclaw.W018")]


@register(TAG)
def check_names(**kwargs: Any) -> list[CheckMessage]:
    """openclaw.W009: an OPENCLAW_… variable that means nothing to us. Only names are read."""
    known = _known_names()
    found: list[CheckMessage] = []
    for name in sorted(os.environ):
        if name.startswith("OPENCLAW_") and not _is_known(name, known):
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {close[0]}?" if close else "docs/settings.md lists all settings."
            found.append(Warning(f"There is no setting {name}.", hint, id="openclaw.W009"))
    return found


@register(TAG)
def check_some_channel(**kwargs: Any) -> list[CheckMessage]:
    """openclaw.W010: nobody can write to this gateway."""
    if settings.OPENCLAW_CHANNELS:
        return []
    hint = f"Choose from: {', '.join(channels.installed())}."
    return [Warning("OPENCLAW_CHANNELS names no channel.", hint, id="openclaw.W010")]


@register(TAG)
def check_exposure(**kwargs: Any) -> list[CheckMessage]:
    """openclaw.W011: passwords and conversations would cross the network in the clear."""
    if settings.OPENCLAW_HOST in ("127.0.0.1", "::1", "localhost"):
        return []
    hint = "Listen on 127.0.0.1 behind a proxy with TLS, and set OPENCLAW_PUBLIC_URL to https://…"
    message = f"OPENCLAW_HOST is {settings.OPENCLAW_HOST}: the network reaches us without TLS."
    return [Warning(message, hint, id="openclaw.W011")]


@register(TAG)
def check_channels(**kwargs: Any) -> list[CheckMessage]:
    """openclaw.channel.<channel>.<what>: an enabled channel that cannot start."""
    return [
        Warning(
            f"Channel {name} is left out: {problem.message.rstrip('.')}.",
            problem.hint,
            id=f"openclaw.channel.{name}.{problem.slug}",
        )
        for name, problems in channels.left_out().items()
        for problem in problems
    ]


def _why_not_writable(file: Path) -> str | None:
    """Why a file cannot be written or made; None where it can."""
    if file.is_dir():
        return "it is a folder"
    if not file.parent.is_dir():
        return f"there is no folder {file.parent}"
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        return "permission denied"
    return None


def _is_http_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        _ = parts.port  # a port that is no number raises here
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _prefix(channel: str) -> str:
    return f"OPENCLAW_{channel.upper()}_"


def _channel_of(name: str) -> str | None:
    """The channel a setting belongs to, by its prefix."""
    every: Iterable[str] = {*channels.installed(), *settings.OPENCLAW_CHANNELS}
    return next((channel for channel in every if name.startswith(_prefix(channel))), None)


def _known_names() -> list[str]:
    """Every setting of the gateway, of the bundled agent and of the enabled channels."""
    ours = {name for name in dir(settings) if name.startswith("OPENCLAW_")}
    return [*(ours - NOT_FROM_ENVIRONMENT), *NOT_IN_SETTINGS, *_channel_names()]


def _channel_names() -> Sequence[str]:
    names = []
    for channel in settings.OPENCLAW_CHANNELS:
        try:
            config = channels.load(channel).Config
        except channels.ChannelError:
            continue  # said by check_channels
        both = (*fields(config), *fields(channels.Rules))
        names += [f"{_prefix(channel)}{field.name.upper()}" for field in both]
    return names


def _is_known(name: str, known: Sequence[str]) -> bool:
    if name in known or name.removesuffix("_FILE") in known:
        return True
    channel = _channel_of(name)  # a channel that is switched off may keep its settings
    return channel in channels.installed() and channel not in settings.OPENCLAW_CHANNELS
