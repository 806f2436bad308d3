"""/deliveries: what goes out, part by part."""

from __future__ import annotations

from typing import Any, Literal

from django.http import HttpRequest
from ninja import Router

from gateway.api.callers import Caller, Token, caller_of, within
from gateway.api.pages import DEFAULT, Cursor, Limit, Page, Word, page
from gateway.api.problems import Problem, missing
from gateway.api.shapes import DeliveryOut, delivery_out
from gateway.ledger import operate
from gateway.models import Delivery

router = Router(tags=["deliveries"])
READ, WRITE = Token("deliveries:read"), Token("deliveries:write")

State = Literal["", "queued", "sending", "sent", "failed", "expired", "unsure"]


@router.get("", response=Page[DeliveryOut], auth=READ)
def list_deliveries(
    request: HttpRequest,
    session: Word = "",
    channel: Word = "",
    state: State = "",
    limit: Limit = DEFAULT,
    cursor: Cursor = "",
) -> dict[str, Any]:
    """Deliveries, newest first."""
    rows = Delivery.objects.filter(**within(caller_of(request), "session__"))
    wanted = {"session": session, "channel": channel, "state": state}
    rows = rows.filter(**{name: value for name, value in wanted.items() if value})
    found, following = page(rows, limit, cursor)
    return {"items": [delivery_out(row) for row in found], "next": following}


@router.get("/{delivery_id}", response=DeliveryOut, auth=READ)
def get_delivery(request: HttpRequest, delivery_id: Word) -> DeliveryOut:
    """One delivery."""
    return delivery_out(_delivery(caller_of(request), delivery_id))


@router.post("/{delivery_id}/retry", response=DeliveryOut, auth=WRITE)
def retry_delivery(request: HttpRequest, delivery_id: Word) -> DeliveryOut:
    """Send again what failed, expired or is unsure."""
    caller = caller_of(request)
    if not operate.retry_deliveries(caller.name, [_delivery(caller, delivery_id).pk]):
        raise Problem(409, "This part waits or was sent.")
    return delivery_out(_delivery(caller, delivery_id))


@router.post("/{delivery_id}/discard", response=DeliveryOut, auth=WRITE)
def discard_delivery(request: HttpRequest, delivery_id: Word) -> DeliveryOut:
    """Let a part go that failed, expired, is unsure or waits to be sent."""
    caller = caller_of(request)
    if not operate.discard_deliveries(caller.name, [_delivery(caller, delivery_id).pk]):
        raise Problem(409, "This part is being sent, was sent, or was let go already.")
    return delivery_out(_delivery(caller, delivery_id))


def _delivery(caller: Caller, key: str) -> Delivery:
    rows = Delivery.objects.filter(**within(caller, "session__"))
    if found := rows.filter(key=key).first():
        return found
    raise missing("delivery")
