"""What came of what was planned: an occurrence ends when what it caused has ended."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from sessions_app.models import SEQ_STEP
from sessions_app.sql import moment, run

_SETTLE = f"""
WITH fired AS (
    SELECT o.id, o.turn, o.message_id, m.role, m.disposition,
           t.state AS turn_state, t.error_code AS turn_code, t.session_id, t.upto_seq
    FROM gateway_occurrence o
    LEFT JOIN sessions_app_message m ON m.id = o.message_id
    LEFT JOIN gateway_turn t ON t.id = o.turn
    WHERE o.state = 'claimed'),
said AS (
    SELECT id, message_id FROM fired WHERE turn = '' AND message_id IS NOT NULL
    UNION ALL
    SELECT f.id, r.id FROM fired f
    JOIN sessions_app_message r ON r.session_id = f.session_id
     AND r.seq > f.upto_seq AND r.seq < f.upto_seq + {SEQ_STEP} AND r.role = 'assistant'),
parts AS (
    SELECT s.id,
           SUM(CASE WHEN d.state IN ('queued', 'sending') THEN 1 ELSE 0 END) AS under_way,
           MAX(CASE WHEN d.state IN ('failed', 'expired', 'unsure')
                    THEN COALESCE(NULLIF(d.error_code, ''), d.state) END) AS code
    FROM said s JOIN gateway_delivery d ON d.message_id = s.message_id
    GROUP BY s.id),
ended AS (
    SELECT f.id,
           CASE
             WHEN f.turn <> '' AND f.turn_state IS NULL THEN 'failed'
             WHEN f.turn = '' AND f.message_id IS NULL THEN 'failed'
             WHEN f.turn <> '' AND f.turn_state <> 'done' THEN 'failed'
             WHEN p.code IS NOT NULL THEN 'failed'
             ELSE 'ran' END AS state,
           CASE
             WHEN f.turn <> '' AND f.turn_state IS NULL THEN 'the conversation was deleted'
             WHEN f.turn = '' AND f.message_id IS NULL THEN 'the conversation was deleted'
             WHEN f.turn <> '' AND f.turn_state <> 'done'
               THEN 'agent: ' || COALESCE(NULLIF(f.turn_code, ''), f.turn_state)
             WHEN p.code IS NOT NULL THEN 'delivery failed: ' || p.code
             WHEN f.disposition = 'handed_over' THEN 'left to an operator'
             WHEN f.turn <> '' AND p.id IS NULL THEN 'the agent had nothing to say'
             ELSE '' END AS reason
    FROM fired f LEFT JOIN parts p ON p.id = f.id
    WHERE COALESCE(p.under_way, 0) = 0
      AND (f.turn_state IS NULL OR f.turn_state NOT IN ('queued', 'running')))
UPDATE gateway_occurrence SET state = ended.state, reason = ended.reason, ended_at = %s
FROM ended WHERE gateway_occurrence.id = ended.id AND gateway_occurrence.state = 'claimed'
RETURNING gateway_occurrence.id
"""  # noqa: S608  (a number of ours)


_FORGET = """
DELETE FROM gateway_occurrence WHERE id IN (
    SELECT id FROM gateway_occurrence WHERE ended_at < %s ORDER BY id LIMIT 500)
RETURNING id
"""


def forget_occurrences(oldest: datetime) -> int:
    """Delete what ended before `oldest`, a few hundred rows at a time. Returns how many."""
    forgotten = 0
    while True:
        with transaction.atomic():
            gone = len(run(_FORGET, (moment(oldest),)))
        forgotten += gone
        if gone < 500:
            return forgotten


def settle(now: datetime) -> int:
    """End every occurrence whose message went out, or did not, or whose turn ended.

    The agent's failure ("agent: <code>") and the platform's ("delivery failed:
    <code>") are told apart. Returns how many ended.
    """
    with transaction.atomic():
        return len(run(_SETTLE, (moment(now),)))
