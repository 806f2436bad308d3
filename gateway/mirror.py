"""Mirrors: a file per open session that grows with it, a record a line.

What is new since the last look is appended, and what had no final state then is
said again; readers keep the last word about each thing. Where file and database
may have drifted apart (a kill, an edit, a lost file, the end of a session) the
file is read, and exactly what it lacks is appended.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.ledger.ingest import IN_FLIGHT
from gateway.wholes import UNWRITTEN, Failures, Held, read_each
from sessions_app import archive, clock
from sessions_app.archive import Entry, Wanted, Whole
from sessions_app.archive_files import append, line, place, read_records, size
from sessions_app.sql import moment, parse_moment, run_each, run_rows

BATCH = 50
"""Sessions written at a time."""

OPEN_STATES = ("pending", "queued", "running", "sending", "waiting")
"""Dispositions and states that are not final."""

_COLUMNS = """s.id, s.state, s.revision, s.last_activity, s.created_at, s.ended_at,
       m.size, m.revision, m.message_id, m.from_seq"""

_FETCHING = """
SELECT f.session_id FROM sessions_app_attachment a
JOIN sessions_app_message f ON f.id = a.message_id WHERE a.state = 'waiting'
"""
"""Sessions of which a file is still being fetched."""

_CHANGED = f"""
WITH held(session_id, revision) AS ({{rows}})
SELECT {_COLUMNS} FROM sessions_app_session s
LEFT JOIN sessions_app_mirror m ON m.session_id = s.id
WHERE NOT s.state = 'terminated' AND (
    m.session_id IS NULL OR NOT m.last_activity = s.last_activity OR NOT m.revision = s.revision
    OR (m.in_flight AND NOT {IN_FLIGHT} AND s.id NOT IN ({_FETCHING})))
  AND (s.id, s.revision) NOT IN (SELECT session_id, revision FROM held)
LIMIT %s
"""  # noqa: S608  (constants of ours)

_ENDED = f"""
WITH held(session_id, revision) AS ({{rows}})
SELECT {_COLUMNS} FROM sessions_app_session s
LEFT JOIN sessions_app_mirror m ON m.session_id = s.id
WHERE s.state = 'terminated' AND s.archived_at IS NULL AND NOT {IN_FLIGHT}
  AND (s.id, s.revision) NOT IN (SELECT session_id, revision FROM held)
ORDER BY s.ended_at
LIMIT %s
"""  # noqa: S608  (constants of ours)

_NEW_MESSAGES = """
WITH wanted(session_id, message_id) AS ({rows})
SELECT n.session_id, MIN(n.seq), MAX(n.id)
FROM wanted w
JOIN sessions_app_message n ON n.session_id = w.session_id AND n.id > w.message_id
GROUP BY n.session_id
"""

_REMEMBER = """
WITH done(session_id, size, state, revision, last_activity, message_id, from_seq, in_flight)
  AS ({rows})
INSERT INTO sessions_app_mirror
    (session_id, size, state, revision, last_activity, message_id, from_seq, in_flight)
SELECT done.* FROM done JOIN sessions_app_session s ON s.id = done.session_id WHERE 1 = 1
ON CONFLICT (session_id) DO UPDATE SET
    size = excluded.size, state = excluded.state, revision = excluded.revision,
    last_activity = excluded.last_activity, message_id = excluded.message_id,
    from_seq = excluded.from_seq, in_flight = excluded.in_flight
"""


@dataclass(frozen=True, slots=True)
class _Task:
    """A session to write: how it is now, and how far its mirror was when last written."""

    session: str
    state: str
    revision: int
    last_activity: Any
    ended_at: Any
    path: Path
    size: int | None
    seen_revision: int | None
    message_id: int
    from_seq: int

    @property
    def ends(self) -> bool:
        return self.state == "terminated"

    def drifted(self) -> bool:
        """Whether appending is not enough: the file has to be read first."""
        return self.ends or self.seen_revision != self.revision or self.size != size(self.path)


def mirror_changed(folder: Path, held: Held) -> bool:
    """Write up to `BATCH` sessions that changed and as many that ended. Whether there are more.

    Raises `django.db.Error`, and at the end the `OSError` that kept sessions from their
    files. Those that are at fault themselves are `held` from then on. Only one process may
    do this at a time.
    """
    rows = run_rows(_CHANGED, held.rows(), (BATCH,))
    ended = run_rows(_ENDED, held.rows(), (BATCH,))
    tasks = {row[0]: _task(folder, row) for row in (*rows, *ended)}
    news = {
        row[0]: (row[1], row[2])
        for row in run_rows(_NEW_MESSAGES, [(t.session, t.message_id) for t in tasks.values()])
    }
    drifted = {task.session for task in tasks.values() if task.drifted()}
    wanted = [
        Wanted(task.session, 0 if task.session in drifted else _from_seq(task, news))
        for task in tasks.values()
    ]
    written, failures = [], Failures()
    for whole in read_each(wanted, failures):
        task = tasks[whole["session"]["id"]]
        newest = news.get(task.session, (0, task.message_id))[1]
        try:
            written.append(_write(task, whole, newest, compare=task.session in drifted))
        except UNWRITTEN as error:  # one that cannot be written must not hold up the others
            failures[task.session] = error
    run_rows(_REMEMBER, written)
    _mark_ended([tasks[row[0]] for row in written if tasks[row[0]].ends])
    held.settle(failures, {task.session: task.revision for task in tasks.values()})
    return len(rows) == BATCH or len(ended) == BATCH


def _from_seq(task: _Task, news: dict[str, tuple[int, int]]) -> int:
    """The place from which on the session is said again; an answer brings its question along."""
    if task.session not in news:
        return task.from_seq
    return max(0, min(task.from_seq, news[task.session][0] - 1))


def _write(task: _Task, whole: Whole, newest: int, *, compare: bool) -> tuple[Any, ...]:
    records = list(archive.records(whole))
    if compare and size(task.path):
        known = {_name(record): record for record in read_records(task.path)}
        records = [record for record in records if known.get(_name(record)) != record]
    content = b"".join(line(record) for record in records)
    new_size = append(task.path, content, sync=task.ends)
    open_seqs = list(_open_seqs(whole))
    return (
        task.session,
        new_size,
        task.state,
        task.revision,
        task.last_activity,
        newest,
        min(open_seqs, default=whole["session"]["last_seq"] + 1),
        any(entry["state"] in OPEN_STATES for entry in _work(whole)),
    )


def _work(whole: Whole) -> Iterator[Entry]:
    """What changes without the session being used: turns, deliveries, files."""
    yield from whole["turns"]
    yield from whole["deliveries"]
    for message in whole["messages"]:
        yield from message["attachments"]


def _open_seqs(whole: Whole) -> Iterator[int]:
    """Places in the history at which something is not final."""
    for message in whole["messages"]:
        files = [file["state"] for file in message["attachments"]]
        if not {message["disposition"], *files}.isdisjoint(OPEN_STATES):
            yield message["seq"]
    for turn in whole["turns"]:
        if turn["state"] in OPEN_STATES:
            yield turn["upto_seq"]
    for delivery in whole["deliveries"]:
        if delivery["state"] in OPEN_STATES:
            yield whole["session"]["last_seq"] if delivery["seq"] is None else delivery["seq"]


def _name(record: Entry) -> tuple[str, Any]:
    """What a record is about."""
    kind = record["record"]
    return kind, record["data"].get(archive.keys().get(kind, ""))


def _task(folder: Path, row: Sequence[Any]) -> _Task:
    session, state, revision, last_activity, created, ended, *seen = row
    created_at = parse_moment(created)
    assert created_at is not None
    path = place(folder, session, created_at, ".jsonl")
    before, seen_revision, message_id, from_seq = seen
    return _Task(
        session,
        state,
        revision,
        moment(parse_moment(last_activity)),
        moment(parse_moment(ended)),
        path,
        before,
        seen_revision,
        message_id or 0,
        from_seq or 0,
    )


def _mark_ended(tasks: Sequence[_Task]) -> None:
    now = moment(clock.now())
    run_each(
        "UPDATE sessions_app_session SET archived_at = %s "
        "WHERE id = %s AND state = 'terminated' AND ended_at = %s AND revision = %s",
        [(now, task.session, task.ended_at, task.revision) for task in tasks],
    )
