"""What the worker does. Huey is only the alarm clock: the truth is in our tables."""

from __future__ import annotations

import logging

from django.conf import settings
from django.db import transaction
from huey import crontab
from huey.contrib.djhuey import HUEY, db_periodic_task

from gateway.cleanup import clean_sessions, forget_sessions
from gateway.ledger.recovery import WORKER, beat
from gateway.media.desk import make_store
from gateway.media.retention import prune_files

logger = logging.getLogger(__name__)


@db_periodic_task(crontab(minute="*"))
def beat_worker() -> None:
    """A sign of life, once a minute."""
    say_alive()


@db_periodic_task(crontab(minute="*/5"))
def clean_up() -> None:
    """Idle sessions end."""
    if ended := clean_sessions():
        logger.info("ended %d idle sessions", ended)


@db_periodic_task(crontab(hour="3", minute="17"))
def forget() -> None:
    """Old conversations go, where retention is set."""
    if forgotten := forget_sessions():
        logger.info("forgot %d old sessions", forgotten)


@db_periodic_task(crontab(hour="3", minute="47"))
def prune() -> None:
    """Old files go, and those that nothing knows any more."""
    if gone := prune_files(make_store(), settings.OPENCLAW_MEDIA_DAYS):
        logger.info("deleted %d old files", gone)


@HUEY.on_startup()
def say_alive() -> None:
    """The worker is there."""
    with transaction.atomic():
        beat(WORKER)
