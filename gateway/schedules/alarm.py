"""Wakes the worker to the second for what is due before it looks by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.db import transaction
from huey.contrib.djhuey import HUEY

SOON = timedelta(minutes=1)
"""How far ahead: the worker looks once a minute anyway."""


def wake_at(due: datetime, now: datetime) -> None:
    """After the caller's commit, have the worker look at `due`, if that is soon and no
    alarm is set for that moment yet.

    The truth stands in the tables: an alarm that is lost costs a minute, no more.
    """
    if due <= now + SOON:
        transaction.on_commit(lambda: _ring(due), robust=True)


def _ring(due: datetime) -> None:
    from gateway.tasks import fire_planned  # late: the tasks import the verbs that wake them

    moment = due.astimezone(UTC).replace(tzinfo=None)  # as Huey keeps it
    alarms = (*HUEY.pending(), *HUEY.scheduled())
    if not any(one.eta == moment and isinstance(one, fire_planned.task_class) for one in alarms):
        fire_planned.schedule(eta=due)
