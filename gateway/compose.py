"""A reply as a channel takes it: its text in parts, then its files, places and buttons.

What a platform cannot show becomes text: a file a link, a place its coordinates,
buttons lines to type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.conf import settings

from adapters._split import split
from adapters._text import clean, length
from adapters.base import Capabilities
from gateway import channels
from gateway.ledger.records import Part
from gateway.media.links import links_for_people

MAX_BUTTON = 80
"""Characters of a button's text."""

CHOOSE = "Please choose:"
"""Stands over buttons of an answer without a text: nothing else carries them everywhere."""

Link = Callable[[Mapping[str, Any]], str]
"""A stored file -> a link to it that people can open."""


class Composer:
    """Builds parts. `facts` finds a channel's capabilities, None where there is no such channel."""

    def __init__(self, facts: Callable[[str], Capabilities | None], mark: str, link: Link) -> None:
        self._facts, self._mark, self._link = facts, mark, link

    def text(self, channel: str, text: str) -> list[Part]:
        """The parts of a text, each with room left for the mark of a repeat."""
        facts = self._facts(channel)
        if facts is None:
            return [Part(text)] if text else []
        return self._parts(facts, text, facts.text_limit)

    def _parts(self, facts: Capabilities, text: str, limit: int) -> list[Part]:
        room = length(self._mark, facts.text_unit) + 1 if self._mark else 0
        return [Part(part) for part in split(text, limit - room, facts.text_unit)]

    def _under(self, facts: Capabilities, text: str) -> list[Part]:
        """The last part of a text with buttons: where it is too long for them, in several."""
        limit = facts.text_limit if facts.button_text is None else facts.button_text
        return self._parts(facts, text, limit)

    def answer(
        self,
        channel: str,
        text: str,
        attachments: Sequence[Mapping[str, Any]] = (),
        buttons: Sequence[Mapping[str, Any]] = (),
    ) -> list[Part]:
        """A whole answer. `attachments` as `Intake.take` gives them back."""
        facts = self._facts(channel) or Capabilities(text_limit=4000)
        files = [part for one in attachments if (part := self._part(facts, one))]
        others = [one for one in attachments if self._part(facts, one) is None]
        lines = [line for one in others for line in self._line(one)]
        offered = [pressed for one in buttons if (pressed := _button(one))]
        under = 0 < len(offered) <= facts.buttons
        if offered and not under:
            lines += [f"• {button['text']}" for button in offered]
        parts = self.text(channel, "\n\n".join([text, "\n".join(lines)]).strip())
        if under and not parts:
            return [*files, Part(CHOOSE, {"buttons": offered})]
        if under:
            *earlier, last = self._under(facts, parts[-1].text)
            parts = [*parts[:-1], *earlier, Part(last.text, {"buttons": offered})]
        return [*parts, *files]

    def _part(self, facts: Capabilities, one: Mapping[str, Any]) -> Part | None:
        """The part that carries this attachment, where the platform has such parts."""
        if one.get("kind") == "location":
            place = {name: one[name] for name in ("latitude", "longitude")}
            extra = {"location": {**place, "name": str(one.get("name") or "")}}
            return Part("", extra) if facts.locations else None
        if not one.get("path"):
            return None
        size = int(one.get("size") or 0)
        for kind in (str(one["kind"]), "file"):
            if size <= facts.media.get(kind, -1):
                file = {name: one[name] for name in ("path", "mime", "name", "size")}
                return Part("", {"file": {**file, "kind": kind}})
        return None

    def _line(self, one: Mapping[str, Any]) -> list[str]:
        """An attachment as text, if there is anything to say."""
        name = clean(str(one.get("name") or one.get("kind") or "file"))
        if one.get("kind") == "location":
            label = clean(str(one.get("name") or "")) or "location"
            return [f"{label}: {one['latitude']}, {one['longitude']}"]
        url = self._link(one) if one.get("path") else str(one.get("url") or "")
        if url.startswith(("http://", "https://")):
            return [f"{name}: {url}"]
        return [f"{name}: ({one['error']})"] if one.get("error") else []


def make_composer() -> Composer:
    """One for any process: a channel's facts stand in its file, so no adapter need be built."""
    mark = settings.OPENCLAW_REPEAT_MARK
    return Composer(channels.capabilities, mark, links_for_people().entry)


def _button(one: Mapping[str, Any]) -> dict[str, str] | None:
    """A button as an agent asked for it; without a value its text is what it says."""
    text = clean(str(one.get("text") or "")).strip()[:MAX_BUTTON]
    value = clean(str(one.get("value") or "")) or text
    return {"text": text, "value": value} if text else None
