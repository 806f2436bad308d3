"""What is kept to watch over the rest: where listeners stand, signs of life, who did what."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from sessions_app import clock


class SetAside(models.Model):
    """An authentic payload that could not be read. It blocks nobody and waits for a person."""

    channel = models.CharField(max_length=32)
    external_id = models.CharField(max_length=255, blank=True)
    reason = models.TextField()
    payload = models.TextField()
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        verbose_name_plural = "set aside"
        constraints = [
            models.UniqueConstraint(
                fields=["channel", "external_id"],
                condition=~Q(external_id=""),
                name="set_aside_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.external_id}"


class Cursor(models.Model):
    """How far a listener has read: moved in the same commit as what it read."""

    channel = models.CharField(max_length=32, primary_key=True)
    value = models.TextField()
    saved_at = models.DateTimeField(default=clock.now)

    def __str__(self) -> str:
        return f"{self.channel} {self.value}"


class Heartbeat(models.Model):
    """The last sign of life of the worker, the gateway and each channel's inbound side."""

    name = models.CharField(max_length=64, primary_key=True)
    at = models.DateTimeField(default=clock.now)
    detail = models.JSONField(default=dict, blank=True)

    def __str__(self) -> str:
        return self.name


class Audit(models.Model):
    """Who did what to which row, and when."""

    at = models.DateTimeField(default=clock.now)
    actor = models.CharField(max_length=150)
    action = models.CharField(max_length=64)
    row = models.CharField(max_length=128)
    detail = models.JSONField(default=dict, blank=True)

    class Meta:
        verbose_name_plural = "audit"

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.row}"
