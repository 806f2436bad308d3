"""Two answers side by side, in a terminal and on a page."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any

from django.conf import settings

from gateway.models import Replay, Turn
from gateway.replay.question import answered
from sessions_app import clock


@dataclass(frozen=True, slots=True)
class Column:
    """One answer: whose, what it said or why it did not, how long it took."""

    title: str
    text: str
    note: str
    look: str
    waiting: bool = False


def then(turn: Turn) -> Column:
    """What was answered at the time."""
    reply = answered(turn)
    title = f"{turn.agent or 'nobody'}, then"
    took = _took(turn.started_at, turn.ended_at, turn.usage)
    if reply is not None:
        return Column(title, reply.text, took, "done")
    if turn.error_code:
        return Column(title, turn.partial_text, f"{turn.error_code}: {turn.error_detail}", "failed")
    words = {"done": "silent", "queued": "waiting", "running": "being answered"}
    return Column(title, turn.partial_text, words.get(turn.state, turn.state), "waiting")


def again(replay: Replay) -> Column:
    """What was answered when it was asked once more."""
    title = f"{replay.agent}, again"
    if replay.error_code:
        reason = f"{replay.error_code}: {replay.error_detail}"
        return Column(title, replay.text, reason, "failed")
    if replay.ended_at is None:
        late = timedelta(seconds=settings.OPENCLAW_AGENT_TOTAL_SECONDS + 60)
        if replay.started_at + late < clock.now():
            return Column(title, "", "never ended: the worker was stopped. Ask again.", "failed")
        return Column(title, "", "the worker asks; this takes a moment", "running", waiting=True)
    took = _took(replay.started_at, replay.ended_at, replay.usage)
    return Column(title, replay.text, f"silent, {took}" if replay.silent else took, "done")


def side_by_side(left: Column, right: Column, width: int) -> Iterator[str]:
    """Lines of a terminal, `width` characters wide; `|` where the two differ, else a space."""
    half = max(10, (width - 3) // 2)
    yield f"{left.title[:half]:{half}}   {right.title[:half]}"
    yield f"{'-' * half}   {'-' * half}"
    rows = zip_longest(_wrapped(left.text, half), _wrapped(right.text, half), fillvalue="")
    for one, other in rows:
        yield f"{one:{half}} {' ' if one == other else '|'} {other}".rstrip()
    yield ""
    yield from _notes(left.note, right.note, half)


def _notes(left: str, right: str, half: int) -> Iterator[str]:
    rows = zip_longest(_wrapped(left, half), _wrapped(right, half), fillvalue="")
    for one, other in rows:
        yield f"{one:{half}}   {other}".rstrip()


def _wrapped(text: str, width: int) -> list[str]:
    printable = "".join(char if char.isprintable() or char == "\n" else " " for char in text)
    lines = [textwrap.wrap(line, width) or [""] for line in printable.splitlines()]
    return [line for piece in lines for line in piece]


def _took(start: datetime | None, end: datetime | None, usage: dict[str, Any]) -> str:
    seconds = f"{(end - start).total_seconds():.1f} s" if start and end else "time unknown"
    counts = [f"{value} {name.replace('_', ' ')}" for name, value in usage.items() if _plain(value)]
    return ", ".join([seconds, *counts[:3]])


def _plain(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
