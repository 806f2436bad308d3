"""Contacts, sessions, messages: what would still mean something with every platform gone."""

from __future__ import annotations

from functools import partial

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from sessions_app import clock
from sessions_app.ids import new_id

SEQ_STEP = 1000
"""Arrivals number in steps, so that a reply finds its place right behind what it answers,
also when more messages arrived while it was written."""


class Contact(models.Model):
    """One person on one channel."""

    class Access(models.TextChoices):
        PENDING = "pending"
        ALLOWED = "allowed"
        BLOCKED = "blocked"

    channel = models.CharField(max_length=32)
    user_id = models.CharField(
        max_length=255, help_text="The platform's immutable id, never a name."
    )
    aliases = models.JSONField(default=list, blank=True, help_text="Other ids of the same person.")
    name = models.CharField(max_length=255, blank=True)
    access = models.CharField(max_length=16, choices=Access.choices, default=Access.PENDING)
    preferences = models.JSONField(default=dict, blank=True)
    notes = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["channel", "user_id"], name="contact_once"),
        ]

    def __str__(self) -> str:
        return self.name or f"{self.channel}:{self.user_id}"


class ContactAlias(models.Model):
    """Another id of a person: platforms may change or hide the one they gave first."""

    channel = models.CharField(max_length=32)
    user_id = models.CharField(max_length=255)
    contact = models.ForeignKey(Contact, on_delete=models.CASCADE, related_name="other_ids")

    class Meta:
        verbose_name_plural = "contact aliases"
        constraints = [
            models.UniqueConstraint(fields=["channel", "user_id"], name="contact_alias_once"),
        ]

    def __str__(self) -> str:
        return f"{self.channel}:{self.user_id}"


class Session(models.Model):
    """One person's conversation with one agent (in groups: one chat's)."""

    class State(models.TextChoices):
        ACTIVE = "active"
        IDLE = "idle"
        TERMINATED = "terminated"

    class Handler(models.TextChoices):
        AGENT = "agent"
        OPERATOR = "operator"

    id = models.CharField(
        primary_key=True, max_length=40, default=partial(new_id, "sess"), editable=False
    )
    channel = models.CharField(max_length=32)
    scope_key = models.CharField(max_length=600, help_text="Whose conversation this is.")
    contact = models.ForeignKey(Contact, on_delete=models.PROTECT, related_name="sessions")
    chat_id = models.CharField(max_length=255)
    agent = models.CharField(max_length=64, blank=True, help_text="Name of the agent last used.")
    state = models.CharField(max_length=16, choices=State.choices, default=State.ACTIVE)
    handler = models.CharField(max_length=16, choices=Handler.choices, default=Handler.AGENT)
    fence = models.PositiveIntegerField(
        default=0, help_text="Raised when the session changes hands; older turns then end unheard."
    )
    context = models.JSONField(default=dict, blank=True)
    last_seq = models.PositiveBigIntegerField(default=0)
    revision = models.PositiveIntegerField(
        default=0, help_text="Raised when history already written changes (an edit)."
    )
    created_at = models.DateTimeField(default=clock.now)
    last_activity = models.DateTimeField(default=clock.now)
    expires_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    archived_at = models.DateTimeField(
        null=True, blank=True, help_text="When this end of it was written to its file."
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["channel", "scope_key"],
                condition=~Q(state="terminated"),
                name="session_open_once",
            ),
        ]
        permissions = [("operate", "Can step in: stop, end, restore, retry, discard")]
        indexes = [
            models.Index(
                fields=["expires_at"], condition=~Q(state="terminated"), name="session_open_expiry"
            ),
            models.Index(fields=["channel", "scope_key", "ended_at"], name="session_by_scope"),
            models.Index(
                fields=["ended_at"],
                condition=Q(state="terminated", archived_at__isnull=True),
                name="session_unarchived",
            ),
            models.Index(fields=["last_activity", "id"], name="session_by_activity"),
        ]

    def __str__(self) -> str:
        return self.id


class Mirror(models.Model):
    """How much of a session stands in its mirror: what the session was like when it was written."""

    session = models.OneToOneField(
        Session, on_delete=models.CASCADE, primary_key=True, related_name="mirror"
    )
    size = models.PositiveBigIntegerField(help_text="Bytes of the file.")
    state = models.CharField(max_length=16)
    revision = models.PositiveIntegerField()
    last_activity = models.DateTimeField()
    message_id = models.PositiveBigIntegerField(help_text="The newest message in it.")
    from_seq = models.PositiveBigIntegerField(help_text="What stands before has its final state.")
    in_flight = models.BooleanField(help_text="Something was still under way.")

    def __str__(self) -> str:
        return self.session_id


class Message(models.Model):
    """One entry of a session's history."""

    class Role(models.TextChoices):
        USER = "user"
        ASSISTANT = "assistant"
        SYSTEM = "system"

    class Origin(models.TextChoices):
        USER = "user"
        AGENT = "agent"
        OPERATOR = "operator"
        SCHEDULE = "schedule"
        SYSTEM = "system"

    class Disposition(models.TextChoices):
        NONE = "", "—"
        PENDING = "pending"
        ANSWERED = "answered"
        SILENT = "silent"
        FAILED = "failed"
        HANDED_OVER = "handed_over"

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="messages")
    seq = models.PositiveBigIntegerField()
    role = models.CharField(max_length=16, choices=Role.choices)
    origin = models.CharField(max_length=16, choices=Origin.choices)
    text = models.TextField(blank=True)
    channel = models.CharField(max_length=32)
    external_id = models.CharField(  # noqa: DJ001  (NULL: unique only where a platform gave an id)
        max_length=255, null=True, blank=True, help_text="The platform's id of an inbound message."
    )
    sender = models.CharField(
        max_length=255, blank=True, help_text="The platform's id of who wrote it."
    )
    target = models.JSONField(default=dict, blank=True, help_text="Where its answer goes; frozen.")
    context = models.JSONField(
        default=dict,
        db_default={},
        blank=True,
        help_text="What it replies to, and what was said around it.",
    )
    generated = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Nobody in the conversation asked for it: a schedule or a program did.",
    )
    disposition = models.CharField(
        max_length=16, choices=Disposition.choices, default=Disposition.NONE, blank=True
    )
    created_at = models.DateTimeField(default=clock.now)
    edited_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["session", "seq"], name="message_place"),
            models.UniqueConstraint(
                fields=["channel", "external_id"],
                condition=Q(external_id__isnull=False),
                name="message_once",
            ),
        ]
        indexes = [
            models.Index(
                fields=["session", "seq"],
                condition=Q(disposition="pending"),
                name="message_pending",
            ),
            models.Index(fields=["created_at"], name="message_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.role} {self.pk}"


class Attachment(models.Model):
    """A file that belongs to a message; its bytes live beside the database."""

    class State(models.TextChoices):
        LINKED = "", "a link, not kept here"
        WAITING = "waiting", "still to be fetched"
        STORED = "stored"
        FAILED = "failed", "could not be fetched"
        PRUNED = "pruned", "deleted after its time"

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="attachments")
    kind = models.CharField(max_length=32)
    mime = models.CharField(max_length=127, blank=True)
    name = models.CharField(max_length=255, blank=True)
    size = models.PositiveBigIntegerField(null=True, blank=True)
    handle = models.CharField(
        max_length=1024, blank=True, help_text="The platform's handle, or a URL."
    )
    state = models.CharField(
        max_length=16, choices=State.choices, default=State.LINKED, db_default="", blank=True
    )
    path = models.CharField(
        max_length=64,
        default="",
        db_default="",
        blank=True,
        help_text="Its generated name in the media folder.",
    )
    attempts = models.PositiveIntegerField(default=0, db_default=0, help_text="To fetch it.")
    not_before = models.DateTimeField(default=clock.now, db_default=Now())
    error = models.CharField(max_length=255, default="", db_default="", blank=True)
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        indexes = [
            models.Index(
                fields=["message"], condition=Q(state="waiting"), name="attachment_waiting"
            ),
            models.Index(
                fields=["created_at"], condition=Q(state="stored"), name="attachment_stored"
            ),
        ]

    def __str__(self) -> str:
        return self.name or self.kind


class Overheard(models.Model):
    """Something said in a chat that was not meant for us: context of the next message that is."""

    channel = models.CharField(max_length=32)
    chat_id = models.CharField(max_length=255)
    external_id = models.CharField(max_length=255)
    sender = models.CharField(max_length=255)
    name = models.CharField(max_length=255, blank=True)
    text = models.TextField()
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        verbose_name_plural = "overheard"
        constraints = [
            models.UniqueConstraint(fields=["channel", "external_id"], name="overheard_once"),
        ]
        indexes = [models.Index(fields=["channel", "chat_id", "id"], name="overheard_by_chat")]

    def __str__(self) -> str:
        return f"{self.channel}:{self.chat_id} {self.pk}"
