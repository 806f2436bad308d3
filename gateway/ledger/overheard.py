"""What was said in a chat, but not to us: kept for the next message that is, then gone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from adapters.base import Inbound
from sessions_app.sql import moment, run, run_rows

MAX_TEXT = 1000
"""Characters kept of what was overheard or quoted."""

MAX_ABOUT = 200
"""Characters kept of what a reaction is about."""

Lane = tuple[str, str]

_ADD = """
INSERT INTO sessions_app_overheard
    (channel, chat_id, external_id, sender, name, text, created_at)
{rows}
ON CONFLICT (channel, external_id) DO UPDATE SET text = excluded.text
"""

_TRIM = """
WITH wanted(channel, chat_id, kept) AS ({rows})
DELETE FROM sessions_app_overheard WHERE id IN (
    SELECT o.id FROM wanted w
    JOIN sessions_app_overheard o ON o.channel = w.channel AND o.chat_id = w.chat_id
    WHERE (SELECT COUNT(*) FROM sessions_app_overheard n
           WHERE n.channel = o.channel AND n.chat_id = o.chat_id AND n.id > o.id) >= w.kept)
"""

_TAKE = """
WITH wanted(channel, chat_id) AS ({rows})
SELECT o.channel, o.chat_id, o.name, o.sender, o.text, o.id
FROM wanted w JOIN sessions_app_overheard o ON o.channel = w.channel AND o.chat_id = w.chat_id
ORDER BY o.id
"""


def keep(said: Sequence[tuple[str, Inbound]], most: int, now: datetime) -> None:
    """Write down what was overheard, as (channel, message); the last `most` of each chat stay."""
    rows = {
        (channel, one.external_id): (
            channel,
            one.chat_id,
            one.external_id,
            one.user_id,
            one.sender_name,
            _words(one)[:MAX_TEXT],
            moment(now),
        )
        for channel, one in said
    }
    run_rows(_ADD, list(rows.values()))
    run_rows(_TRIM, sorted({(channel, one.chat_id, most) for channel, one in said}))


def _words(inbound: Inbound) -> str:
    """Its text; of a reaction also what it is about."""
    if not (inbound.passive and inbound.quote and inbound.quote.text):
        return inbound.text
    about = " ".join(inbound.quote.text.split())
    short = about if len(about) <= MAX_ABOUT else f"{about[: MAX_ABOUT - 1]}…"
    return f"{inbound.text} to: {short}"


def anything() -> bool:
    """Whether there is anything at all: mostly there is not, and then nobody need look."""
    return bool(run("SELECT 1 FROM sessions_app_overheard LIMIT 1"))


def take(lanes: Iterable[Lane]) -> dict[Lane, list[dict[str, str]]]:
    """What was overheard in these chats, oldest first; it is gone afterwards."""
    found: dict[Lane, list[dict[str, str]]] = {}
    rows = run_rows(_TAKE, sorted(set(lanes)))
    for channel, chat_id, name, sender, text, _ in rows:
        found.setdefault((channel, chat_id), []).append({"name": name or sender, "text": text})
    run_rows("DELETE FROM sessions_app_overheard WHERE id IN ({rows})", [(row[5],) for row in rows])
    return found


def context_of(inbound: Inbound, overheard: Sequence[dict[str, str]]) -> dict[str, Any]:
    """What an agent is told beside the text; only what there is."""
    context: dict[str, Any] = {}
    if inbound.is_group:  # an agent has to tell its members apart
        context["name"] = inbound.sender_name or inbound.user_id
    if inbound.quote and inbound.quote.text:
        quote = {"text": inbound.quote.text[:MAX_TEXT], "sender_name": inbound.quote.sender_name}
        context["quote"] = quote
    if inbound.forwarded:
        context["forwarded"] = inbound.forwarded
    if overheard:
        context["overheard"] = list(overheard)
    return context
