"""What a platform says later about deliveries: it settles the unsure, and shows what failed.

Its word that a part arrived is the receipt of a part that waits because it may
have been sent: it is not sent again. Its word that a part failed makes a dead
letter, also of one that counted as sent; where the adapter has another form for it,
that is sent instead, once. While a part is being sent the word is
only noted; the end of that send takes it in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapters.base import Status
from gateway.ledger.deliveries import FALLBACK
from gateway.ledger.undelivered import note_undelivered
from sessions_app import clock
from sessions_app.sql import Row, dumps, loads, loads_object, moment, run, run_rows

RANKS = {"": 0, "sent": 1, "delivered": 2, "read": 3, "failed": 4}
"""A later word never goes back to an earlier one."""

MAX_RECEIPT = 255
MAX_DETAIL = 500

_FIND = """
WITH wanted(name) AS ({rows})
SELECT d.id, d.key, d.receipt, d.state, d.status, d.trace, d.extra
FROM wanted w JOIN gateway_delivery d ON """
_BY_KEY = _FIND + "d.key = w.name WHERE d.channel = %s AND d.attempts > 0"
_BY_RECEIPT = _FIND + "d.receipt = w.name AND d.channel = %s AND NOT d.receipt = ''"

_NOTE = """
UPDATE gateway_delivery SET status = %s, receipt = CASE WHEN receipt = '' THEN %s ELSE receipt END
WHERE id = %s
"""

_ARRIVED = """
UPDATE gateway_delivery SET state = 'sent', sent_at = %s, trace = %s,
       error_code = '', error_detail = ''
WHERE id = %s AND state IN ('queued', 'unsure', 'expired')
RETURNING id
"""

_NOTE_WHY = """
UPDATE gateway_delivery SET error_detail = %s WHERE id = %s AND state = 'sending'
"""

_FAILED = """
UPDATE gateway_delivery SET state = 'failed', error_code = 'refused', error_detail = %s, trace = %s,
       failed_at = %s
WHERE id = %s AND state IN ('queued', 'unsure', 'expired', 'sent')
RETURNING id
"""


_AGAIN = """
UPDATE gateway_delivery SET state = 'queued', receipt = '', status = '', extra = %s, trace = %s,
       not_before = %s, repeated = FALSE, sent_at = NULL, error_code = 'fallback', error_detail = %s
WHERE id = %s AND state IN ('queued', 'unsure', 'expired', 'sent')
"""


def note_statuses(channel: str, statuses: Sequence[Status]) -> None:
    """Write down what is said about our deliveries; what names none of ours is ignored."""
    ordered = sorted(statuses, key=lambda status: RANKS[status.state])
    keys = {status.key for status in ordered if status.key}
    receipts = {status.receipt for status in ordered if not status.key and status.receipt}
    by_key = {row[1]: row for row in run_rows(_BY_KEY, [(key,) for key in keys], (channel,))}
    by_receipt = {
        row[2]: row for row in run_rows(_BY_RECEIPT, [(one,) for one in receipts], (channel,))
    }
    noted: dict[int, str] = {}
    for status in ordered:
        row = by_key.get(status.key) if status.key else by_receipt.get(status.receipt)
        if row is not None and loads_object(row[6]).get(FALLBACK) == status.receipt:
            continue  # about the form that was given up
        if row is not None and RANKS[status.state] > RANKS[noted.get(row[0]) or str(row[4])]:
            noted[row[0]] = status.state
            _apply(row, status)


def _apply(row: Row, status: Status) -> None:
    extra = loads_object(row[6])
    if status.fallback and status.receipt and FALLBACK not in extra:
        _again(row, status, {**extra, FALLBACK: status.receipt})
        return
    run(_NOTE, (status.state, status.receipt[:MAX_RECEIPT], row[0]))
    entry = {"at": clock.now().isoformat(timespec="milliseconds"), "result": status.state}
    detail = (status.detail or "the platform says that it failed")[:MAX_DETAIL]
    if status.state == "failed":
        trace = dumps([*loads(row[5]), {**entry, "detail": detail}])
        changed = run(_FAILED, (detail, trace, moment(clock.now()), row[0]))
        run(_NOTE_WHY, (detail, row[0]))  # the end of that send takes it in
        note_undelivered([one for (one,) in changed])
    elif row[3] != "sent":
        trace = dumps([*loads(row[5]), {**entry, "detail": "by the platform's own word"}])
        changed = run(_ARRIVED, (moment(clock.now()), trace, row[0]))
        note_undelivered([one for (one,) in changed])


def _again(row: Row, status: Status, extra: dict[str, Any]) -> None:
    """It failed in its first form, and goes out in the other."""
    now, detail = clock.now(), status.detail[:MAX_DETAIL]
    entry = {"at": now.isoformat(timespec="milliseconds"), "result": "failed", "detail": detail}
    trace = dumps([*loads(row[5]), entry])
    run(_AGAIN, (dumps(extra), trace, moment(now), detail, row[0]))
    note_undelivered([row[0]])
