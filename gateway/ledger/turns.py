"""Verb 3, `finish_turns`: what an agent said is kept, queued to be sent, and the turn ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.ledger.circuit import Circuit
from gateway.ledger.handover import SAME_HANDS, drop_unheard
from gateway.ledger.records import ClaimedTurn, FinishedTurn, Part
from sessions_app import clock
from sessions_app.ids import new_key
from sessions_app.manager import NewMessage, SessionManager
from sessions_app.models import SEQ_STEP
from sessions_app.sql import dumps, loads_object, moment, run, run_each, run_rows

LEASE_SECONDS = 60.0
"""For how long a claim holds without being renewed."""

MADE_BY = ("ingest", "finish_turns", "finish_fetches")
"""The verbs after which there may be a turn to start."""

_FINISH = f"""
WITH ended(id, attempt, state, partial, events, usage, code, detail, first, ended, later, fence)
  AS ({{rows}})
UPDATE gateway_turn
SET state = ended.state, partial_text = ended.partial, events = ended.events,
    usage = ended.usage, error_code = ended.code, error_detail = ended.detail,
    first_token_at = ended.first, ended_at = ended.ended,
    not_before = COALESCE(ended.later, not_before), lease_owner = '', lease_until = NULL
FROM ended
WHERE gateway_turn.id = ended.id AND gateway_turn.attempts = ended.attempt
  AND gateway_turn.state = 'running' AND gateway_turn.lease_owner = %s
  AND {SAME_HANDS}
RETURNING gateway_turn.id
"""  # noqa: S608  (a constant of ours)

_KEEP = """
UPDATE gateway_turn SET partial_text = %s, events = %s, first_token_at = %s
WHERE id = %s AND attempts = %s AND state = 'cancelled' AND partial_text = ''
"""

DISPOSE = """
UPDATE sessions_app_message SET disposition = %s
WHERE session_id = %s AND disposition = 'pending' AND seq <= %s
"""

ADD_DELIVERIES = """
INSERT INTO gateway_delivery
    (key, session_id, message_id, part, channel, chat_id, is_group, target, text, plain,
     repeated, state, not_before, attempts, lease_owner, receipt, error_code, error_detail,
     trace, created_at, extra, turn)
{rows}
"""

_GROW = """
WITH final(turn, message_id, text, extra) AS ({rows})
UPDATE gateway_delivery
SET text = final.text, extra = final.extra, message_id = final.message_id,
    stale = CASE WHEN state = 'sending' THEN TRUE ELSE FALSE END,
    not_before = CASE WHEN state = 'sent' THEN %s ELSE not_before END,
    state = CASE WHEN state = 'sent' THEN 'queued' ELSE state END
FROM final
WHERE gateway_delivery.turn = final.turn AND NOT gateway_delivery.turn = ''
  AND state IN ('queued', 'sending', 'sent')
RETURNING gateway_delivery.turn
"""

DROP_PREVIEW = """
DELETE FROM gateway_delivery
WHERE turn = %s AND NOT turn = '' AND state = 'queued' AND attempts = 0
"""

_LAST_REPLY = """
WITH wanted(session_id, after_seq, before_seq) AS ({rows})
SELECT m.session_id, MAX(m.seq)
FROM wanted w JOIN sessions_app_message m
  ON m.session_id = w.session_id AND m.seq > w.after_seq AND m.seq < w.before_seq
GROUP BY m.session_id
"""

DISPOSITIONS = {"done": "answered", "failed": "failed", "cancelled": "silent"}


@dataclass(frozen=True, slots=True)
class Ended:
    """What `finish_turns` wrote: None ids where there was nothing to say. `won` is False
    where the turn had been taken away (cancelled, or claimed by another). `state` is how
    the turn stands now: one that found nobody may wait where it would have failed."""

    won: bool
    message: int | None = None
    state: str = ""


class FinishTurns:
    """Appends replies, queues their parts, ends turns and disposes of what they answered."""

    def __init__(
        self,
        owner: str,
        sessions: SessionManager,
        circuit: Circuit | None = None,
        freed: Callable[[list[str]], None] = lambda sessions: None,
    ) -> None:
        """`freed` is told of the sessions whose turns have ended."""
        self._owner, self._sessions, self._circuit = owner, sessions, circuit
        self._freed = freed

    def __call__(self, finished: Sequence[FinishedTurn]) -> list[Ended]:
        now = clock.now()
        if self._circuit is not None:
            finished = self._circuit.judge(finished, now)
        won = {
            row[0] for row in run_rows(_FINISH, [_columns(f, now) for f in finished], [self._owner])
        }
        ended = [item for item in finished if item.turn.id in won]
        messages, ids = append_replies(self._sessions, ended, now)
        self._settle([item for item in ended if item.state in DISPOSITIONS], messages, now)
        if lost := [item for item in finished if item.turn.id not in won]:
            drop_unheard(lost, self._owner, now)
            _keep_words(lost)
        if self._circuit is not None:
            self._circuit.waive(ended)
        self._freed([item.turn.session for item in ended])
        return [Ended(item.turn.id in won, ids.get(item.turn.id), item.state) for item in finished]

    def _settle(
        self, ended: list[FinishedTurn], messages: Mapping[str, NewMessage], now: datetime
    ) -> None:
        run_each(
            DISPOSE,
            [
                (
                    "silent" if item.silent else DISPOSITIONS[item.state],
                    item.turn.session,
                    item.turn.upto_seq,
                )
                for item in ended
            ],
        )
        self._sessions.answered_by({item.turn.session: item.agent for item in ended if item.agent})
        self._sessions.touch(
            {
                item.turn.session: (
                    item.turn.channel,
                    (messages[item.turn.id].seq or 0) if item.turn.id in messages else 0,
                )
                for item in ended
            },
            now,
        )
        for item in ended:
            if item.context:
                _merge_context(item.turn.session, item.context)


def append_replies(
    sessions: SessionManager, ended: Sequence[FinishedTurn], now: datetime
) -> tuple[dict[str, NewMessage], dict[str, int | None]]:
    """Write what was said, with its files, and queue its parts. Messages and row ids by turn."""
    messages = {item.turn.id: _reply(item) for item in ended if item.parts or item.text}
    _make_room([item for item in ended if item.turn.id in messages], messages)
    rows = sessions.append_message(list(messages.values()), now)
    ids = dict(zip(messages, rows, strict=True))
    queue_parts([(item, ids.get(item.turn.id)) for item in ended], now)
    sessions.attach(
        [
            (message, file)
            for item in ended
            if (message := ids.get(item.turn.id)) is not None
            for file in item.attachments
        ],
        now,
    )
    return messages, ids


def _keep_words(lost: Sequence[FinishedTurn]) -> None:
    """What a turn had said, for people to see, when an operator stopped it meanwhile."""
    run_each(DROP_PREVIEW, [(item.turn.id,) for item in lost])
    run_each(
        _KEEP,
        [
            (
                item.partial or item.text,
                dumps(item.events),
                moment(item.first_token_at),
                item.turn.id,
                item.turn.attempt,
            )
            for item in lost
        ],
    )


def queue_parts(replies: Sequence[tuple[FinishedTurn, int | None]], now: datetime) -> None:
    """One delivery row per part, in order, to the chat the question came from.

    A first part that is shown already, as far as it was written, gets its final text.
    """
    grown = _grow([(item, message) for item, message in replies if item.preview], now)
    run_rows(
        ADD_DELIVERIES,
        [
            delivery_row(item.turn, message, number, part, now)
            for item, message in replies
            for number, part in enumerate(item.parts)
            if number or item.turn.id not in grown
        ],
    )


def _grow(replies: Sequence[tuple[FinishedTurn, int | None]], now: datetime) -> set[str]:
    """Previews get their final text; those that nobody has seen vanish with their turn."""
    done = [(item, message) for item, message in replies if item.state == "done" and item.parts]
    rows = [
        (item.turn.id, message, item.parts[0].text, dumps(item.parts[0].extra))
        for item, message in done
    ]
    grown = {row[0] for row in run_rows(_GROW, rows, (moment(now),))}
    run_each(DROP_PREVIEW, [(item.turn.id,) for item, _ in replies if item.turn.id not in grown])
    return grown


def delivery_row(
    turn: ClaimedTurn, message: int | None, number: int, part: Part, now: datetime, grows: str = ""
) -> tuple[Any, ...]:
    """A row for `ADD_DELIVERIES`. `grows` is the turn whose answer grows in it."""
    where = (turn.session, message, number, turn.channel, turn.chat_id)
    return _row(where, turn.target, part, now, grows)


def note_row(
    channel: str,
    chat_id: str,
    target: Mapping[str, Any],
    said: str | Part,
    now: datetime,
    session: str | None = None,
    message: int | None = None,
    number: int = 0,
) -> tuple[Any, ...]:
    """A row for `ADD_DELIVERIES` with a word of the gateway's own; its key comes first in it."""
    part = Part(said) if isinstance(said, str) else said
    return _row((session, message, number, channel, chat_id), target, part, now)


def _row(
    where: tuple[Any, ...],
    target: Mapping[str, Any],
    part: Part,
    now: datetime,
    grows: str = "",
) -> tuple[Any, ...]:
    at = moment(now)
    is_group = bool(target.get("is_group"))
    sending = (part.text, False, False, "queued", at, 0, "", "", "", "", "[]", at)
    return (new_key(), *where, is_group, dumps(target), *sending, dumps(part.extra), grows)


def _reply(item: FinishedTurn) -> NewMessage:
    """The reply stands right behind what it answers, whatever came in meanwhile."""
    failed, planned = item.state == "failed", item.turn.origin == "schedule"
    return NewMessage(
        session=item.turn.session,
        channel=item.turn.channel,
        role="system" if failed else "assistant",
        origin="system" if failed else "schedule" if planned else "agent",
        text=item.notice if failed else item.text,
        seq=item.turn.upto_seq + 1,
        generated=planned,
    )


def last_replies(places: Sequence[tuple[str, int]]) -> dict[str, int]:
    """Of (session, place of a question): the place of the last message that stands behind it."""
    return dict(run_rows(_LAST_REPLY, [(one, seq, seq + SEQ_STEP) for one, seq in places]))


def _make_room(ended: Sequence[FinishedTurn], messages: Mapping[str, NewMessage]) -> None:
    """A turn that is answered once more (after a notice) gets the next place behind it."""
    again = [item.turn for item in ended if item.turn.attempt > 1 or item.turn.noticed]
    taken = last_replies([(turn.session, turn.upto_seq) for turn in again])
    for turn in again:
        if (last := taken.get(turn.session)) is not None:
            messages[turn.id].seq = last + 1
    run_each(
        "UPDATE sessions_app_session SET revision = revision + 1 WHERE id = %s",
        [(session,) for session in taken],
    )


def _columns(item: FinishedTurn, now: datetime) -> tuple[Any, ...]:
    return (
        item.turn.id,
        item.turn.attempt,
        item.state,
        item.partial,
        dumps(item.events),
        dumps(item.usage),
        item.error_code,
        item.error_detail,
        moment(item.first_token_at),
        moment(now) if item.state != "queued" else None,
        moment(item.not_before),
        item.turn.fence,
    )


def _merge_context(session: str, context: Mapping[str, Any]) -> None:
    for (current,) in run("SELECT context FROM sessions_app_session WHERE id = %s", (session,)):
        merged = loads_object(current) | dict(context)
        run("UPDATE sessions_app_session SET context = %s WHERE id = %s", (dumps(merged), session))
