"""Notes about the person, kept by the gateway: they outlast a session."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pi.gateway import Gateway
from pi.tools import ToolError

MAX_NOTE = 500
NOTHING = "I have no notes about you."
_SMALL = {"that", "the", "a", "an", "my", "is", "are", "to", "of", "and", "about", "note", "i"}


class Notes:
    """Tools for notes about the person. Each raises `ToolError`."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def write_note(self, note: str) -> str:
        """Keep a fact about this person for later conversations, such as "I like tea".

        Args:
            note: the fact, in one sentence.
        """
        text = " ".join(note.split())
        if not text:
            raise ToolError("There is nothing to note.")
        if len(text) > MAX_NOTE:
            raise ToolError(f"A note has at most {MAX_NOTE} characters.")
        await self._gateway.change_notes({key_of(text): text})
        return f"Noted: {text}"

    async def read_notes(self) -> str:
        """All notes about this person."""
        lines = [f"- {text}" for text in note_texts(await self._all())]
        return "\n".join(lines) or NOTHING

    async def delete_note(self, about: str) -> str:
        """Forget a note about this person.

        Args:
            about: words from the note.
        """
        wanted = _words(about)
        found = {
            key: value
            for key, value in (await self._all()).items()
            if wanted and wanted <= _words(f"{key} {value}")
        }
        if not found:
            raise ToolError(f"I have no note about “{about.strip()[:60]}”.")
        await self._gateway.change_notes(dict.fromkeys(found))
        return "Forgotten: " + "; ".join(note_texts(found))

    async def delete_all_notes(self) -> str:
        """Forget every note about this person."""
        found = await self._all()
        if not found:
            raise ToolError(NOTHING)
        await self._gateway.change_notes(dict.fromkeys(found))
        return "Forgotten: " + "; ".join(note_texts(found))

    async def _all(self) -> dict[str, Any]:
        person = (await self._gateway.me()).get("person")
        notes = person.get("notes") if isinstance(person, dict) else None
        return notes if isinstance(notes, dict) else {}


def note_texts(notes: Mapping[str, Any]) -> list[str]:
    """Each note on one line; one that somebody else keyed says its key."""
    return [
        _line(value) if key == key_of(_line(value)) else f"{key}: {_line(value)}"
        for key, value in notes.items()
    ]


def key_of(text: str) -> str:
    """The key a note is kept under: its first words, so that the same note stands there once."""
    words = [word for word in re.findall(r"\w+", text.lower()) if word not in _SMALL]
    return " ".join(words)[:60] or text[:60]


def _line(value: Any) -> str:
    return " ".join(str(value).split())[:MAX_NOTE]


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower())) - _SMALL
