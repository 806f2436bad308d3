"""What did not reach the person: said to the agent with the history of its next turn.

A message with a part that failed or expired carries `undelivered` in its
context. History that is kept in memory is read anew, by the session's revision,
and an ended session goes to its file once more.
"""

from __future__ import annotations

from collections.abc import Sequence

from sessions_app.sql import dumps, run_rows

MARK = {"undelivered": True}

_NOTE = """
WITH changed(id) AS ({rows}),
ended(message_id, undelivered) AS (
    SELECT d.message_id, MAX(CASE WHEN e.state IN ('failed', 'expired') THEN 1 ELSE 0 END)
    FROM changed c
    JOIN gateway_delivery d ON d.id = c.id
    JOIN gateway_delivery e ON e.message_id = d.message_id
    GROUP BY d.message_id)
UPDATE sessions_app_message
SET context = CASE WHEN ended.undelivered = 1 THEN %s ELSE '{}' END
FROM ended
WHERE sessions_app_message.id = ended.message_id AND role = 'assistant'
"""

_REVISE = """
WITH changed(id) AS ({rows})
UPDATE sessions_app_session SET revision = revision + 1, archived_at = NULL
WHERE id IN (SELECT d.session_id FROM changed c JOIN gateway_delivery d ON d.id = c.id)
"""


def note_undelivered(deliveries: Sequence[int]) -> None:
    """These failed, expired, arrived late or are tried again: bring the mark of their messages
    up to date."""
    rows = [(delivery,) for delivery in deliveries]
    run_rows(_NOTE, rows, (dumps(MARK),))
    run_rows(_REVISE, rows)
