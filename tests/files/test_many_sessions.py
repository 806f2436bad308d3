"""Two thousand sessions: out and in again in seconds, and never all of them in memory."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.models import Delivery, Turn
from sessions_app.models import Contact, Message, Session
from tests.conftest import Clock
from tests.core.kit import Verbs
from tests.files.kit import export, restore, wipe, write_archive, write_mirror

pytestmark = pytest.mark.heavy

SESSIONS = 2000
EXCHANGES = 5
SECONDS = 30.0
"""For each step, on a busy machine; alone it takes two or three."""

MEMORY = 12 * 1024 * 1024
"""Bytes on top; the export alone is twice as long."""


def fill(clock: Clock) -> None:
    contacts = Contact.objects.bulk_create(
        [Contact(channel="c", user_id=f"u{n}", name=f"Person {n}") for n in range(SESSIONS)]
    )
    sessions = Session.objects.bulk_create(
        [
            Session(channel="c", scope_key=f"user:{c.user_id}", contact=c, chat_id="x")
            for c in contacts
        ]
    )
    Session.objects.update(last_seq=EXCHANGES * 1000 + 1)
    for session in sessions:
        session.messages.bulk_create(
            [
                Message(
                    session=session,
                    seq=n * 1000 + answer,
                    role="assistant" if answer else "user",
                    origin="agent" if answer else "user",
                    text="some words " * 20,
                    channel="c",
                    disposition="" if answer else "answered",
                    external_id=None if answer else f"{session.pk}-{n}",
                )
                for n in range(1, EXCHANGES + 1)
                for answer in (0, 1)
            ]
        )
    Turn.objects.bulk_create(
        [
            Turn(session=session, upto_seq=n * 1000, state="done", attempts=1)
            for session in sessions
            for n in range(1, EXCHANGES + 1)
        ],
        batch_size=2000,
    )
    answers = Message.objects.filter(role="assistant").only("pk", "session_id")
    Delivery.objects.bulk_create(
        [
            Delivery(message=m, session_id=m.session_id, channel="c", chat_id="x", text="t")
            for m in answers
        ],
        batch_size=2000,
    )
    Delivery.objects.update(state="sent")


def in_time(work: Callable[[], object]) -> None:
    start = time.monotonic()
    work()
    assert time.monotonic() - start < SECONDS


def in_memory(work: Callable[[], object]) -> None:
    tracemalloc.start()
    try:
        work()
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


def counts() -> list[int]:
    return [model.objects.count() for model in (Contact, Session, Message, Turn, Delivery)]


def test_many_sessions_go_out_and_come_back(verbs: Verbs, clock: Clock, data_dir: Path) -> None:
    fill(clock)
    full = counts()
    assert full[2] == SESSIONS * EXCHANGES * 2
    write_mirror(data_dir)
    Session.objects.update(state="terminated", ended_at=clock())
    write_archive(data_dir)
    in_time(lambda: export(data_dir / "all.jsonl"))
    in_memory(lambda: restore("--from", str(data_dir / "all.jsonl")))  # nothing is missing
    for source in ("archive", "mirror"):
        wipe()
        in_time(lambda: restore("--from", source))  # noqa: B023  (called at once)
        assert counts() == full
