"""Work in flight: agents, routing, turns, deliveries, schedules and what watches over them."""

from __future__ import annotations

from functools import partial

from django.db import models
from django.db.models import Q

from sessions_app import clock
from sessions_app.ids import new_id, new_key
from sessions_app.models import Message, Session


class Agent(models.Model):
    """What answers. Reached over HTTP, in any language."""

    class Protocol(models.TextChoices):
        RPC = "rpc", "agent protocol"
        OPENAI = "openai", "OpenAI-compatible"

    name = models.SlugField(max_length=64, unique=True)
    url = models.URLField(max_length=500, help_text="For example http://127.0.0.1:9000/rpc/message")
    protocol = models.CharField(max_length=16, choices=Protocol.choices, default=Protocol.RPC)
    stream = models.BooleanField(default=True, help_text="Ask for a stream.")
    model = models.CharField(max_length=128, blank=True, help_text="OpenAI-compatible only.")
    api_key = models.CharField(max_length=500, blank=True, help_text="OpenAI-compatible only.")
    is_default = models.BooleanField(
        default=False, help_text="Answers what no rule routes elsewhere."
    )
    enabled = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"], condition=Q(is_default=True), name="agent_one_default"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class RoutingRule(models.Model):
    """Sends some conversations to another agent. The lowest priority number that fits wins."""

    priority = models.IntegerField(default=100)
    channel = models.CharField(max_length=32, blank=True, help_text="Empty for every channel.")
    user_pattern = models.CharField(
        max_length=255, blank=True, help_text="User id; * and ? stand for anything."
    )
    chat_pattern = models.CharField(
        max_length=255, blank=True, help_text="Chat id; * and ? stand for anything."
    )
    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="rules")
    enabled = models.BooleanField(default=True)

    class Meta:
        ordering = ["priority", "id"]

    def __str__(self) -> str:
        where = self.channel or "every channel"
        return f"{self.priority}: {where} → {self.agent_id}"


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
                fields=["channel", "error_code", "created_at"],
                condition=Q(state__in=["failed", "expired", "unsure"]) & ~Q(error_code="discarded"),
                name="delivery_letter",
            ),
        ]

    def __str__(self) -> str:
        return self.key


class Schedule(models.Model):
    """A planned send: a fixed text, or a prompt for an agent."""

    class Kind(models.TextChoices):
        CRON = "cron"
        EVERY = "every"
        AT = "at"

    class CatchUp(models.TextChoices):
        SKIP = "skip"
        ONCE = "once"
        ALL = "all"

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="schedules")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    spec = models.CharField(max_length=255, help_text="Cron expression, seconds, or a time.")
    timezone = models.CharField(max_length=64, default="UTC")
    text = models.TextField(blank=True)
    prompt = models.TextField(blank=True)
    catch_up = models.CharField(max_length=8, choices=CatchUp.choices, default=CatchUp.ONCE)
    next_run = models.DateTimeField(null=True, blank=True)
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=clock.now)

    def __str__(self) -> str:
        return f"{self.kind} {self.spec}"


class Occurrence(models.Model):
    """One time a schedule was due: it ran, or says why not."""

    class State(models.TextChoices):
        CLAIMED = "claimed"
        RAN = "ran"
        FAILED = "failed"
        SKIPPED = "skipped"

    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="occurrences")
    due_at = models.DateTimeField()
    state = models.CharField(max_length=16, choices=State.choices, default=State.CLAIMED)
    reason = models.CharField(max_length=255, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["schedule", "due_at"], name="occurrence_once"),
        ]

    def __str__(self) -> str:
        return f"{self.schedule_id} at {self.due_at:%Y-%m-%d %H:%M}"


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
    created_at = models.DateTimeField(default=clock.now)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.name


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
