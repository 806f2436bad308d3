"""The life of a session: found or made, written to, touched, ended, brought back.

Every function takes a list and works in the caller's transaction, so that one
commit can hold the work of many messages.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sessions_app import clock
from sessions_app.ids import new_id
from sessions_app.models import SEQ_STEP
from sessions_app.sql import Row, dumps, moment, parse_moment, run, run_each, run_rows


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose conversation is wanted: the person who wrote, and the key that tells sessions apart."""

    channel: str
    scope_key: str
    user_id: str
    chat_id: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What there is for a scope. `session` is None where no open session exists."""

    contact: int | None = None
    access: str = "pending"
    name: str = ""
    session: str | None = None
    last_seq: int = 0
    handler: str = "agent"
    expires_at: datetime | None = None


@dataclass(slots=True)
class NewMessage:
    """A message to append. `seq` None: at the end, one step further."""

    session: str
    channel: str
    role: str
    origin: str
    text: str
    seq: int | None = None
    external_id: str | None = None
    sender: str = ""
    target: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    disposition: str = ""
    generated: bool = False


_FIND = """
WITH wanted(channel, scope_key, user_id) AS ({rows})
SELECT w.channel, w.scope_key, w.user_id,
       c.id, c.access, c.name, s.id, s.last_seq, s.handler, s.expires_at
FROM wanted w
LEFT JOIN sessions_app_contact c ON c.channel = w.channel AND c.user_id = w.user_id
LEFT JOIN sessions_app_session s
       ON s.channel = w.channel AND s.scope_key = w.scope_key AND NOT s.state = 'terminated'
"""

_ADD_CONTACTS = """
INSERT INTO sessions_app_contact
    (channel, user_id, name, access, aliases, preferences, notes, created_at)
{rows}
ON CONFLICT (channel, user_id) DO UPDATE SET name = excluded.name
RETURNING channel, user_id, id, access
"""

_ADD_SESSIONS = """
INSERT INTO sessions_app_session
    (id, channel, scope_key, contact_id, chat_id, agent, state, handler, fence, context,
     last_seq, revision, created_at, last_activity, expires_at)
{rows}
"""

_ADD_MESSAGES = """
INSERT INTO sessions_app_message
    (session_id, seq, role, origin, text, channel, external_id, sender, target, context,
     disposition, generated, created_at)
{rows}
ON CONFLICT DO NOTHING
RETURNING id, session_id, seq
"""

_TOUCH = """
UPDATE sessions_app_session
SET state = 'active', last_activity = %s, expires_at = %s,
    last_seq = CASE WHEN last_seq < %s THEN %s ELSE last_seq END
WHERE id = %s AND NOT state = 'terminated'
"""


class SessionManager:
    """Sessions by scope. `idle_seconds` maps a channel to its time-out; "" is the default."""

    def __init__(self, idle_seconds: Mapping[str, float], restore_returning: bool = False) -> None:
        self._idle_seconds = idle_seconds
        self._restore_returning = restore_returning

    @property
    def idle_seconds(self) -> Mapping[str, float]:
        """channel -> time-out; "" is the default."""
        return self._idle_seconds

    def expires_at(self, channel: str, now: datetime) -> datetime:
        """When a session of `channel` that was just used will have been idle too long."""
        seconds = self._idle_seconds.get(channel, self._idle_seconds[""])
        return now + timedelta(seconds=seconds)

    def find(self, scopes: Collection[Scope]) -> dict[Scope, Found]:
        """Contact and open session of each scope. One person may write under two names at once."""
        by_key: dict[Row, list[Scope]] = {}
        for scope in scopes:
            by_key.setdefault((scope.channel, scope.scope_key, scope.user_id), []).append(scope)
        found: dict[Scope, Found] = {}
        for row in run_rows(_FIND, list(by_key)):
            item = Found(
                contact=row[3],
                access=row[4] or "pending",
                name=row[5] or "",
                session=row[6],
                last_seq=row[7] or 0,
                handler=row[8] or "agent",
                expires_at=parse_moment(row[9]),
            )
            found |= dict.fromkeys(by_key[row[:3]], item)
        return found

    def get_or_create(self, found: Mapping[Scope, Found]) -> dict[Scope, Found]:
        """The same with every gap filled: contacts, then sessions (restored, if set so)."""
        found = self._with_contacts(found)
        missing = {scope: item for scope, item in found.items() if item.session is None}
        if missing and self._restore_returning:
            found = found | self._restored(missing)
            missing = {scope: item for scope, item in found.items() if item.session is None}
        return found | self._created(missing)

    def append_message(self, messages: Sequence[NewMessage], now: datetime) -> list[int | None]:
        """Ids of the new rows, in order; None where the platform's id was known already."""
        rows = [
            (
                item.session,
                item.seq,
                item.role,
                item.origin,
                item.text,
                item.channel,
                item.external_id,
                item.sender,
                dumps(item.target),
                dumps(item.context) if item.context else "{}",
                item.disposition,
                item.generated,
                moment(now),
            )
            for item in messages
        ]
        made = {(row[1], row[2]): row[0] for row in run_rows(_ADD_MESSAGES, rows)}
        return [made.get((item.session, item.seq)) for item in messages]

    def attach(self, files: Sequence[tuple[int, Mapping[str, Any]]], now: datetime) -> None:
        """Files that belong to messages: (message id, {"kind", "mime", "name", "size", "url"}).

        Beside these "path" (it is stored), "error" (it could not be) or "state"
        ("waiting": it is still to be fetched).
        """
        run_each(
            "INSERT INTO sessions_app_attachment "
            "(message_id, kind, mime, name, size, handle, state, path, error, not_before, "
            "created_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (
                    message,
                    str(file.get("kind") or "file")[:32],
                    str(file.get("mime") or "")[:127],
                    str(file.get("name") or "")[:255],
                    _size(file.get("size")),
                    str(file.get("url") or "")[:1024],
                    _state(file),
                    str(file.get("path") or ""),
                    str(file.get("error") or "")[:255],
                    moment(now),
                    moment(now),
                )
                for message, file in files
            ],
        )

    def touch(self, used: Mapping[str, tuple[str, int]], now: datetime) -> None:
        """Sessions were used: id -> (channel, highest seq written)."""
        run_each(
            _TOUCH,
            [
                (moment(now), moment(self.expires_at(channel, now)), seq, seq, session)
                for session, (channel, seq) in used.items()
            ],
        )

    def answered_by(self, agents: Mapping[str, str]) -> None:
        """Remember which agent answered a session last: id -> the agent's name."""
        run_each(
            "UPDATE sessions_app_session SET agent = %s WHERE id = %s AND NOT agent = %s",
            [(agent, session, agent) for session, agent in agents.items()],
        )

    def close(self, sessions: Sequence[str], now: datetime) -> None:
        """End these for good: their people begin anew, whatever is restored for who returns."""
        self.expire(sessions, now)
        run_each(
            "UPDATE sessions_app_session SET expires_at = NULL "
            "WHERE id = %s AND state = 'terminated'",
            [(session,) for session in sessions],
        )

    def expire(self, sessions: Sequence[str], now: datetime) -> None:
        """End these sessions; who comes back after a time-out may get them back. What was
        queued to be sent still goes out."""
        run_each(
            "UPDATE sessions_app_session SET state = 'terminated', ended_at = %s "
            "WHERE id = %s AND NOT state = 'terminated'",
            [(moment(now), session) for session in sessions],
        )

    def restore(self, sessions: Sequence[str], now: datetime) -> list[str]:
        """Bring ended sessions back; those whose scope has an open one by now are left ended."""
        restored: list[str] = []
        for session in sessions:
            rows = run(
                "UPDATE sessions_app_session SET state = 'active', ended_at = NULL, "
                "archived_at = NULL, last_activity = %s, expires_at = %s "
                "WHERE id = %s AND state = 'terminated' AND NOT EXISTS ("
                "SELECT 1 FROM sessions_app_session o WHERE "
                "o.channel = sessions_app_session.channel AND "
                "o.scope_key = sessions_app_session.scope_key AND NOT o.state = 'terminated') "
                "RETURNING id, channel",
                (moment(now), moment(now), session),
            )
            restored.extend(row[0] for row in rows)
            self.touch({row[0]: (row[1], 0) for row in rows}, now)
        return restored

    def _with_contacts(self, found: Mapping[Scope, Found]) -> dict[Scope, Found]:
        now = moment(clock.now())
        unknown = {
            (scope.channel, scope.user_id): scope
            for scope, item in found.items()
            if item.contact is None or (scope.name and scope.name != item.name)
        }
        rows = run_rows(
            _ADD_CONTACTS,
            [
                (scope.channel, scope.user_id, scope.name, "pending", "[]", "{}", "{}", now)
                for scope in unknown.values()
            ],
        )
        made = {(row[0], row[1]): (row[2], row[3]) for row in rows}
        return {
            scope: replace(item, contact=made[key][0], access=made[key][1])
            if (key := (scope.channel, scope.user_id)) in made
            else item
            for scope, item in found.items()
        }

    def _created(self, missing: Mapping[Scope, Found]) -> dict[Scope, Found]:
        now = clock.now()
        by_key: dict[tuple[str, str], str] = {}
        rows = []
        for scope, item in missing.items():
            key = (scope.channel, scope.scope_key)
            if key in by_key:
                continue
            by_key[key] = new_id("sess")
            rows.append(
                (
                    by_key[key],
                    scope.channel,
                    scope.scope_key,
                    item.contact,
                    scope.chat_id,
                    "",
                    "active",
                    "agent",
                    0,
                    "{}",
                    0,
                    0,
                    moment(now),
                    moment(now),
                    moment(self.expires_at(scope.channel, now)),
                )
            )
        run_rows(_ADD_SESSIONS, rows)
        return {
            scope: replace(item, session=by_key[scope.channel, scope.scope_key], last_seq=0)
            for scope, item in missing.items()
        }

    def _restored(self, missing: Mapping[Scope, Found]) -> dict[Scope, Found]:
        """The last session of each, where it timed out: what was ended on purpose stays ended."""
        now = clock.now()
        by_key: dict[tuple[str, str], list[Scope]] = {}
        for scope in missing:
            by_key.setdefault((scope.channel, scope.scope_key), []).append(scope)
        back: dict[Scope, Found] = {}
        for key, scopes in by_key.items():
            rows = run(
                "SELECT id, last_seq, handler, expires_at <= ended_at FROM sessions_app_session "
                "WHERE channel = %s AND scope_key = %s AND state = 'terminated' "
                "ORDER BY ended_at DESC LIMIT 1",
                key,
            )
            for session, last_seq, handler, timed_out in rows:
                if timed_out and self.restore([session], now):
                    back |= {
                        scope: replace(
                            missing[scope], session=session, last_seq=last_seq, handler=handler
                        )
                        for scope in scopes
                    }
        return back


def number(messages: Iterable[NewMessage], last_seq: dict[str, int]) -> None:
    """Give each message without a place the next one; `last_seq` is moved along."""
    for item in messages:
        if item.seq is None:
            step = last_seq[item.session] // SEQ_STEP + 1
            item.seq = last_seq[item.session] = step * SEQ_STEP


def _state(file: Mapping[str, Any]) -> str:
    if file.get("path"):
        return "stored"
    return "failed" if file.get("error") else str(file.get("state") or "")


def _size(said: Any) -> int | None:
    """A size as somebody else gave it, where a column can hold it."""
    return said if isinstance(said, int) and 0 <= said < 2**63 else None
