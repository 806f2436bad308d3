"""Calls of agents."""

from __future__ import annotations

from functools import partial

from django.db import models
from django.db.models import Q

from gateway.models.agents import Agent
from sessions_app import clock
from sessions_app.ids import new_id
from sessions_app.models import Session


class Turn(models.Model):
    """One call of an agent, answering every message of its session up to `upto_seq`."""

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        CANCELLED = "cancelled"
        QUARANTINED = "quarantined"

    id = models.CharField(
        primary_key=True, max_length=40, default=partial(new_id, "turn"), editable=False
    )
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="turns")
    upto_seq = models.PositiveBigIntegerField()
    agent = models.ForeignKey(Agent, on_delete=models.SET_NULL, null=True, blank=True)
    state = models.CharField(max_length=16, choices=State.choices, default=State.QUEUED)
    attempts = models.PositiveIntegerField(
        default=0, help_text="Calls made; also the fence: only the latest call may end the turn."
    )
    crashes = models.PositiveIntegerField(default=0, help_text="Calls cut off by a crash of ours.")
    not_before = models.DateTimeField(default=clock.now)
    lease_owner = models.CharField(max_length=80, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    partial_text = models.TextField(blank=True, help_text="What was said before it failed.")
    events = models.JSONField(default=list, blank=True)
    usage = models.JSONField(default=dict, blank=True)
    error_code = models.CharField(max_length=32, blank=True)
    error_detail = models.TextField(blank=True)
    queued_at = models.DateTimeField(default=clock.now)
    started_at = models.DateTimeField(null=True, blank=True)
    first_token_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    noticed_at = models.DateTimeField(
        null=True, blank=True, help_text="When the person was told that the agent is away."
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["session"],
                condition=Q(state="queued", attempts=0),
                name="turn_one_fresh",
            ),
            models.UniqueConstraint(
                fields=["session"], condition=Q(state="running"), name="turn_one_running"
            ),
        ]
        indexes = [
            models.Index(
                fields=["state", "session", "upto_seq"],
                condition=Q(state__in=["queued", "running"]),
                name="turn_open",
            ),
            models.Index(fields=["session", "upto_seq"], name="turn_by_session"),
            models.Index(
                fields=["state", "ended_at"],
                condition=Q(state__in=["failed", "quarantined"]),
                name="turn_bad",
            ),
        ]

    def __str__(self) -> str:
        return self.id


class Replay(models.Model):
    """A past turn's question, put to an agent once more. Nothing of it was sent to anyone."""

    turn = models.ForeignKey(Turn, on_delete=models.CASCADE, related_name="replays")
    agent = models.CharField(max_length=64)
    actor = models.CharField(max_length=150, blank=True)
    text = models.TextField(blank=True)
    silent = models.BooleanField(default=False)
    events = models.JSONField(default=list, blank=True)
    usage = models.JSONField(default=dict, blank=True)
    error_code = models.CharField(max_length=32, blank=True)
    error_detail = models.TextField(blank=True)
    started_at = models.DateTimeField(default=clock.now)
    first_token_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.turn_id} by {self.agent}"
