"""The list of sessions: who, where, the last words, how it stands, how long ago."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html

from gateway.console import conversation
from gateway.console.standing import standing, troubles, unanswered, undelivered
from gateway.console.work import OPEN
from gateway.models import Turn
from sessions_app.admin import ChannelFilter, SessionAdmin, shorten
from sessions_app.lists import ago, chip
from sessions_app.models import Message, Session


class WorkFilter(admin.SimpleListFilter):
    """By what goes on: answering now, waiting, waiting for a person, or what went wrong last."""

    title = "what goes on"
    parameter_name = "work"
    states = {"running": "running", "waiting": "queued", "quarantined": "quarantined"}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """What can be asked for."""
        return [
            ("running", "answering"),
            ("waiting", "waiting"),
            ("quarantined", "quarantined"),
            ("operator", "handed over"),
            ("unanswered", "not answered"),
            ("undelivered", "not delivered"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The sessions with such a turn."""
        value = self.value() or ""
        if value == "operator":
            return queryset.filter(handler=Session.Handler.OPERATOR)
        if value == "unanswered":
            return unanswered(queryset)
        if value == "undelivered":
            return undelivered(queryset)
        if value not in self.states:
            return queryset
        turns = Turn.objects.filter(session=OuterRef("pk"), state=self.states[value])
        return queryset.filter(Exists(turns))


class ConversationAdmin(SessionAdmin):
    """The list, and a page for each that reads as a conversation."""

    list_display = ("who", "last_words", "standing", "last_active", "where", "agent")
    list_filter = (WorkFilter, "state", ChannelFilter)

    def get_urls(self) -> list[Any]:
        """The conversation's own addresses before the admin's."""
        return [*conversation.urls(self.admin_site.admin_view), *super().get_urls()]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The conversation."""
        # The admin's own links write "_" as "_5F"; people type and paste ids as they are.
        spelled = {object_id, unquote(object_id)}
        session = Session.objects.select_related("contact").filter(pk__in=spelled).first()
        if session is None:
            missing: HttpResponse = self._get_obj_does_not_exist_redirect(  # type: ignore[attr-defined]
                request, self.opts, object_id
            )
            return missing
        return conversation.page(request, session)

    def complete(self, sessions: Sequence[Any]) -> None:
        """Give each its last message, its open turns' states, its trouble: four queries for all."""
        ids = [session.pk for session in sessions]
        states: dict[str, set[str]] = defaultdict(set)
        opened = Turn.objects.filter(session__in=ids, state__in=OPEN)
        for session, state in opened.values_list("session", "state"):
            states[session].add(state)
        places = Q(pk__in=[])
        last: dict[str, Message] = {}
        for session in sessions:
            places |= Q(session=session.pk, seq=session.last_seq)
        for message in Message.objects.filter(places) if ids else ():
            last[message.session_id] = message
        wrong = troubles(ids, last)
        for session in sessions:
            session.open_turns, session.last_message = states[session.pk], last.get(session.pk)
            session.trouble = wrong.get(session.pk)

    @admin.display(description="who")
    def who(self, session: Any) -> str:
        """The person's name."""
        return format_html("<bdi>{}</bdi>", session.contact)

    @admin.display(description="where")
    def where(self, session: Any) -> str:
        """The channel and the chat."""
        return format_html(
            '{} <span class="quiet">{}</span>', session.channel, shorten(session.chat_id)
        )

    @admin.display(description="last words")
    def last_words(self, session: Any) -> str:
        """Of whom, and how they begin."""
        message = session.last_message
        if message is None:
            return "–"
        mark = {"assistant": "→ ", "system": "· "}.get(message.role, "")
        return format_html(
            '<bdi class="words">{}{}</bdi>', mark, shorten(message.text) or "(a file)"
        )

    @admin.display(description="state")
    def standing(self, session: Any) -> str:
        """A mark and a word."""
        return chip(*standing(session, session.open_turns, session.trouble))

    @admin.display(description="last active", ordering="last_activity")
    def last_active(self, session: Any) -> str:
        """How long ago."""
        return ago(session.last_activity)
