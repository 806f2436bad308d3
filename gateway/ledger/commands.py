"""What people can tell the gateway itself, on every channel: /new, /stop, /remind and more."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from gateway.ledger.records import Told
from gateway.ledger.reminding import remind
from gateway.ledger.turns import ADD_DELIVERIES, note_row
from sessions_app.manager import NewMessage, SessionManager
from sessions_app.sql import moment, parse_moment, run, run_rows

MENU: Mapping[str, str] = {
    "/new": "begin a new conversation",
    "/stop": "stop the answer that is being written",
    "/status": "what is going on",
    "/remind": "plan a reminder: /remind in 10 minutes drink water",
    "/help": "this list",
}
"""What people are shown."""

HELP = "\n".join(f"{command} – {what}" for command, what in MENU.items())
START = f"Hello! Write anything here and it is answered. Some things I do myself:\n\n{HELP}"
NEW = "A new conversation begins. What came before is not forgotten, only set aside."
STOPPED = "Stopped."
NOTHING = "Nothing is under way."

COMMANDS = ("/new", "/stop", "/status", "/help")
WITH_WORDS = ("/remind", "/start")
"""Commands with more words behind them. Some platforms say `/start` for a person who is new."""

_CANCEL = """
UPDATE gateway_turn SET state = 'cancelled', ended_at = %s, lease_owner = '', lease_until = NULL
WHERE session_id = %s AND state IN ('queued', 'running')
RETURNING id
"""

_SILENCE = """
UPDATE sessions_app_message SET disposition = 'silent'
WHERE session_id = %s AND disposition = 'pending'
"""

_FACTS = """
SELECT s.agent, s.created_at,
       (SELECT COUNT(*) FROM sessions_app_message m
        WHERE m.session_id = s.id AND m.role IN ('user', 'assistant')),
       (SELECT COUNT(*) FROM gateway_turn t WHERE t.session_id = s.id AND t.state = 'running'),
       (SELECT COUNT(*) FROM sessions_app_message m
        WHERE m.session_id = s.id AND m.disposition = 'pending')
FROM sessions_app_session s WHERE s.id = %s
"""


def command_in(text: str) -> str:
    """The command that a text is, or an empty text."""
    word = text.strip().lower()
    first = word.split(maxsplit=1)[0] if word.startswith(WITH_WORDS) else ""
    return word if word in COMMANDS else first if first in WITH_WORDS else ""


def carry_out(
    command: str, told: Told, sessions: SessionManager, now: datetime
) -> tuple[list[str], int | None]:
    """Do it and answer. Returns the turns that were taken away, and the answer's message id."""
    cancelled: list[str] = []
    match command:
        case "/help":
            text = HELP
        case "/start":
            text = START
        case "/status":
            text = _status(told.session, now)
        case "/remind":
            text = remind(told, now)
        case "/stop":
            cancelled = _cancel(told.session, now)
            text = STOPPED if cancelled else NOTHING
        case _:
            cancelled, text = _cancel(told.session, now), NEW
    message = _answer(text, told, sessions, now)
    if command == "/new":
        sessions.close([told.session], now)
    return cancelled, message


def _cancel(session: str, now: datetime) -> list[str]:
    """What runs and waits in this conversation ends; its messages stay unanswered on purpose."""
    taken = [row[0] for row in run(_CANCEL, (moment(now), session))]
    run(_SILENCE, (session,))
    run(
        "DELETE FROM gateway_delivery WHERE state = 'queued' AND attempts = 0 "
        "AND NOT turn = '' AND session_id = %s AND message_id IS NULL",
        (session,),
    )
    return taken


def _status(session: str, now: datetime) -> str:
    for agent, created, messages, running, waiting in run(_FACTS, (session,)):
        since = parse_moment(created)
        minutes = int((now - since).total_seconds() // 60) if since else 0
        lines = [
            f"Agent: {agent or 'not asked yet'}",
            f"This conversation: {messages} messages in {minutes} minutes",
            "An answer is being written." if running else "No answer is being written.",
        ]
        return "\n".join([*lines, *([f"Waiting: {waiting}"] if waiting else [])])
    return NOTHING


def _answer(text: str, told: Told, sessions: SessionManager, now: datetime) -> int | None:
    reply = NewMessage(told.session, told.channel, "system", "system", text, seq=told.seq + 1)
    (message,) = sessions.append_message([reply], now)
    note = note_row(told.channel, told.chat_id, told.target, text, now, told.session, message)
    run_rows(ADD_DELIVERIES, [note])
    return message
