"""What operators can do from the admin's lists, and the live page's stop button.

Each is offered to, and done for, accounts with the permission `sessions_app.operate`
only; all of them go through gateway/ledger/operate.py, which writes the audit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST

from gateway.console.frame import OPERATE
from gateway.ledger import operate, pairing

Verb = Callable[[str, Iterable[Any]], int]


class Operable:
    """A list whose actions ask for the permission to step in."""

    def has_operate_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Whether this account may step in."""
        return request.user.has_perm(OPERATE)


def action(verb: Verb, offer: str, done: str) -> Callable[..., None]:
    """An action of an admin list: `offer` is what it is called, `done` what it reports."""

    @admin.action(permissions=["operate"], description=offer)
    def act(model_admin: Any, request: HttpRequest, rows: QuerySet[Any]) -> None:
        chosen = list(rows.order_by().values_list("pk", flat=True))
        changed = verb(request.user.get_username(), chosen)
        report(request, changed, len(chosen), done)

    act.__name__ = verb.__name__
    return act


def report(request: HttpRequest, changed: int, chosen: int, done: str) -> None:
    """Say what came of it; rows that had moved on meanwhile are not passed over in silence."""
    if changed == chosen:
        messages.success(request, f"{changed} {done}.")
    else:
        left = chosen - changed
        messages.warning(
            request,
            f"{changed} {done}. {left} left as {'it was' if left == 1 else 'they were'}: "
            "in another state by now, or never in one to which this applies.",
        )


terminate_sessions = action(
    operate.terminate_sessions, "End the selected sessions and stop their turns", "ended"
)
restore_sessions = action(
    operate.restore_sessions, "Restore the selected ended sessions", "restored"
)
cancel_turns = action(operate.cancel_turns, "Stop the selected turns", "stopped")
requeue_turns = action(
    operate.requeue_turns,
    "Ask again for the selected failed, quarantined or stopped turns",
    "queued again",
)
discard_turns = action(
    operate.discard_turns, "Let the selected quarantined turns go", "failed for good"
)
retry_deliveries = action(
    operate.retry_deliveries, "Send the selected dead letters again", "queued again"
)
discard_deliveries = action(
    operate.discard_deliveries, "Let the selected dead letters and waiting parts go", "discarded"
)

approve_pairings = action(
    pairing.approve_pairings, "Let in the selected people, and tell them", "let in"
)
refuse_pairings = action(pairing.refuse_pairings, "Keep the selected people out", "kept out")


@require_POST
def cancel(request: HttpRequest) -> HttpResponse:
    """POST /admin/live/cancel/ with one or more `turn`: stop them.

    Answers `{"cancelled": <how many>}`; 0 where they had ended before. 403 for
    who may not step in.
    """
    if not request.user.has_perm(OPERATE):
        raise PermissionDenied
    turns = request.POST.getlist("turn")
    return JsonResponse({"cancelled": operate.cancel_turns(request.user.get_username(), turns)})
