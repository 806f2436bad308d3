"""What answers, who is answered by whom, and whether it answers at all."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class Agent(models.Model):
    """What answers. Reached over HTTP, in any language."""

    class Protocol(models.TextChoices):
        RPC = "rpc", "agent protocol"
        OPENAI = "openai", "OpenAI-compatible"

    class Instances(models.TextChoices):
        SHARED = "shared", "one for everybody"
        SESSION = "session", "one per session"

    class Busy(models.TextChoices):
        QUEUE = "queue", "answer all of it in the next turn"
        INTERRUPT = "interrupt", "stop, and begin again with it"
        DEBOUNCE = "debounce", "wait a moment for more"

    name = models.SlugField(max_length=64, unique=True)
    url = models.URLField(
        max_length=500, blank=True, help_text="For example http://127.0.0.1:9000/rpc/message"
    )
    command = models.CharField(
        max_length=1000,
        blank=True,
        help_text="Instead of a URL: a program that the gateway starts, without a shell. "
        "{port} and the variable PORT say where it has to listen.",
    )
    instances = models.CharField(
        max_length=16, choices=Instances.choices, default=Instances.SHARED, db_default="shared"
    )
    max_instances = models.PositiveIntegerField(
        default=20,
        db_default=20,
        help_text="Programs at once; with more sessions than that, "
        "the one unused for longest ends.",
    )
    idle_seconds = models.PositiveIntegerField(
        default=900, db_default=900, help_text="A session's own program ends after this long."
    )
    protocol = models.CharField(max_length=16, choices=Protocol.choices, default=Protocol.RPC)
    stream = models.BooleanField(default=True, help_text="Ask for a stream.")
    model = models.CharField(max_length=128, blank=True, help_text="OpenAI-compatible only.")
    api_key = models.CharField(max_length=500, blank=True, help_text="OpenAI-compatible only.")
    busy = models.CharField(
        max_length=16,
        choices=Busy.choices,
        default=Busy.QUEUE,
        db_default="queue",
        help_text="What happens to messages that come while it answers.",
    )
    debounce_seconds = models.FloatField(
        default=2.0, db_default=2.0, help_text="How long a moment is, with debounce."
    )
    is_default = models.BooleanField(
        default=False, help_text="Answers what no rule routes elsewhere."
    )
    enabled = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"], condition=Q(is_default=True), name="agent_one_default"
            ),
            models.CheckConstraint(
                condition=Q(url="", command__gt="") | Q(url__gt="", command=""),
                name="agent_url_or_command",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class AgentHealth(models.Model):
    """Whether an agent answers: the circuit that keeps messages waiting while it does not.

    closed: calls go through. open: none does, until `retry_at`. half_open: one may, and
    its end decides. Who waits, waits: it is no failure.
    """

    class State(models.TextChoices):
        CLOSED = "closed", "answers"
        HALF_OPEN = "half_open", "is being tried"
        OPEN = "open", "does not answer"

    agent = models.OneToOneField(
        Agent, on_delete=models.CASCADE, primary_key=True, related_name="health"
    )
    state = models.CharField(max_length=16, choices=State.choices, default=State.CLOSED)
    failures = models.PositiveIntegerField(default=0, help_text="In a row.")
    detail = models.CharField(max_length=500, blank=True, help_text="What went wrong last.")
    evidence = models.JSONField(default=dict, db_default={}, blank=True)
    opened_at = models.DateTimeField(null=True, blank=True)
    retry_at = models.DateTimeField(null=True, blank=True)
    ok_at = models.DateTimeField(null=True, blank=True)
    checked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "agent health"

    def __str__(self) -> str:
        return f"{self.agent_id} {self.state}"


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
        return f"{self.priority}: {where} → {self.agent}"
