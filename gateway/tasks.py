"""What the worker does. Huey is only the alarm clock: the truth is in our tables."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from huey import crontab
from huey.contrib.djhuey import HUEY, db_periodic_task, db_task

from gateway.checkups import check_agents
from gateway.cleanup import clean_sessions, forget_keys, forget_sessions
from gateway.ledger.firing import fire_due, ring_soon
from gateway.ledger.outcomes import forget_occurrences, settle
from gateway.ledger.recovery import WORKER, beat
from gateway.leftovers import forget_leftovers
from gateway.limits import agent_limits
from gateway.media.desk import make_store
from gateway.media.retention import prune_files
from gateway.replay.asking import carry_out
from sessions_app import clock

logger = logging.getLogger(__name__)

LATER_SECONDS = 5
"""So long after another one has been found under way, a replay is tried again."""

_replaying = threading.Lock()


@db_periodic_task(crontab(minute="*"))
def beat_worker() -> None:
    """A sign of life, once a minute."""
    say_alive()


@db_periodic_task(crontab(minute="*"))
def tick() -> None:
    """What is planned fires, once a minute; what is due in between has its own alarm."""
    fire()
    ring_soon(clock.now())


@db_task()
def fire_planned() -> None:
    """The alarm to the second, which sets the next one."""
    fire()
    ring_soon(clock.now(), most=1)


@db_periodic_task(crontab(minute="*"))
def check_up() -> None:
    """Whether the agents answer; the circuit of one that does not opens."""
    check_agents()


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
    if days := settings.OPENCLAW_RETENTION_DAYS:
        oldest = clock.now() - timedelta(days=days)
        forget_occurrences(oldest)
        forget_leftovers(oldest)


@db_periodic_task(crontab(hour="3", minute="47"))
def prune() -> None:
    """Old files go, and those that nothing knows any more."""
    if gone := prune_files(make_store(), settings.OPENCLAW_MEDIA_DAYS):
        logger.info("deleted %d old files", gone)


@db_task()
def ask_again(replay: int) -> None:
    """A past turn's question to another agent: minutes long, so no web thread waits for it.

    One at a time: what is due every minute has a thread of its own then. The others wait
    in Huey's queue, not in a thread.
    """
    if not _replaying.acquire(blocking=False):
        ask_again.schedule((replay,), delay=LATER_SECONDS)
        return
    try:
        carry_out(replay, agent_limits())
    finally:
        _replaying.release()


def fire() -> None:
    """Do what is due, and note what came of earlier ones."""
    if fired := fire_due(clock.now()):
        logger.info("fired %d planned sends", fired)
    settle(clock.now())


@HUEY.on_startup()
def catch_up() -> None:
    """What was due while no worker ran, and an alarm for what is due right now."""
    fire()
    ring_soon(clock.now())


@db_periodic_task(crontab(hour="4", minute="7"))
def forget_answers() -> None:
    """Idempotency keys go after OPENCLAW_API_KEY_DAYS."""
    if gone := forget_keys():
        logger.info("forgot %d idempotency keys", gone)


@HUEY.on_startup()
def say_alive() -> None:
    """The worker is there."""
    with transaction.atomic():
        beat(WORKER)
