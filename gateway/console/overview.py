"""The start page: whether anything needs a person, at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from asgiref.sync import async_to_sync
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Min
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from gateway import health
from gateway.console import plots, probing, repair
from gateway.console.frame import render
from gateway.console.shelves import SHELVES, WAITING, Kind
from gateway.ledger.recovery import GATEWAY, WORKER
from gateway.models import Agent, AgentHealth, Heartbeat, PairingCode
from gateway.runtime import BEAT_SECONDS, Runtime, current
from sessions_app import clock
from sessions_app.sql import Row, moment, parse_moment, run

GATEWAY_SECONDS = 4 * BEAT_SECONDS
"""A gateway that has not beaten for this long is down."""

LATE = timedelta(minutes=5)
"""Work that waits longer than this, with nothing else wrong, is worth a look."""

_OPEN_TURNS = """
SELECT t.state, COUNT(*), MIN(t.queued_at),
       MIN(CASE WHEN t.not_before <= %s AND s.handler = 'agent' AND NOT EXISTS (
           SELECT 1 FROM gateway_turn e
           WHERE e.session_id = t.session_id AND e.state IN ('queued', 'running')
             AND (e.state = 'running' OR e.upto_seq < t.upto_seq)) THEN t.not_before END)
FROM gateway_turn t JOIN sessions_app_session s ON s.id = t.session_id
WHERE t.state IN ('queued', 'running') GROUP BY t.state
"""
_OPEN_DELIVERIES = """
SELECT d.state, COUNT(*), MIN(COALESCE(d.retried_at, d.created_at)),
       MIN(CASE WHEN d.not_before <= %s THEN COALESCE(d.retried_at, d.created_at) END)
FROM gateway_delivery d
WHERE d.state IN ('queued', 'sending') GROUP BY d.state
"""
"""The last column: since when the oldest waits that nothing else holds up."""


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that works or does not: `mood` is good, bad or unknown; `state` is its word."""

    name: str
    mood: str
    state: str
    detail: str = ""
    heard: datetime | None = None
    denied: int = 0
    error: str = ""
    error_at: datetime | None = None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Depth:
    """One queue: how many wait, and since when the oldest does."""

    name: str
    state: str
    count: int
    oldest: datetime | None
    url: str
    late: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a person has to look at: what, what to do, and where."""

    what: str
    todo: str
    url: str = ""


def context(request: HttpRequest) -> dict[str, Any]:
    """What the start page shows beside the list of tables."""
    if not request.user.has_perm("gateway.view_heartbeat"):
        return {}
    beats = {beat.name: beat for beat in Heartbeat.objects.all()}
    core = [_gateway(beats.get(GATEWAY)), _worker(beats.get(WORKER))]
    channels = [_channel(name, beats) for name in settings.OPENCLAW_CHANNELS]
    agents = _agents()
    waiting = repair.kinds_waiting(request)
    door = _door(request)
    queues = [*_queues(), *_shelves(waiting), *door]
    hours = plots.last_hours()
    bad = (plots.FAILED, plots.DEAD)
    failed = [sum(row) for row in zip(*(plots.counted(sql, hours) for sql in bad), strict=True)]
    findings = [
        *_broken(core, channels, agents),
        *_late(queues, core),
        *_left(waiting),
        *_knocking(door),
    ]
    return {
        "findings": findings,
        "verdict": verdict(len(findings)),
        "failures": sum(failed),
        "core": core,
        "channels": _with_trouble(channels, waiting),
        "agents": agents,
        "queues": queues,
        "plots": [
            plots.draw("Messages received", hours, plots.counted(plots.MESSAGES, hours)),
            plots.draw("Failures", hours, failed),
        ],
        "as_of": clock.now(),
    }


def fragment(request: HttpRequest) -> HttpResponse:
    """The part of the start page that is fetched again and again."""
    found = context(request)
    if not found:
        raise PermissionDenied
    return render(request, "console/overview_state.html", "Overview", found)


def verdict(findings: int) -> str:
    """The one sentence on top."""
    if not findings:
        return "Everything works."
    return f"{findings} {'thing needs' if findings == 1 else 'things need'} a person."


def _gateway(beat: Heartbeat | None) -> Part:
    if beat is None:
        return Part("gateway", "bad", "never started", "python manage.py gateway starts it")
    if (clock.now() - beat.at).total_seconds() > GATEWAY_SECONDS:
        return Part("gateway", "bad", "down", "python manage.py gateway starts it", beat.at)
    return Part("gateway", "good", "up", heard=beat.at)


def _worker(beat: Heartbeat | None) -> Part:
    advice = "python manage.py run_huey starts it; without it no session ends by itself"
    if beat is None:
        return Part("worker", "bad", "never started", advice)
    if (clock.now() - beat.at).total_seconds() > health.WORKER_SECONDS:
        return Part("worker", "bad", "down", advice, beat.at)
    return Part("worker", "good", "up", heard=beat.at)


def _channel(name: str, beats: dict[str, Heartbeat]) -> Part:
    """A channel by what the gateway says of it: directly here, else by its last report."""
    runtime, beat = _runtime(), beats.get(f"channel:{name}")
    before = beat.detail if beat and isinstance(beat.detail, dict) else {}
    if runtime is not None:
        if name in runtime.left_out:
            return Part(name, "bad", "left out", "python manage.py channels says what is missing")
        line = runtime.lines.get(name)
        report = line.report() if line else {}
    else:
        if beat is None:
            return Part(name, "unknown", "not reported", "shown once the gateway has run with it")
        report = before
        if (clock.now() - beat.at).total_seconds() > GATEWAY_SECONDS:
            report = report | {"state": "unknown", "detail": "the gateway does not report"}
    state = str(report.get("state") or "unknown")
    mood = {"up": "good", "failing": "bad", "down": "bad"}.get(state, "unknown")
    denied = report.get("denied")
    return Part(
        name,
        mood,
        state,
        str(report.get("detail") or ""),
        _moment(report.get("last_inbound_at") or before.get("last_inbound_at")),
        denied if isinstance(denied, int) else 0,
        str(report.get("last_error") or before.get("last_error") or ""),
        _moment(report.get("last_error_at") or before.get("last_error_at")),
    )


def _with_trouble(channels: Sequence[Part], waiting: Sequence[Kind]) -> list[dict[str, Any]]:
    """Each channel with the last error there is: its own, else its dead letters'."""
    rows = []
    for part in channels:
        mine = [kind for kind in waiting if kind.channel == part.name]
        letters = ", ".join(f"{kind.count} × {kind.reason.title.lower()}" for kind in mine)
        rows.append({"part": part, "trouble": part.detail or letters})
    return rows


def _agents() -> list[Part]:
    """Each enabled agent, by its last probe; unknown outside the gateway's process."""
    names = (
        Agent.objects.filter(enabled=True).select_related("health").order_by("-is_default", "name")
    )
    runtime = _runtime()
    if runtime is None:
        return [_agent(agent, "not asked yet", None, None) for agent in names]
    answers, at = async_to_sync(probing.answers)(runtime)
    return [_agent(agent, "is being asked", answers.get(agent.name), at) for agent in names]


def _agent(agent: Agent, unknown: str, answer: dict[str, Any] | None, at: datetime | None) -> Part:
    circuit = getattr(agent, "health", None)
    if circuit is not None and circuit.state != AgentHealth.State.CLOSED:
        return Part(agent.name, "bad", "does not answer, its turns wait", circuit.detail,
                    circuit.checked_at)  # fmt: skip
    if answer is None:
        return Part(agent.name, "unknown", unknown, agent.url or agent.command)
    if answer["ok"]:
        return Part(agent.name, "good", "answers", agent.url or agent.command, at)
    return Part(agent.name, "bad", "fails its health check", str(answer.get("detail", "")), at)


def _runtime() -> Runtime | None:
    try:
        return current()
    except RuntimeError:
        return None


def _queues() -> list[Depth]:
    """What waits and what is under way. Two queries, each over what is open only."""
    now = (moment(clock.now()),)
    turns = {row[0]: row for row in run(_OPEN_TURNS, now)}
    parts = {row[0]: row for row in run(_OPEN_DELIVERIES, now)}
    return [
        _depth("Turns", "queued", turns, "gateway_turn"),
        _depth("Turns", "running", turns, "gateway_turn"),
        _depth("Deliveries", "queued", parts, "gateway_delivery"),
        _depth("Deliveries", "sending", parts, "gateway_delivery"),
    ]


def _shelves(waiting: Sequence[Kind]) -> list[Depth]:
    """What lies on the repair page, as rows among the queues."""
    rows = []
    for shelf in (SHELVES[name] for name in WAITING):
        mine = [kind for kind in waiting if kind.shelf is shelf]
        oldest = min((kind.since for kind in mine if kind.since), default=None)
        address = f"{reverse('admin:repair')}?what={shelf.name}"
        number = sum(kind.count for kind in mine)
        rows.append(Depth(shelf.many.capitalize(), "", number, oldest, address))
    return rows


def _door(request: HttpRequest) -> list[Depth]:
    """People who wait to be let in, as a row among the queues; none for who may not see them."""
    if not request.user.has_perm("gateway.view_pairingcode"):
        return []
    waiting = PairingCode.objects.filter(state=PairingCode.State.OPEN, expires_at__gt=clock.now())
    found = waiting.aggregate(count=Count("pk"), oldest=Min("created_at"))
    address = reverse("admin:gateway_pairingcode_changelist") + "?door=waiting"
    return [Depth("People at the door", "", found["count"], found["oldest"], address)]


def _depth(name: str, state: str, rows: dict[str, Row], table: str) -> Depth:
    _, count, since, ready = rows.get(state, (state, 0, None, None))
    oldest, free = parse_moment(since), parse_moment(ready)
    late = state == "queued" and free is not None and clock.now() - free > LATE
    address = reverse(f"admin:{table}_changelist") + f"?state__exact={state}"
    return Depth(name, state, count, oldest, address, late)


def _broken(
    core: Sequence[Part], channels: Sequence[Part], agents: Sequence[Part]
) -> list[Finding]:
    found = [
        Finding(f"The {part.name} is {part.state}." if part.state == "down"
                else f"The {part.name} was never started.", part.detail)
        for part in core if part.mood == "bad"
    ]  # fmt: skip
    for part in channels:
        if part.mood == "bad":
            found.append(Finding(f"Channel {part.name} is {part.state}.", part.detail))
    address = reverse("admin:gateway_agent_changelist")
    for part in agents:
        if part.mood == "bad":
            found.append(Finding(f"Agent {part.name} {part.state}.", part.detail, address))
    if not agents:
        todo = "Add one under Agents; until then messages wait."
        found.append(Finding("No agent is set up.", todo, address))
    return found


def _late(queues: Sequence[Depth], core: Sequence[Part]) -> list[Finding]:
    """Work that waits although the gateway is up."""
    if any(part.name == GATEWAY and part.mood == "bad" for part in core):
        return []
    return [
        Finding(
            f"{queue.count} {queue.name.lower()} wait, the oldest for more than five minutes.",
            "See whether their channel or agent is up.",
            queue.url,
        )
        for queue in queues
        if queue.late
    ]


def _left(waiting: Sequence[Kind]) -> list[Finding]:
    """What lies on the repair page, one finding for each kind."""
    address = reverse("admin:repair")
    return [
        Finding(
            f"{kind.count} {kind.shelf.one if kind.count == 1 else kind.shelf.many} "
            f"on {kind.channel}: {kind.reason.title[0].lower()}{kind.reason.title[1:]}.",
            kind.reason.remedy,
            f"{address}?{repair.filters_of(kind)}",
        )
        for kind in waiting
    ]


def _knocking(door: Sequence[Depth]) -> list[Finding]:
    """Who asks to be let in has a code that is good for an hour."""
    todo = "Compare the code with the one they tell you, then let them in or keep them out."
    return [
        Finding(
            f"{queue.count} {'person waits' if queue.count == 1 else 'people wait'} at the door.",
            todo,
            queue.url,
        )
        for queue in door
        if queue.count
    ]


def _moment(text: Any) -> datetime | None:
    try:
        return parse_moment(text)
    except (TypeError, ValueError):
        return None
