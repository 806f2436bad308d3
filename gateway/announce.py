"""Open pages hear of what another process has put into a conversation."""

from __future__ import annotations

from sessions_app.models import SEQ_STEP
from sessions_app.sql import run

_NEWEST = "SELECT COALESCE(MAX(id), 0) FROM sessions_app_message"

_SAID = f"""
SELECT session_id, id FROM sessions_app_message
WHERE id > %s AND id <= %s AND generated AND role = 'assistant' AND seq %% {SEQ_STEP} = 0
ORDER BY id
"""  # noqa: S608  (a number of ours)


class Announcements:
    """Messages that no turn of this process wrote. Used from one thread."""

    def __init__(self) -> None:
        self._last: int | None = None

    def fresh(self) -> list[tuple[str, int]]:
        """(session, message id) of what was said since the last look; nothing the first time."""
        last, self._last = self._last, int(run(_NEWEST)[0][0])
        if last is None or last == self._last:
            return []
        return [(row[0], row[1]) for row in run(_SAID, (last, self._last))]
