"""What the gateway says or asks in a conversation without having been written to."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from gateway import channels
from gateway.compose import make_composer
from gateway.ledger.busy import queue_turns
from gateway.ledger.ingest import in_flight
from gateway.ledger.turns import ADD_DELIVERIES, note_row
from sessions_app.manager import Found, NewMessage, Scope, SessionManager, number
from sessions_app.sql import loads, run, run_rows

logger = logging.getLogger(__name__)

# an alias first: a contact's own id may have been given to somebody else since
_PERSON = """
SELECT c.user_id, c.access, c.aliases, c.name FROM sessions_app_contact c
WHERE c.channel = %s AND (c.user_id = %s OR c.id IN (
    SELECT a.contact_id FROM sessions_app_contactalias a WHERE a.channel = %s AND a.user_id = %s))
ORDER BY c.user_id = %s, c.id LIMIT 1
"""

_WAITING_TURN = """
SELECT id FROM gateway_turn WHERE session_id = %s AND state = 'queued' AND attempts = 0
"""

_KNOWN = """
SELECT m.session_id FROM sessions_app_message m
WHERE m.channel = %s AND m.external_id = %s AND m.external_id IS NOT NULL
"""


class NotAdmitted(Exception):
    """This person may not be written to; the text says why."""


@dataclass(frozen=True, slots=True)
class Outreach:
    """What is to be said (`text`, with `attachments` as `Intake.take` gives them) or asked.

    scope_key    whose conversation: "user:<id>" or "chat:<id>"; there with ":thread:<id>" for a
                 thread of it, and with ":user:<id>" for one member
    user_id      the person whose access counts
    target       where it goes, frozen; what is missing is taken from chat_id and scope_key
    origin       user, operator, schedule or system
    prompt       put to the agent instead of a text; its answer is sent
    external_id  unique on the channel: the same one again changes nothing
    name         of the person, where it is not known yet
    """

    channel: str
    scope_key: str
    user_id: str
    chat_id: str
    target: Mapping[str, Any]
    origin: str
    text: str = ""
    prompt: str = ""
    attachments: Sequence[Mapping[str, Any]] = ()
    name: str = ""
    external_id: str | None = None

    @property
    def where(self) -> dict[str, Any]:
        """The whole target."""
        is_group = self.scope_key.startswith("chat:")
        return {"chat_id": self.chat_id, "is_group": is_group, **self.target}


@dataclass(frozen=True, slots=True)
class Reached:
    """What became of it. `message` is None where its external id was known already.

    turn        the turn that a prompt waits for; empty for a text, or where an operator answers
    deliveries  keys of the parts of a text
    """

    session: str
    message: int | None
    turn: str = ""
    deliveries: Sequence[str] = field(default=())


def reach_out(outreach: Outreach, now: datetime) -> Reached:
    """Say or ask it, in the caller's transaction. Raises `NotAdmitted`, with nothing written."""
    outreach = _admitted(outreach)
    if session := _said_already(outreach):
        return Reached(session, None)
    sessions = channels.session_manager()
    found = _found(outreach, sessions, now)
    message = _message(outreach, found)
    last = {message.session: found.last_seq}
    number([message], last)
    (row,) = sessions.append_message([message], now)
    sessions.touch({message.session: (outreach.channel, last[message.session])}, now)
    assert row is not None  # asked above, in the same transaction
    if outreach.prompt:
        return Reached(message.session, row, _ask(message, now))
    return _say(outreach, message.session, row, sessions, now)


def _admitted(outreach: Outreach) -> Outreach:
    """The same under the id that the person is known by, if they may be written to."""
    channel, user_id = outreach.channel, outreach.user_id
    person = run(_PERSON, (channel, user_id, channel, user_id, user_id))
    known, access, others, name = person[0] if person else (user_id, "pending", "[]", "")
    aliases: list[str] = loads(others)
    if not channels.rules(channel).lets_in((known, *aliases), access):
        why = "blocked" if access == "blocked" else "not let in"
        logger.info("nothing was said to %s on %s: %s", known, channel, why)
        raise NotAdmitted(why)
    own = outreach.scope_key == f"user:{user_id}"
    key = f"user:{known}" if own else outreach.scope_key
    return replace(outreach, user_id=known, scope_key=key, name=outreach.name or name)


def _said_already(outreach: Outreach) -> str:
    """The session in which it was said, if its external id is known."""
    rows = run(_KNOWN, (outreach.channel, outreach.external_id)) if outreach.external_id else []
    return str(rows[0][0]) if rows else ""


def _found(outreach: Outreach, sessions: SessionManager, now: datetime) -> Found:
    """The open session; one that was idle for too long is ended first, and a new one made."""
    scope = Scope(
        outreach.channel, outreach.scope_key, outreach.user_id, outreach.chat_id, outreach.name
    )
    found = sessions.find([scope])
    there = found[scope]
    late = there.expires_at is not None and there.expires_at <= now
    if there.session and late and not in_flight([there.session]):
        sessions.expire([there.session], now)
        found = sessions.find([scope])
    return sessions.get_or_create(found)[scope]


def _message(outreach: Outreach, found: Found) -> NewMessage:
    handled = found.handler == "agent"
    asks = bool(outreach.prompt)
    waits = "pending" if handled else "handed_over"
    return NewMessage(
        session=str(found.session),
        channel=outreach.channel,
        role="user" if asks else "assistant",
        origin=outreach.origin,
        text=outreach.prompt or outreach.text,
        external_id=outreach.external_id,
        sender=outreach.user_id if asks else "",
        target=outreach.where if asks else {},
        disposition=waits if asks else "",
        generated=True,
    )


def _ask(message: NewMessage, now: datetime) -> str:
    if message.disposition != "pending":
        return ""
    queue_turns({message.session: message.seq or 0}, now)
    return str(run(_WAITING_TURN, (message.session,))[0][0])


def _say(
    outreach: Outreach, session: str, message: int, sessions: SessionManager, now: datetime
) -> Reached:
    parts = make_composer().answer(outreach.channel, outreach.text, outreach.attachments)
    where = outreach.where
    rows = [
        note_row(outreach.channel, where["chat_id"], where, part, now, session, message, place)
        for place, part in enumerate(parts)
    ]
    run_rows(ADD_DELIVERIES, rows)
    sessions.attach([(message, file) for file in outreach.attachments], now)
    return Reached(session, message, deliveries=[row[0] for row in rows])
