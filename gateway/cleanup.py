"""Sessions that nobody uses any more: first idle, then ended, at last forgotten."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from gateway import channels
from gateway.archiving import forget_files
from gateway.ledger.ingest import IN_FLIGHT
from gateway.ledger.operate import OPEN
from gateway.ledger.recovery import GATEWAY
from gateway.models import Delivery, IdempotencyKey, Turn
from sessions_app import clock
from sessions_app.manager import SessionManager
from sessions_app.models import Session
from sessions_app.sql import moment, parse_moment, run

IDLE_SHARE = 3
"""A session is idle after a third of its time-out."""

GATEWAY_SECONDS = 60.0
"""Without a sign of life this recent the gateway is down, and time does not count."""

BATCH = 500
"""Sessions ended in one transaction: the gateway must not wait long for its turn."""

UNDER_WAY = (Delivery.State.QUEUED, Delivery.State.SENDING)

_EXPIRED = f"""
SELECT s.id FROM sessions_app_session s
WHERE NOT s.state = 'terminated' AND s.expires_at <= %s AND NOT {IN_FLIGHT}
LIMIT %s
"""  # noqa: S608  (a constant of ours)


def clean_sessions() -> int:
    """Mark the idle, end the expired that have no work in flight. Returns how many ended.

    Only time up to the gateway's last sign of life counts: after it nobody could
    have written. While the gateway is down nothing is done.
    """
    now = clock.now()
    alive = _last_sign()
    if alive is None or (now - alive).total_seconds() >= GATEWAY_SECONDS:
        return 0
    counted = min(alive, now)
    sessions = channels.session_manager()
    _mark_idle(sessions, counted)
    ended = 0
    while True:
        with transaction.atomic():
            late = [row[0] for row in run(_EXPIRED, (moment(counted), BATCH))]
            sessions.expire(late, now)
        ended += len(late)
        if len(late) < BATCH:
            return ended


def forget_sessions() -> int:
    """Delete sessions that ended longer ago than OPENCLAW_RETENTION_DAYS, and their files.

    Where sessions are kept as files, only what has been written there goes. Returns how many.
    """
    if not settings.OPENCLAW_RETENTION_DAYS:
        return 0
    oldest = clock.now() - timedelta(days=settings.OPENCLAW_RETENTION_DAYS)
    forgotten = 0
    while True:
        old = _at_rest().filter(ended_at__lt=oldest)
        batch = list(old.values_list("pk", "created_at")[:BATCH])
        forget_files(settings.OPENCLAW_DATA_DIR, batch)  # first: rows that are left are found again
        with transaction.atomic():  # what was brought back meanwhile stays
            _, gone = old.filter(pk__in=[session for session, _ in batch]).delete()
        forgotten += gone.get(Session._meta.label, 0)
        if len(batch) < BATCH:
            return forgotten


def _at_rest() -> QuerySet[Session]:
    """Ended, with nothing under way, and in their files where sessions are kept as files."""
    turns = Turn.objects.filter(session=OuterRef("pk"), state__in=OPEN)
    letters = Delivery.objects.filter(session=OuterRef("pk"), state__in=UNDER_WAY)
    ended = Session.objects.filter(~Exists(turns), ~Exists(letters), state="terminated")
    return ended if settings.OPENCLAW_JSON == "off" else ended.exclude(archived_at=None)


def forget_keys() -> int:
    """Forget idempotency keys that are older than OPENCLAW_API_KEY_DAYS. How many there were."""
    before = clock.now() - timedelta(days=settings.OPENCLAW_API_KEY_DAYS)
    gone, _ = IdempotencyKey.objects.filter(created_at__lt=before).delete()
    return gone


def _last_sign() -> datetime | None:
    """When the gateway was surely up for the last time."""
    rows = run("SELECT at FROM gateway_heartbeat WHERE name = %s", (GATEWAY,))
    return parse_moment(rows[0][0]) if rows else None


def _mark_idle(sessions: SessionManager, now: datetime) -> None:
    active = Session.objects.filter(state=Session.State.ACTIVE)
    for channel in active.order_by().values_list("channel", flat=True).distinct():
        seconds = sessions.idle_seconds.get(channel, sessions.idle_seconds[""])
        quiet = now - timedelta(seconds=seconds / IDLE_SHARE)
        active.filter(channel=channel, last_activity__lte=quiet).update(state=Session.State.IDLE)
