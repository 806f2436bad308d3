"""The pages of one turn and of one delivery: who, where, when, how it stands and why."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join

from gateway.console.reasons import Reason
from gateway.console.transcript import step
from gateway.console.work import Call, Part
from gateway.models import Delivery, Turn
from sessions_app.admin import place
from sessions_app.lists import ago, chip
from sessions_app.models import SEQ_STEP, Message, Session

MAX_TEXT = 20_000
"""Characters of a text on its page."""

MAX_PARTS = 100
"""Sibling parts that are named."""

STYLE = {"all": ["gateway/console/console.css"]}


class TurnPage:
    """What a turn's page shows: in words first, the table's columns folded below."""

    class Media:
        css = STYLE

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Who and why; what was asked and said; what the agent did; the rest."""
        may = request.user.has_perm
        question = ("question",) if may("sessions_app.view_message") else ()
        parts = ("parts",) if may("gateway.view_delivery") else ()
        return (
            (None, {"fields": ("person", "standing", "because", "answerer", "course")}),
            ("Asked and said", {"fields": (*question, "said", *parts)}),
            ("What the agent did", {"fields": ("did",)}),
            _columns(Turn),
        )

    @admin.display(description="conversation")
    def person(self, turn: Turn) -> str:
        """Whose it is and where, leading to its place in the conversation."""
        return _whose(turn.session, place(turn.session, turn.upto_seq, f"t{turn.pk}"))

    @admin.display(description="why")
    def because(self, turn: Turn) -> str:
        """Its error in words."""
        return _reason(Call(turn).why, turn.error_code, turn.error_detail)

    @admin.display(description="course")
    def course(self, turn: Turn) -> str:
        """When what happened, and how long it took."""
        times = (("queued", turn.queued_at), ("began", turn.started_at), ("ended", turn.ended_at))
        shown = [(name, ago(at)) for name, at in times if at]
        return format_html("{}<br>{}", format_html_join(" · ", "{} {}", shown), Call(turn).facts)

    @admin.display(description="asked")
    def question(self, turn: Turn) -> str:
        """The last message that it answers."""
        asked = Message.objects.filter(session=turn.session_id, seq=turn.upto_seq).first()
        return _text(asked.text if asked else "")

    @admin.display(description="said so far")
    def said(self, turn: Turn) -> str:
        """What the agent had said where there is no whole answer."""
        return _text(turn.partial_text)

    @admin.display(description="parts of the answer")
    def parts(self, turn: Turn) -> str:
        """What became of each part that went out."""
        behind = {"message__seq__gt": turn.upto_seq}
        behind["message__seq__lt"] = step(turn.upto_seq) + SEQ_STEP
        return _parts(Delivery.objects.filter(session=turn.session_id, **behind))

    @admin.display(description="tool calls and reasoning")
    def did(self, turn: Turn) -> str:
        """Each of them."""
        return _raw(Call(turn).events)


class DeliveryPage:
    """What a part's page shows: in words first, the table's columns folded below."""

    class Media:
        css = STYLE

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Whom it is for and how it stands; the text; each try; the rest."""
        return (
            (None, {"fields": ("person", "standing", "because", "course", "siblings")}),
            ("What is sent", {"fields": ("content",)}),
            ("Each try", {"fields": ("tries",)}),
            _columns(Delivery),
        )

    @admin.display(description="to")
    def person(self, delivery: Delivery) -> str:
        """Whom it is for, leading to its place in the conversation."""
        session, message = delivery.session, delivery.message
        if session is None:
            return f"{delivery.channel} {delivery.chat_id}"
        if message is None:
            return _whose(session, place(session, session.last_seq, ""))
        return _whose(session, place(session, message.seq, f"m{message.pk}"))

    @admin.display(description="why")
    def because(self, delivery: Delivery) -> str:
        """Its error in words."""
        return _reason(Part(delivery, 1).why, delivery.error_code, delivery.error_detail)

    @admin.display(description="course")
    def course(self, delivery: Delivery) -> str:
        """When what happened, and how often it was tried."""
        times = (
            ("made", delivery.created_at),
            ("put back", delivery.retried_at),
            ("failed", delivery.failed_at),
            ("sent", delivery.sent_at),
        )
        shown = format_html_join(" · ", "{} {}", [(name, ago(at)) for name, at in times if at])
        tries = f"{delivery.attempts} {'try' if delivery.attempts == 1 else 'tries'}"
        return format_html("{} · {}<br>{}", shown, tries, Part(delivery, 1).receipt)

    @admin.display(description="all parts of the message")
    def siblings(self, delivery: Delivery) -> str:
        """What became of each."""
        if delivery.message_id is None:
            return "–"
        return _parts(Delivery.objects.filter(message=delivery.message_id))

    @admin.display(description="text")
    def content(self, delivery: Delivery) -> str:
        """As it goes out."""
        return _text(delivery.text)

    @admin.display(description="trace")
    def tries(self, delivery: Delivery) -> str:
        """Each, without secrets."""
        return _raw(Part(delivery, 1).trace)


def _whose(session: Session, way: str) -> str:
    person = reverse("admin:sessions_app_contact_change", args=(session.contact_id,))
    return format_html(
        '{} <span class="quiet">{} · <span class="id">{}</span> · <a href="{}">contact</a></span>',
        way, session.channel, session.chat_id, person,
    )  # fmt: skip


def _reason(why: Reason | None, code: str, detail: str) -> str:
    if why is None:
        return format_html('<span dir="auto">{}</span>', detail or "–")
    return format_html(
        '<strong title="{}">{}</strong><br>{} <span class="quiet">{}</span><br>'
        '<span dir="auto">{}</span>',
        code, why.title, why.meaning, why.remedy, detail,
    )  # fmt: skip


def _text(text: str) -> str:
    if not text:
        return "–"
    return format_html('<pre class="raw words" dir="auto" tabindex="0">{}</pre>', text[:MAX_TEXT])


def _raw(text: str) -> str:
    if not text:
        return "–"
    return format_html('<pre class="raw" dir="ltr" tabindex="0">{}</pre>', text)


def _parts(rows: QuerySet[Delivery]) -> str:
    found = list(rows.order_by("part", "pk")[: MAX_PARTS + 1])
    shown = [Part(row, len(found)) for row in found[:MAX_PARTS]]
    lines = [(part.url, part.number, chip(part.look, part.word)) for part in shown]
    more = " …" if len(found) > MAX_PARTS else ""
    return format_html(
        "{}{}", format_html_join(" · ", '<a href="{}">part {}</a> {}', lines) or "–", more
    )


def _columns(model: Any) -> Any:
    names = [field.name for field in model._meta.fields]
    return ("In the table", {"classes": ("collapse",), "fields": names})
