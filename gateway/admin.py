"""Work in flight and what steers it, as the operator sees it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from gateway.console import actions
from gateway.console.accounts import AccountAdmin
from gateway.console.actions import Operable
from gateway.console.agents import AgentAdmin, AgentHealthAdmin
from gateway.console.compare import address, compare_turn
from gateway.console.details import DeliveryPage, TurnPage
from gateway.console.kept_rows import AuditAdmin, HeartbeatAdmin
from gateway.console.planned import OccurrenceAdmin, ScheduleAdmin
from gateway.console.rules import RoutingRuleAdmin
from gateway.console.sessions import ConversationAdmin
from gateway.console.tokens import ApiTokenAdmin, IdempotencyKeyAdmin
from gateway.console.work import TURN_WORDS, Call, Part
from gateway.ledger.pairing import shown
from gateway.models import (
    Agent,
    AgentHealth,
    ApiToken,
    Audit,
    Cursor,
    Delivery,
    Heartbeat,
    IdempotencyKey,
    Occurrence,
    PairingCode,
    Replay,
    RoutingRule,
    Schedule,
    SetAside,
    Turn,
)
from sessions_app import clock
from sessions_app.admin import ChannelFilter, ModelAdmin, ReadOnly, place, shorten
from sessions_app.lists import Fast, ago, chip, span
from sessions_app.models import Session

admin.site.unregister(User)
admin.site.register(User, AccountAdmin)
admin.site.register(Agent, AgentAdmin)
admin.site.register(AgentHealth, AgentHealthAdmin)
admin.site.register(Schedule, ScheduleAdmin)
admin.site.register(Occurrence, OccurrenceAdmin)
admin.site.register(ApiToken, ApiTokenAdmin)
admin.site.register(IdempotencyKey, IdempotencyKeyAdmin)
admin.site.register(RoutingRule, RoutingRuleAdmin)
admin.site.register(Heartbeat, HeartbeatAdmin)
admin.site.register(Audit, AuditAdmin)


@admin.register(Replay)
class ReplayAdmin(Fast, ReadOnly, ModelAdmin[Replay]):
    """Questions put to an agent once more."""

    list_display = ("turn", "agent", "actor", "started_at", "error_code", "both")
    list_select_related = ("turn",)
    search_fields = ("=turn__id", "agent")
    ordering = ("-id",)

    @admin.display(description="answers")
    def both(self, replay: Replay) -> str:
        """A way to both of them."""
        return format_html('<a href="{}">side by side</a>', address(replay.turn_id))


admin.site.unregister(Session)


@admin.register(Session)
class OperableSessionAdmin(Operable, ConversationAdmin):
    """Sessions, which an operator can end and bring back: that is the gateway's business."""

    actions = (actions.terminate_sessions, actions.restore_sessions)


@admin.register(Turn)
class TurnAdmin(TurnPage, Operable, Fast, ReadOnly, ModelAdmin[Turn]):
    """Each call of an agent: how it stands, how long it took, why it failed."""

    actions = (actions.cancel_turns, actions.requeue_turns, actions.discard_turns, compare_turn)

    list_display = (
        "short_id",
        "where",
        "standing",
        "answerer",
        "when",
        "first_token",
        "duration",
        "why",
    )
    list_filter = ("state", "agent")
    list_select_related = ("session__contact", "agent")
    search_fields = ("=id", "=session", "error_code", "error_detail")
    search_help_text = "A turn's or a session's id, or words of an error among the newest 20,000."
    ordering = ("-id",)
    when_empty = "Each call of an agent appears here once somebody has written."

    @admin.display(description="turn")
    def short_id(self, turn: Turn) -> str:
        """Enough of it to tell turns apart."""
        return format_html('<span class="id" title="{}">{}</span>', turn.pk, turn.pk[-8:])

    @admin.display(description="conversation")
    def where(self, turn: Turn) -> str:
        """A way to its place in the conversation."""
        return place(turn.session, turn.upto_seq, f"t{turn.pk}")

    @admin.display(description="state")
    def standing(self, turn: Turn) -> str:
        """A mark and a word."""
        return chip(*TURN_WORDS[turn.state])

    @admin.display(description="agent")
    def answerer(self, turn: Turn) -> str:
        """Which agent was asked, and how often where it was more than once."""
        again = f" × {turn.attempts}" if turn.attempts > 1 else ""
        return f"{turn.agent or '–'}{again}"

    @admin.display(description="queued")
    def when(self, turn: Turn) -> str:
        """How long ago."""
        return ago(turn.queued_at)

    @admin.display(description="error")
    def why(self, turn: Turn) -> str:
        """What went wrong, in short."""
        why = Call(turn).why
        return words(turn.error_detail, f"{why.title}: " if why else "", turn.error_code)

    @admin.display(description="first token")
    def first_token(self, turn: Turn) -> str:
        """Seconds from the start of the call to the first word."""
        return seconds(turn.started_at, turn.first_token_at)

    @admin.display(description="duration")
    def duration(self, turn: Turn) -> str:
        """Seconds from the start of the call to its end."""
        return seconds(turn.started_at, turn.ended_at)


@admin.register(Delivery)
class DeliveryAdmin(DeliveryPage, Operable, Fast, ReadOnly, ModelAdmin[Delivery]):
    """Each part that goes out: where to, how it stands, why it failed."""

    actions = (actions.retry_deliveries, actions.discard_deliveries)

    list_display = ("short_key", "where", "short_text", "standing", "why", "when", "sent")
    list_filter = ("state", "repeated", ChannelFilter)
    list_select_related = ("session__contact", "message")
    search_fields = ("=key", "=session", "chat_id", "receipt", "error_detail")
    search_help_text = "A key or a session's id, or a chat, receipt or error of the newest 20,000."
    ordering = ("-id",)
    when_empty = "Each part of an answer appears here on its way out."

    @admin.display(description="part")
    def short_key(self, delivery: Delivery) -> str:
        """Enough of its key to tell parts apart."""
        return format_html('<span class="id" title="{}">{}</span>', delivery.key, delivery.key[:8])

    @admin.display(description="to")
    def where(self, delivery: Delivery) -> str:
        """A way to its place in the conversation, or the chat where there is none."""
        if delivery.session and delivery.message:
            return place(delivery.session, delivery.message.seq, f"m{delivery.message.pk}")
        return f"{delivery.channel} {shorten(delivery.chat_id)}"

    @admin.display(description="state")
    def standing(self, delivery: Delivery) -> str:
        """A mark and a word."""
        return chip(Part(delivery, 1).look, Part(delivery, 1).word)

    @admin.display(description="made")
    def when(self, delivery: Delivery) -> str:
        """How long ago."""
        return ago(delivery.created_at)

    @admin.display(description="sent")
    def sent(self, delivery: Delivery) -> str:
        """How long ago, and whether it may have arrived twice."""
        again = " (repeated)" if delivery.repeated else ""
        return format_html("{}{}", ago(delivery.sent_at), again)

    @admin.display(description="error")
    def why(self, delivery: Delivery) -> str:
        """What went wrong, in short."""
        tries = f"{delivery.attempts} tries: " if delivery.attempts > 1 else ""
        why = Part(delivery, 1).why
        title = f"{tries}{why.title}: " if why else tries
        return words(delivery.error_detail, title, delivery.error_code)

    @admin.display(description="text")
    def short_text(self, delivery: Delivery) -> str:
        """The first words."""
        return format_html('<bdi class="words">{}</bdi>', shorten(delivery.text))


@admin.register(SetAside)
class SetAsideAdmin(Fast, ReadOnly, ModelAdmin[SetAside]):
    """Payloads that could not be read. They can be deleted when looked at."""

    list_display = ("created_at", "channel", "external_id", "reason")
    list_filter = (ChannelFilter,)
    search_fields = ("external_id", "reason")
    ordering = ("-id",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As the account's permissions say."""
        return ModelAdmin.has_delete_permission(self, request, obj)


@admin.register(Cursor)
class CursorAdmin(ReadOnly, ModelAdmin[Cursor]):
    """How far each listener has read."""

    list_display = ("channel", "value", "saved_at")
    search_fields = ("channel",)


class DoorFilter(admin.SimpleListFilter):
    """By whether somebody still waits to be let in."""

    title = "state"
    parameter_name = "door"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """What became of them."""
        words = ("waiting", "expired", "approved", "refused")
        return [(word, word) for word in words]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The codes in that state, or all."""
        now, asked = clock.now(), queryset.filter(state=PairingCode.State.OPEN)
        match self.value():
            case "waiting":
                return asked.filter(expires_at__gt=now)
            case "expired":
                return asked.filter(expires_at__lte=now)
            case "approved" | "refused" as state:
                return queryset.filter(state=state)
        return queryset


@admin.register(PairingCode)
class PairingCodeAdmin(Operable, Fast, ReadOnly, ModelAdmin[PairingCode]):
    """Who asks to be let in, and with which code."""

    list_display = ("person", "channel", "user_id", "shown", "standing", "created_at", "expires_at")
    list_filter = (ChannelFilter, DoorFilter)
    search_fields = ("user_id", "name")
    ordering = ("-id",)
    actions = (actions.approve_pairings, actions.refuse_pairings)
    when_empty = "People appear here when they write to a channel whose access is `pairing`."

    @admin.display(description="person")
    def person(self, code: PairingCode) -> str:
        """Their name, or their id."""
        return format_html("<bdi>{}</bdi>", code.name or code.user_id)

    @admin.display(description="code")
    def shown(self, code: PairingCode) -> str:
        """As the person reads it: compare it with what they say."""
        return shown(code.code)

    @admin.display(description="state")
    def standing(self, code: PairingCode) -> str:
        """Whether it waits for a decision."""
        late = code.state == PairingCode.State.OPEN and code.expires_at <= clock.now()
        looks = {"open": "waiting", "refused": "failed"}
        return (
            chip("waiting", "expired") if late else chip(looks.get(code.state, "done"), code.state)
        )


def seconds(start: datetime | None, end: datetime | None) -> str:
    """The time between, in words; a dash where one is missing."""
    return span(end - start) if start and end else "–"


def words(text: str, before: str, code: str) -> str:
    """What went wrong and how its detail begins, its code on hover; nothing where all is well."""
    if not text.strip() and not code:
        return ""
    return format_html('<bdi class="words" title="{}">{}{}</bdi>', code, before, shorten(text))
