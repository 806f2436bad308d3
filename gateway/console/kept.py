"""Files of messages, as the conversation page shows them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.media.links import Links
from sessions_app.models import Attachment

LINK_SECONDS = 12 * 3600
"""For how long the links on an open page hold."""

PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that belongs to a message. `url` is empty where there is nothing to open."""

    row: Attachment
    url: str

    @property
    def picture(self) -> bool:
        """Whether the page can show it."""
        return bool(self.row.path) and self.row.mime in PICTURES

    @property
    def word(self) -> str:
        """What is to be said about it, where it is not simply there."""
        words = {"waiting": "being fetched", "failed": "missing", "pruned": "deleted"}
        return words.get(self.row.state, "")

    @property
    def look(self) -> str:
        """The state's look."""
        return {"waiting": "waiting", "failed": "failed"}.get(self.row.state, "")

    @property
    def mendable(self) -> bool:
        """Whether it can be tried again: a platform's file, not an agent's."""
        person = self.row.message.external_id is not None
        return self.row.state == Attachment.State.FAILED and bool(self.row.handle) and person


def files_of(messages: Sequence[int]) -> dict[int, list[Kept]]:
    """Message id -> its files, in the order in which they came."""
    link = Links("", LINK_SECONDS).to
    found: dict[int, list[Kept]] = defaultdict(list)
    rows = Attachment.objects.filter(message__in=messages).select_related("message")
    for row in rows.order_by("pk"):
        url = row.handle if row.handle.startswith(("http://", "https://")) else ""
        if row.state == Attachment.State.STORED:
            url = link(row.path, row.name)
        elif row.state != Attachment.State.LINKED:
            url = ""
        found[row.message_id].append(Kept(row, url))
    return found
