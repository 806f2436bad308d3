"""Files that came with messages: claimed to be fetched, and what became of them.

A message's turn waits until all its files are fetched or given up
(`gateway.ledger.turns`), so that the agent gets them together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from adapters.base import Media
from sessions_app import clock
from sessions_app.sql import Row, moment, parse_moment, run, run_rows

LEASE_SECONDS = 900.0
"""After this long a claimed file may be claimed again; `release_files` frees a crash's at once."""

LOOK_AT = 1000
"""Waiting files looked at in one claim, unless none of them can be fetched now."""

MANY = 1_000_000
"""More files than can wait."""

MADE_BY = ("ingest",)
"""The verb after which there may be a file to fetch."""

_WAITING = """
SELECT a.id, a.kind, a.handle, a.mime, a.name, a.size, a.attempts + 1, a.created_at, m.channel
FROM sessions_app_attachment a JOIN sessions_app_message m ON m.id = a.message_id
WHERE a.state = 'waiting' AND a.not_before <= %s
ORDER BY +a.id LIMIT %s
"""
"""The plus keeps the database from walking all files there ever were, in the order of their ids."""

_CLAIM = """
WITH chosen(id) AS ({rows})
UPDATE sessions_app_attachment SET attempts = attempts + 1, not_before = %s
FROM chosen WHERE sessions_app_attachment.id = chosen.id AND state = 'waiting'
RETURNING sessions_app_attachment.id
"""

_FINISH = """
WITH done(id, attempt, state, kind, mime, size, path, error, later) AS ({rows})
UPDATE sessions_app_attachment
SET state = done.state, kind = COALESCE(done.kind, sessions_app_attachment.kind),
    mime = COALESCE(done.mime, sessions_app_attachment.mime),
    size = COALESCE(done.size, sessions_app_attachment.size),
    path = done.path, error = done.error,
    not_before = COALESCE(done.later, sessions_app_attachment.not_before)
FROM done
WHERE sessions_app_attachment.id = done.id AND attempts = done.attempt
  AND sessions_app_attachment.state = 'waiting'
RETURNING sessions_app_attachment.id
"""


_UNFILE = """
UPDATE sessions_app_session SET archived_at = NULL, revision = revision + 1
WHERE state = 'terminated' AND id IN (
    SELECT m.session_id FROM sessions_app_attachment a
    JOIN sessions_app_message m ON m.id = a.message_id WHERE a.id IN ({rows}))
"""

_SESSIONS = """
SELECT m.session_id FROM sessions_app_attachment a
JOIN sessions_app_message m ON m.id = a.message_id WHERE a.id IN ({rows})
"""


@dataclass(frozen=True, slots=True)
class ClaimedFile:
    """A file that this process fetches now. `attempt` is its fence."""

    id: int
    attempt: int
    channel: str
    media: Media
    came_at: datetime


@dataclass(frozen=True, slots=True)
class FinishedFile:
    """How it went: stored (with `path`), failed for good (with `error`), or waiting for another
    try after `not_before`."""

    file: ClaimedFile
    state: str
    kind: str | None = None
    mime: str | None = None
    size: int | None = None
    path: str = ""
    error: str = ""
    not_before: datetime | None = None


class StartFetches:
    """Claims files of channels that `serves` says can be fetched from now."""

    def __init__(self, serves: Callable[[str], bool]) -> None:
        self._serves = serves

    def __call__(self, limit: int) -> list[ClaimedFile]:
        now = clock.now()
        chosen = self._choose(now, limit)
        until = now + timedelta(seconds=LEASE_SECONDS)
        won = {row[0] for row in run_rows(_CLAIM, [(row[0],) for row in chosen], [moment(until)])}
        return [
            ClaimedFile(
                id=row[0],
                attempt=row[6],
                channel=row[8],
                media=Media(kind=row[1], handle=row[2], mime=row[3], name=row[4], size=row[5]),
                came_at=parse_moment(row[7]) or now,
            )
            for row in chosen
            if row[0] in won
        ]

    def _choose(self, now: datetime, limit: int) -> list[Row]:
        """The first `limit` that can be fetched; those of a channel that is down hide none."""
        rows = run(_WAITING, (moment(now), LOOK_AT))
        chosen = [row for row in rows if self._serves(row[8])]
        if not chosen and len(rows) == LOOK_AT:
            rows = run(_WAITING, (moment(now), MANY))
            chosen = [row for row in rows if self._serves(row[8])]
        return chosen[:limit]


def finish_fetches(
    finished: Sequence[FinishedFile], freed: Callable[[list[str]], None] = lambda sessions: None
) -> list[bool]:
    """Verb: write down how it went. False where the file is not ours any more.

    A session that has ended and was archived meanwhile is archived once more. `freed` is
    told of the sessions whose turns may have waited for a file.
    """
    rows = [
        (
            one.file.id,
            one.file.attempt,
            one.state,
            one.kind,
            one.mime,
            one.size,
            one.path,
            one.error[:255],
            moment(one.not_before),
        )
        for one in finished
    ]
    won = {row[0] for row in run_rows(_FINISH, rows)}
    settled = [(one.file.id,) for one in finished if one.state != "waiting" and one.file.id in won]
    run_rows(_UNFILE, settled)
    freed([row[0] for row in run_rows(_SESSIONS, settled)])
    return [one.file.id in won for one in finished]


def release_files() -> None:
    """After a crash: what was being fetched waits again, and is fetched at once."""
    run(
        "UPDATE sessions_app_attachment SET not_before = %s WHERE state = 'waiting'",
        (moment(clock.now()),),
    )
