"""Planned sends, and each time one was due."""

from __future__ import annotations

from functools import partial

from django.db import models
from django.db.models import Q

from sessions_app import clock
from sessions_app.ids import new_id
from sessions_app.models import Contact, Message


class Schedule(models.Model):
    """A planned send into one conversation: a fixed text, or a prompt for its agent.

    It belongs to the conversation (channel and scope key), not to a session: sessions
    end when nobody writes for a while, what is planned does not.
    """

    class Kind(models.TextChoices):
        CRON = "cron", "by a cron expression"
        EVERY = "every", "again and again"
        AT = "at", "once"

    class CatchUp(models.TextChoices):
        SKIP = "skip", "leave out what was missed"
        ONCE = "once", "make up for it once"
        ALL = "all", "make up for each"

    id = models.CharField(
        primary_key=True, max_length=40, default=partial(new_id, "sched"), editable=False
    )
    contact = models.ForeignKey(Contact, on_delete=models.CASCADE, related_name="schedules")
    channel = models.CharField(max_length=32)
    scope_key = models.CharField(max_length=600, help_text="Whose conversation it goes into.")
    chat_id = models.CharField(max_length=255)
    target = models.JSONField(
        default=dict, blank=True, help_text="Where it goes; frozen when it was made."
    )
    kind = models.CharField(max_length=8, choices=Kind.choices)
    spec = models.CharField(
        max_length=255,
        help_text="A cron expression (0 9 * * *), seconds (3600), or a time (2030-01-31T09:00).",
    )
    timezone = models.CharField(max_length=64, default="UTC", help_text="For example Europe/Paris.")
    text = models.TextField(blank=True, help_text="Sent as it stands.")
    prompt = models.TextField(blank=True, help_text="Given to the agent; its answer is sent.")
    catch_up = models.CharField(max_length=8, choices=CatchUp.choices, default=CatchUp.ONCE)
    next_run = models.DateTimeField(null=True, blank=True, help_text="Empty when it is over.")
    enabled = models.BooleanField(default=True)
    created_by = models.CharField(max_length=150, blank=True)
    created_at = models.DateTimeField(
        default=clock.now, help_text="What happens every so often counts from here."
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(text="", prompt__gt="") | Q(text__gt="", prompt=""),
                name="schedule_text_or_prompt",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_run"],
                condition=Q(enabled=True, next_run__isnull=False),
                name="schedule_due",
            ),
            models.Index(fields=["channel", "scope_key"], name="schedule_by_scope"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.spec}"


class Occurrence(models.Model):
    """One time a schedule was due: it ran, or says why not.

    `message` is what it put into the conversation, `turn` the call of an agent that a
    prompt caused. It stays claimed until that has ended and its parts were sent.
    """

    class State(models.TextChoices):
        CLAIMED = "claimed", "under way"
        RAN = "ran"
        FAILED = "failed"
        SKIPPED = "skipped"

    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="occurrences")
    due_at = models.DateTimeField()
    state = models.CharField(max_length=16, choices=State.choices, default=State.CLAIMED)
    reason = models.CharField(max_length=255, blank=True)
    message = models.ForeignKey(
        Message, on_delete=models.SET_NULL, null=True, blank=True, related_name="occurrences"
    )
    turn = models.CharField(max_length=40, blank=True)
    claimed_at = models.DateTimeField(default=clock.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["schedule", "due_at"], name="occurrence_once"),
        ]
        indexes = [
            models.Index(
                fields=["claimed_at"], condition=Q(state="claimed"), name="occurrence_open"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.schedule_id} at {self.due_at:%Y-%m-%d %H:%M}"
