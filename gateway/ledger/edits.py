"""What people change of their own messages afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from gateway.ledger.entries import Entry
from sessions_app.sql import moment, run, run_each

_EDIT = """
UPDATE sessions_app_message SET text = %s, edited_at = %s
WHERE channel = %s AND external_id = %s AND sender = %s AND NOT text = %s
RETURNING session_id
"""

_REVISE = """
UPDATE sessions_app_session SET revision = revision + 1, archived_at = NULL WHERE id = %s
"""


def change(entries: Sequence[Entry], now: datetime) -> None:
    """The words of each message are these from now on; whose it is, decides.

    History is read anew, and an ended session goes to its file once more.
    """
    for entry in entries:
        inbound = entry.inbound
        found = (entry.scope.channel, inbound.external_id, inbound.user_id)
        run_each(_REVISE, run(_EDIT, (inbound.text, moment(now), *found, inbound.text)))
