"""Who may come in: pairing codes for people, tokens for programs."""

from __future__ import annotations

from django.db import models

from sessions_app import clock
from sessions_app.models import Contact


class PairingCode(models.Model):
    """A code by which an unknown person asks to be let in."""

    class State(models.TextChoices):
        OPEN = "open"
        APPROVED = "approved"
        REFUSED = "refused"

    channel = models.CharField(max_length=32)
    user_id = models.CharField(max_length=255)
    code = models.CharField(max_length=16, unique=True)
    name = models.CharField(max_length=255, default="", db_default="", blank=True)
    state = models.CharField(
        max_length=16, choices=State.choices, default=State.OPEN, db_default="open"
    )
    target = models.JSONField(
        default=dict, db_default={}, blank=True, help_text="Where they wrote, to tell them."
    )
    created_at = models.DateTimeField(default=clock.now)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.channel}:{self.user_id}"


class ApiToken(models.Model):
    """A bearer token of the HTTP API. Only its hash is kept."""

    name = models.CharField(max_length=64)
    digest = models.CharField(max_length=64, unique=True)
    scopes = models.JSONField(default=list)
    contact = models.ForeignKey(
        Contact,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        help_text="Only what concerns this person; empty for everyone.",
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=clock.now)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.name


class IdempotencyKey(models.Model):
    """A call of the API that was answered: the same key gets the same answer, once more."""

    owner = models.CharField(max_length=100, help_text="Which token called.")
    key = models.CharField(max_length=255)
    request = models.CharField(max_length=64, help_text="Digest of what was asked.")
    status = models.PositiveIntegerField()
    body = models.JSONField()
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["owner", "key"], name="idempotency_key_once"),
        ]

    def __str__(self) -> str:
        return self.key
