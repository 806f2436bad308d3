"""Transcripts: a session as one page to read, send or print. No script, nothing from elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.template.loader import render_to_string

from sessions_app.archive import Entry, Whole

SIDES = {"user": "left", "assistant": "right", "system": "middle"}
AUTHORS = {"operator": "Operator", "schedule": "Schedule", "system": "System"}
NOTED = ("pending", "failed", "handed_over")
"""What became of a message, where it is worth saying."""

ARRIVED = "sent"
"""The state of a part that needs no words."""

CODE = re.compile(r"^```[^\n`]*\n(.*?)(?:^```[ \t]*$|\Z)", re.M | re.S)
"""A fenced block of code."""

TITLE_CHARACTERS = 80


def render_transcript(whole: Whole) -> str:
    """The page, as HTML. `whole` is a session as `archive.read` gives it."""
    session, contact = whole["session"], whole["contact"]
    days: list[dict[str, Any]] = []
    parts = _parts(whole)
    for message in whole["messages"]:
        at = datetime.fromisoformat(message["created_at"])
        if not days or days[-1]["date"] != at.date():
            days.append({"date": at.date(), "messages": []})
        days[-1]["messages"].append(_shown(message, at, whole, parts.get(message["seq"], [])))
    context = {
        "session": session,
        "contact": contact,
        "title": _title(whole),
        "began": datetime.fromisoformat(session["created_at"]),
        "used": datetime.fromisoformat(session["last_activity"]),
        "ended": session["ended_at"] and datetime.fromisoformat(session["ended_at"]),
        "days": days,
        "count": len(whole["messages"]),
    }
    return render_to_string("transcripts/session.html", context)


@dataclass(slots=True)
class Index:
    """The page that leads to the transcripts in its folder."""

    _rows: list[dict[str, Any]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, whole: Whole) -> str:
        """Take a session in. Returns the name of its file: a number, nothing that people said."""
        name = f"{len(self._rows) + 1:05d}.html"
        session = whole["session"]
        self._rows.append(
            {
                "file": name,
                "title": _title(whole),
                "id": session["id"],
                "channel": session["channel"],
                "state": session["state"],
                "began": datetime.fromisoformat(session["created_at"]),
                "count": len(whole["messages"]),
            }
        )
        return name

    def render(self) -> str:
        """The page, as HTML."""
        return render_to_string("transcripts/index.html", {"rows": self._rows})


def _title(whole: Whole) -> str:
    return str(whole["contact"]["name"] or whole["contact"]["user_id"])[:TITLE_CHARACTERS]


def _shown(message: Entry, at: datetime, whole: Whole, parts: list[Entry]) -> dict[str, Any]:
    disposition = message["disposition"]
    troubles = [disposition.replace("_", " ")] if disposition in NOTED else []
    if states := sorted({part["state"] for part in parts} - {ARRIVED}):
        troubles.append(f"delivery: {', '.join(states)}")
    return {
        "side": SIDES[message["role"]],
        "author": _author(message, whole),
        "generated": bool(message.get("generated")),
        "at": at,
        "blocks": _blocks(message["text"]),
        "attachments": message["attachments"],
        "troubles": troubles,
        "edited": bool(message["edited_at"]),
    }


def _blocks(text: str) -> list[dict[str, Any]]:
    """Words and blocks of code in turn; a block that is not closed reaches to the end."""
    blocks, end = [], 0
    for code in CODE.finditer(text):
        blocks.append({"code": False, "text": text[end : code.start()].strip("\n")})
        blocks.append({"code": True, "text": code[1].rstrip("\n")})
        end = code.end()
    blocks.append({"code": False, "text": text[end:].strip("\n")})
    return [block for block in blocks if block["text"]]


def _author(message: Entry, whole: Whole) -> str:
    if message["origin"] in AUTHORS:
        return AUTHORS[message["origin"]]
    if message["role"] != "user":
        return str(whole["session"]["agent"] or "Agent")
    if message["sender"] and message["sender"] != whole["contact"]["user_id"]:
        return str(message["sender"])
    return _title(whole)


def _parts(whole: Whole) -> dict[int | None, list[Entry]]:
    """Place of a reply -> the parts in which it went out."""
    found: dict[int | None, list[Entry]] = {}
    for part in whole.get("deliveries", []):
        found.setdefault(part["seq"], []).append(part)
    return found
