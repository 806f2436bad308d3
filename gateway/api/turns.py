"""/turns: calls of agents."""

from __future__ import annotations

from typing import Any, Literal

from django.http import HttpRequest
from ninja import Router

from gateway.api.callers import Caller, Token, caller_of, within
from gateway.api.pages import DEFAULT, Cursor, Limit, Page, Word, page
from gateway.api.problems import Problem, missing
from gateway.api.shapes import TurnOut, turn_out
from gateway.ledger import operate
from gateway.models import Turn

router = Router(tags=["turns"])
READ, WRITE = Token("turns:read"), Token("turns:write")

State = Literal["", "queued", "running", "done", "failed", "cancelled", "quarantined"]


@router.get("", response=Page[TurnOut], auth=READ)
def list_turns(
    request: HttpRequest,
    session: Word = "",
    state: State = "",
    limit: Limit = DEFAULT,
    cursor: Cursor = "",
) -> dict[str, Any]:
    """Turns, newest first."""
    rows = Turn.objects.select_related("agent").filter(**within(caller_of(request), "session__"))
    wanted = {"session": session, "state": state}
    rows = rows.filter(**{name: value for name, value in wanted.items() if value})
    found, following = page(rows, limit, cursor)
    return {"items": [turn_out(row) for row in found], "next": following}


@router.get("/{turn_id}", response=TurnOut, auth=READ)
def get_turn(request: HttpRequest, turn_id: Word) -> TurnOut:
    """One turn."""
    return turn_out(_turn(caller_of(request), turn_id))


@router.post("/{turn_id}/cancel", response=TurnOut, auth=WRITE)
def cancel_turn(request: HttpRequest, turn_id: Word) -> TurnOut:
    """Stop a turn that waits or runs. What it was to answer ends silent."""
    caller = caller_of(request)
    if not operate.cancel_turns(caller.name, [_turn(caller, turn_id).pk]):
        raise Problem(409, "This turn has ended.")
    return turn_out(_turn(caller, turn_id))


@router.post("/{turn_id}/requeue", response=TurnOut, auth=WRITE)
def requeue_turn(request: HttpRequest, turn_id: Word) -> TurnOut:
    """Ask again where the answer failed or was stopped."""
    caller = caller_of(request)
    if not operate.requeue_turns(caller.name, [_turn(caller, turn_id).pk]):
        raise Problem(409, "This turn has neither failed nor been stopped.")
    return turn_out(_turn(caller, turn_id))


def _turn(caller: Caller, turn_id: str) -> Turn:
    rows = Turn.objects.select_related("agent").filter(**within(caller, "session__"))
    if found := rows.filter(pk=turn_id).first():
        return found
    raise missing("turn")
