"""Verb `open_previews`: the beginning of an answer becomes the row of its first part.

The row is sent like any other, in its lane's order. When the turn ends, the same
row gets the final text, and the message that it became is edited.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.ledger.records import OpenPreview, Part, Preview
from gateway.ledger.turns import ADD_DELIVERIES, delivery_row
from sessions_app import clock
from sessions_app.sql import run_rows

_OPEN = (
    ADD_DELIVERIES
    + """
ON CONFLICT (turn) WHERE NOT turn = ''
DO UPDATE SET text = CASE WHEN gateway_delivery.state = 'queued' AND gateway_delivery.receipt = ''
                          THEN excluded.text ELSE gateway_delivery.text END
RETURNING turn, state, receipt
"""
)

_RUNNING = """
WITH wanted(id, attempt) AS ({rows})
SELECT t.id FROM wanted w JOIN gateway_turn t ON t.id = w.id AND t.attempts = w.attempt
WHERE t.state = 'running'
"""


def open_previews(previews: Sequence[Preview]) -> list[OpenPreview | None]:
    """One row each; None where the turn runs no more. A turn asked again finds its old row."""
    now = clock.now()
    wanted = [(preview.turn.id, preview.turn.attempt) for preview in previews]
    running = {row[0] for row in run_rows(_RUNNING, wanted)}
    rows = [
        delivery_row(preview.turn, None, 0, Part(preview.text), now, grows=preview.turn.id)
        for preview in previews
        if preview.turn.id in running
    ]
    found = {turn: OpenPreview(state, receipt) for turn, state, receipt in run_rows(_OPEN, rows)}
    return [found.get(preview.turn.id) for preview in previews]
