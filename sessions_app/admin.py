"""Contacts, sessions and messages as the operator sees them. History is not edited by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.text import Truncator

from sessions_app.lists import Fast, ago, chip
from sessions_app.models import (
    Attachment,
    Contact,
    ContactAlias,
    Message,
    Overheard,
    Session,
)

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin
else:

    class ModelAdmin(admin.ModelAdmin):
        """Takes its model in brackets, as the type checker wants it."""

        def __class_getitem__(cls, model: type) -> type:
            return cls


SHORT_CHARACTERS = 60


def shorten(text: str) -> str:
    """The first words of a text, on one line."""
    return Truncator(" ".join(text.split())).chars(SHORT_CHARACTERS)


def place(session: Session, seq: int, anchor: str) -> str:
    """A link to a place in a session, named by whose it is."""
    page = reverse("admin:sessions_app_session_change", args=(session.pk,))
    return format_html(
        '<a href="{}?at={}#{}"><bdi>{}</bdi></a>', page, seq, anchor, session.contact
    )


class ReadOnly:
    """Rows that the gateway writes and people only look at."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never; who has the permission to view may still view."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never: OPENCLAW_RETENTION_DAYS forgets whole conversations."""
        return False


class ChannelFilter(admin.SimpleListFilter):
    """By channel. The choices are settings: a query for them would read the whole table."""

    title = "channel"
    parameter_name = "channel"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The enabled channels."""
        return [(name, name) for name in settings.OPENCLAW_CHANNELS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of the chosen channel, or all."""
        return queryset.filter(channel=self.value()) if self.value() else queryset


@admin.register(Contact)
class ContactAdmin(Fast, ModelAdmin[Contact]):
    """Who may write, and what is known about them."""

    list_display = ("person", "channel", "user_id", "standing", "since", "conversations")
    list_filter = (ChannelFilter, "access")
    search_fields = ("name", "user_id")
    search_help_text = "Part of a name or of the platform's id, among the newest 50,000."
    search_newest = 50_000
    ordering = ("-id",)
    when_empty = "People appear here when they first write. `manage.py invite` makes a chat link."

    @admin.display(description="person")
    def person(self, contact: Contact) -> str:
        """Their name, or their id."""
        return format_html("<bdi>{}</bdi>", contact)

    @admin.display(description="access")
    def standing(self, contact: Contact) -> str:
        """Whether they may write."""
        looks = {"pending": "waiting", "blocked": "failed"}
        return chip(looks.get(contact.access, "done"), contact.access)

    @admin.display(description="known for")
    def since(self, contact: Contact) -> str:
        """When they first wrote."""
        return ago(contact.created_at)

    @admin.display(description="conversations")
    def conversations(self, contact: Contact) -> str:
        """A way to all of them."""
        return format_html(
            '<a href="{}?contact__id__exact={}">sessions</a>',
            reverse("admin:sessions_app_session_changelist"),
            contact.pk,
        )

    def get_readonly_fields(
        self, request: HttpRequest, obj: Contact | None = None
    ) -> tuple[str, ...]:
        """A contact's identity is the platform's word; it can only be given at the start."""
        shown = ("aliases", "created_at", "conversations")
        return ("channel", "user_id", *shown) if obj else shown

    def get_fields(self, request: HttpRequest, obj: Contact | None = None) -> tuple[str, ...]:
        """Who it is first, then what may be changed."""
        known = ("aliases", "created_at", "conversations") if obj else ()
        return ("channel", "user_id", "name", "access", "preferences", "notes", *known)


@admin.register(Session)
class SessionAdmin(Fast, ReadOnly, ModelAdmin[Session]):
    """Whose conversation, where, how it stands and since when."""

    list_display: tuple[str, ...] = (
        "id",
        "channel",
        "contact",
        "chat_id",
        "agent",
        "state",
        "handler",
        "last_activity",
        "expires_at",
    )
    list_filter: ClassVar[tuple[Any, ...]] = ("state", "handler", ChannelFilter)
    list_select_related = ("contact",)
    search_fields = ("=id", "chat_id", "contact__name", "contact__user_id")
    search_help_text = "A session's id, or part of a name, a person's id or a chat's id."
    sortable_by = ("last_activity",)
    ordering = ("-last_activity",)


@admin.register(Message)
class MessageAdmin(Fast, ReadOnly, ModelAdmin[Message]):
    """What was written, by whom, and what became of it."""

    list_display = ("when", "short_text", "of", "channel", "became", "where")
    list_filter = ("disposition", "role", "origin", ChannelFilter)
    list_select_related = ("session__contact",)
    search_fields = ("=session", "text", "external_id")
    search_help_text = "A session's id, or words among the newest 20,000 messages."
    ordering = ("-id",)

    @admin.display(description="when")
    def when(self, message: Message) -> str:
        """How long ago."""
        return ago(message.created_at)

    @admin.display(description="text")
    def short_text(self, message: Message) -> str:
        """The first words."""
        return format_html('<bdi class="words">{}</bdi>', shorten(message.text) or "(a file)")

    @admin.display(description="of")
    def of(self, message: Message) -> str:
        """Who wrote it."""
        return format_html(
            "<bdi>{}</bdi>", message.session.contact if message.origin == "user" else message.origin
        )

    @admin.display(description="became")
    def became(self, message: Message) -> str:
        """What an inbound message ended as."""
        looks = {"pending": "waiting", "failed": "failed", "handed_over": "handed-over"}
        word = message.disposition.replace("_", " ") or "–"
        return chip(looks.get(message.disposition, "done"), word)

    @admin.display(description="conversation")
    def where(self, message: Message) -> str:
        """A way to its place in the conversation."""
        return place(message.session, message.seq, f"m{message.pk}")


@admin.register(Attachment)
class AttachmentAdmin(Fast, ReadOnly, ModelAdmin[Attachment]):
    """Files that came with messages."""

    list_display = ("__str__", "kind", "mime", "size", "message_id", "created_at")
    search_fields = ("=message", "name")
    ordering = ("-id",)


@admin.register(ContactAlias)
class ContactAliasAdmin(Fast, ReadOnly, ModelAdmin[ContactAlias]):
    """Other ids of the same people."""

    list_display = ("user_id", "channel", "contact")
    list_select_related = ("contact",)
    list_filter = (ChannelFilter,)
    search_fields = ("user_id",)
    ordering = ("-id",)


@admin.register(Overheard)
class OverheardAdmin(Fast, ReadOnly, ModelAdmin[Overheard]):
    """What was said in groups and waits to be context of the next message that is for us."""

    list_display = ("short", "name", "channel", "chat_id", "created_at")
    list_filter = (ChannelFilter,)
    search_fields = ("name", "chat_id")
    ordering = ("-id",)

    @admin.display(description="text")
    def short(self, said: Overheard) -> str:
        """Its first words."""
        return shorten(said.text)
