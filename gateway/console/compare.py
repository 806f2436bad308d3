"""A turn's page of comparison: what was answered then, and by whomever was asked again."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from gateway.console.frame import OPERATE, render
from gateway.models import Agent, Replay, Turn
from gateway.replay.asking import NotReplayable, begin_replay
from gateway.replay.columns import again, then
from gateway.replay.question import DIFFERS, asked
from gateway.tasks import ask_again

PERMISSIONS = ("gateway.view_turn", "gateway.view_replay", "sessions_app.view_message")
SHOWN = 10
"""Replays on the page; older ones are in their table."""


@require_http_methods(["GET", "HEAD", "POST"])
def page(request: HttpRequest, turn: str) -> HttpResponse:
    """Both answers side by side; a POST asks once more, in the worker."""
    if not request.user.has_perms(PERMISSIONS):
        raise PermissionDenied
    found = Turn.objects.select_related("session__contact", "agent").filter(pk=turn).first()
    if found is None:
        raise Http404("no such turn")
    if request.method == "POST":
        return _again(request, found)
    replays = list(Replay.objects.filter(turn=found).order_by("-id")[:SHOWN])
    columns = [again(replay) for replay in replays]
    context = {
        "turn": found,
        "question": asked(found),
        "differs": DIFFERS,
        "then": then(found),
        "columns": columns,
        "waiting": any(column.waiting for column in columns),
        "agents": Agent.objects.order_by("name").values_list("name", flat=True),
    }
    return render(request, "console/compare.html", "Compare answers", context)


def _again(request: HttpRequest, turn: Turn) -> HttpResponse:
    if not request.user.has_perm(OPERATE):
        raise PermissionDenied
    actor = request.user.get_username()
    try:
        replay = begin_replay(actor, turn.pk, request.POST.get("agent", ""))
    except NotReplayable as error:
        messages.error(request, str(error))
    else:
        ask_again(replay.pk)
    return HttpResponseRedirect(address(turn.pk))


def address(turn: str) -> str:
    """Where the page of a turn is."""
    return reverse("admin:compare", args=(turn,))


@admin.action(permissions=["operate"], description="Ask another agent, and compare (one turn)")
def compare_turn(model_admin: Any, request: HttpRequest, rows: QuerySet[Turn]) -> Any:
    """From the list of turns to the page of the one that is chosen."""
    chosen = list(rows.order_by().values_list("pk", flat=True)[:2])
    if len(chosen) == 1:
        return HttpResponseRedirect(address(chosen[0]))
    messages.warning(request, "Choose one turn to compare.")
    return None
