"""What belongs to no conversation and is forgotten in time all the same."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from gateway.models import Delivery, PairingCode, SetAside
from sessions_app import clock

BATCH = 500
"""Rows in one transaction: the gateway must not wait long for its turn."""


def forget_leftovers(oldest: datetime) -> int:
    """Delete what is older than `oldest`: payloads set aside, notes to people without a
    conversation that have ended, codes that are over. Returns how many rows."""
    notes = Delivery.objects.filter(session=None, created_at__lt=oldest)
    codes = PairingCode.objects.filter(created_at__lt=oldest, expires_at__lt=clock.now())
    return (
        _forget(SetAside.objects.filter(created_at__lt=oldest))
        + _forget(notes.exclude(state__in=[Delivery.State.QUEUED, Delivery.State.SENDING]))
        + _forget(codes)
    )


def _forget(rows: QuerySet[Any]) -> int:
    gone = 0
    while batch := list(rows.values_list("pk", flat=True)[:BATCH]):
        rows.model._default_manager.filter(pk__in=batch).delete()
        gone += len(batch)
    return gone
