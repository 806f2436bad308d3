"""How a session stands: what goes on in it, or what went wrong with it last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery

from gateway.console.work import DEAD, STUCK
from gateway.ledger.operate import DISCARDED
from gateway.models import Delivery, Turn
from sessions_app.models import Message, Session

Look = tuple[str, str]
"""(a state's name in the style sheet, its word)."""

UNANSWERED: Look = ("failed", "not answered")
UNDELIVERED: Look = ("failed", "not delivered")
UNSURE: Look = ("unsure", "delivery unsure")


def troubles(sessions: Iterable[str], last: Mapping[str, Message]) -> dict[str, Look]:
    """session -> what went wrong with its last turn or reply; two queries for all.

    `last` is the last message of each. Sessions of which all is well are not in it.
    """
    newest = Turn.objects.filter(session=OuterRef("pk")).order_by("-upto_seq", "-pk")
    asked = Session.objects.filter(pk__in=list(sessions))
    states = asked.values_list("pk", Subquery(newest.values("state")[:1]))
    found = {session: UNANSWERED for session, state in states if state in STUCK}
    replies = {message.pk: session for session, message in last.items()}
    dead = _dead().filter(message__in=list(replies)).values_list("message", "state")
    for message, state in dead:
        session = replies[message or 0]
        unsure = state == Delivery.State.UNSURE and found.get(session) != UNDELIVERED
        found[session] = UNSURE if unsure else UNDELIVERED
    return found


def standing(session: Session, open_turns: set[str], trouble: Look | None = None) -> Look:
    """How it stands, given the states of its open turns and what went wrong last."""
    if Turn.State.RUNNING in open_turns:
        return "running", "answering"
    if session.state == Session.State.TERMINATED:
        return (trouble[0], f"ended, {trouble[1]}") if trouble else ("done", "ended")
    if session.handler == Session.Handler.OPERATOR:
        return "handed-over", "handed over"
    if Turn.State.QUEUED in open_turns:
        return "waiting", "waiting"
    return trouble or ("done", session.state)


def unanswered(sessions: QuerySet[Session]) -> QuerySet[Session]:
    """Those whose last turn failed. Begins with what failed, which is little."""
    later = Q(upto_seq__gt=OuterRef("upto_seq")) | Q(
        upto_seq=OuterRef("upto_seq"), pk__gt=OuterRef("pk")
    )
    after = Turn.objects.filter(later, session=OuterRef("session"))
    bad = Turn.objects.filter(Q(state__in=STUCK), ~Exists(after))
    return sessions.filter(pk__in=bad.values("session"))


def undelivered(sessions: QuerySet[Session]) -> QuerySet[Session]:
    """Those whose last message has a part that did not arrive, or may not have."""
    last = _dead().filter(message__seq=F("session__last_seq"))
    return sessions.filter(pk__in=last.values("session"))


def _dead() -> QuerySet[Delivery]:
    return Delivery.objects.filter(state__in=DEAD).exclude(error_code=DISCARDED)
