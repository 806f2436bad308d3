"""Stored files go: when their time is over, and when nothing knows them any more."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice

from gateway.media.store import Store
from sessions_app import clock
from sessions_app.sql import moment, run, run_rows

BATCH = 500
ORPHAN_SECONDS = 24 * 3600.0
"""A file is written before its row: only one this old without a row is nobody's."""

_OLD = """
SELECT id, path FROM sessions_app_attachment
WHERE state = 'stored' AND created_at < %s ORDER BY created_at LIMIT %s
"""

_PRUNE = """
UPDATE sessions_app_attachment SET state = 'pruned' WHERE id IN ({rows})
"""

_REVISE = """
UPDATE sessions_app_session SET revision = revision + 1
WHERE NOT state = 'terminated' AND id IN (
    SELECT m.session_id FROM sessions_app_attachment a
    JOIN sessions_app_message m ON m.id = a.message_id WHERE a.id IN ({rows}))
"""

_KNOWN = """
SELECT path FROM sessions_app_attachment WHERE state = 'stored' AND path IN ({rows})
"""


def prune_files(store: Store, days: int) -> int:
    """Delete files older than `days` (0: none), and those that no row knows. Returns how many."""
    gone = 0
    if days:
        oldest = moment(clock.now() - timedelta(days=days))
        while rows := run(_OLD, (oldest, BATCH)):
            ids = [(row[0],) for row in rows]
            run_rows(_PRUNE, ids)
            run_rows(_REVISE, ids)
            for _, path in rows:
                store.remove(path)
            gone += len(rows)
    names = store.old_names(clock.now().timestamp() - ORPHAN_SECONDS)
    while batch := list(islice(names, BATCH)):
        known = {row[0] for row in run_rows(_KNOWN, [(name,) for name in batch])}
        for name in batch:
            if name not in known:
                store.remove(name)
                gone += 1
    return gone
