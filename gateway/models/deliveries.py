"""What goes out: the outbox."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from sessions_app import clock
from sessions_app.ids import new_key
from sessions_app.models import Message, Session


class Delivery(models.Model):
    """One outgoing part on one lane (channel, chat). The outbox."""

    class State(models.TextChoices):
        QUEUED = "queued"
        SENDING = "sending"
        SENT = "sent"
        FAILED = "failed"
        EXPIRED = "expired"
        UNSURE = "unsure", "unsure, held for an operator"

    key = models.CharField(max_length=25, unique=True, default=new_key, editable=False)
    session = models.ForeignKey(
        Session, on_delete=models.CASCADE, null=True, blank=True, related_name="deliveries"
    )
    message = models.ForeignKey(
        Message, on_delete=models.CASCADE, null=True, blank=True, related_name="deliveries"
    )
    turn = models.CharField(
        max_length=40,
        default="",
        db_default="",
        blank=True,
        help_text="The turn whose answer grows in this part.",
    )
    part = models.PositiveIntegerField(default=0)
    channel = models.CharField(max_length=32)
    chat_id = models.CharField(max_length=255)
    is_group = models.BooleanField(default=False)
    target = models.JSONField(default=dict, blank=True)
    text = models.TextField(blank=True)
    extra = models.JSONField(
        default=dict,
        db_default={},
        blank=True,
        help_text="A file, a location or buttons that go with it.",
    )
    stale = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Its text changed while it was sent: to be edited.",
    )
    plain = models.BooleanField(default=False, help_text="The platform refused the formatting.")
    repeated = models.BooleanField(
        default=False, help_text="May have arrived before; carries the mark."
    )
    state = models.CharField(max_length=16, choices=State.choices, default=State.QUEUED)
    not_before = models.DateTimeField(default=clock.now)
    attempts = models.PositiveIntegerField(default=0)
    lease_owner = models.CharField(max_length=80, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    receipt = models.CharField(max_length=255, blank=True)
    status = models.CharField(
        max_length=16,
        default="",
        db_default="",
        blank=True,
        help_text="What the platform said since: delivered, read.",
    )
    error_code = models.CharField(max_length=32, blank=True)
    error_detail = models.TextField(blank=True)
    trace = models.JSONField(default=list, blank=True, help_text="Each try, without secrets.")
    created_at = models.DateTimeField(default=clock.now)
    retried_at = models.DateTimeField(
        null=True, blank=True, help_text="When an operator sent it again: its age counts from here."
    )
    sent_at = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField(
        null=True, blank=True, help_text="When it last failed: a try, or for good."
    )

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(
                fields=["turn"], condition=~Q(turn=""), name="delivery_one_preview"
            ),
        ]
        indexes = [
            models.Index(
                fields=["channel", "receipt"],
                condition=~Q(receipt=""),
                name="delivery_by_receipt",
            ),
            models.Index(
                fields=["channel", "chat_id", "id"],
                condition=Q(state__in=["queued", "sending"]),
                name="delivery_open",
            ),
            models.Index(
                fields=["id"],
                condition=Q(state__in=["failed", "expired", "unsure"]),
                name="delivery_dead",
            ),
            models.Index(
                fields=["channel", "error_code", "failed_at", "created_at"],
                condition=Q(state__in=["failed", "expired", "unsure"]) & ~Q(error_code="discarded"),
                name="delivery_letter",
            ),
        ]

    def __str__(self) -> str:
        return self.key
