"""Lists, searches and conversations with 100,000 messages in 20,000 sessions behind them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from gateway.console.transcript import AFTER, PAGE
from gateway.models import (
    Agent,
    Audit,
    Delivery,
    Occurrence,
    PairingCode,
    RoutingRule,
    Schedule,
    SetAside,
    Turn,
)
from sessions_app import clock
from sessions_app.models import (
    Attachment,
    Contact,
    ContactAlias,
    Message,
    Overheard,
    Session,
)
from tests.rows import planned

pytestmark = [pytest.mark.heavy, pytest.mark.django_db]

SESSIONS = 20_000
LONG = 10_000
"""Messages of the longest conversation."""
EACH = 4
"""Messages of most of the others."""
SECONDS = 0.2
BATCH = 5000


def _people() -> list[Session]:
    now = clock.now()
    contacts = Contact.objects.bulk_create(
        (
            Contact(channel="webchat", user_id=f"guest_{n}", name=f"Person {n}", access="allowed")
            for n in range(SESSIONS)
        ),
        batch_size=BATCH,
    )
    return Session.objects.bulk_create(
        (
            Session(
                id=f"sess_{n:026d}",
                channel="webchat",
                scope_key=f"user:{contact.user_id}",
                contact=contact,
                chat_id=contact.user_id,
                agent="default",
                state="terminated" if n % 3 else "active",
                last_seq=EACH // 2 * 1000 + 1,
                last_activity=now - timedelta(seconds=(n * 7919) % 1_000_000),
            )
            for n, contact in enumerate(contacts)
        ),
        batch_size=BATCH,
    )


def _exchange(session: Session, number: int) -> Iterator[Message]:
    word = f"question {number} of {session.contact.name}"
    yield Message(
        session=session, seq=number * 1000, role="user", origin="user", channel="webchat",
        text=f"{word}, with some words more to be as long as people write",
        external_id=f"{session.chat_id}:{number}", sender=session.chat_id, disposition="answered",
    )  # fmt: skip
    yield Message(
        session=session, seq=number * 1000 + 1, role="assistant", origin="agent",
        channel="webchat", text=f"An **answer** to {word}.\n\n```py\nprint({number})\n```\n" * 3,
    )  # fmt: skip


@pytest.fixture(scope="module")
def stock(django_db_setup: None, django_db_blocker: Any) -> Iterator[Session]:
    """The longest conversation; all the rest is there, too."""
    with django_db_blocker.unblock():
        sessions = _people()
        long = sessions[SESSIONS // 2]
        rest = (100_000 - LONG) // EACH
        messages = [m for n in range(1, LONG // 2 + 1) for m in _exchange(long, n)]
        for session in sessions[:rest]:
            messages += [m for n in (1, 2) for m in _exchange(session, n) if session is not long]
        Message.objects.bulk_create(messages, batch_size=BATCH)
        Session.objects.filter(pk=long.pk).update(last_seq=LONG // 2 * 1000 + 1)
        agent = Agent.objects.create(name="seeded", url="http://127.0.0.1:9/")
        _work(agent)
        yield long
        for model in (
            Attachment, ContactAlias, Overheard, Occurrence, SetAside, PairingCode,
        ):  # fmt: skip
            model._default_manager.all().delete()
        User.objects.filter(username__startswith="user ").delete()
        for model in (Audit, Schedule, RoutingRule, Delivery, Turn, Message, Session, Contact):
            model._default_manager.all().delete()
        Agent.objects.filter(name="seeded").delete()


def _work(agent: Agent) -> None:
    """A turn for each answer and a delivery; one in a thousand ended badly."""
    answers = Message.objects.filter(role="assistant").values_list("pk", "session_id", "seq")
    rows = list(answers)
    Turn.objects.bulk_create(
        (
            Turn(
                id=f"turn_{n:026d}", session_id=session, upto_seq=seq - 1, agent=agent, attempts=1,
                state="failed" if n % 1000 == 7 else "done",
                error_detail="refused" * (n % 1000 == 7),
                events=[{"kind": "tool_call", "data": {"name": "search", "q": n}}] * 3,
            )
            for n, (_, session, seq) in enumerate(rows)
        ),
        batch_size=BATCH,
    )  # fmt: skip
    Delivery.objects.bulk_create(
        (
            Delivery(
                session_id=session, message_id=message, channel="webchat", chat_id="c",
                text="x" * 80,
                state="failed" if n % 1000 == 9 else "sent", receipt=str(n), attempts=1,
                created_at=clock.now(), sent_at=clock.now(),
            )
            for n, (message, session, _) in enumerate(rows)
        ),
        batch_size=BATCH,
    )  # fmt: skip
    Audit.objects.bulk_create(
        (Audit(actor="grace", action="retry", row=str(n)) for n in range(20_000)), batch_size=BATCH
    )
    RoutingRule.objects.bulk_create(RoutingRule(agent=agent, priority=n) for n in range(50))
    session = Session.objects.order_by("pk").first()
    Schedule.objects.bulk_create(planned(session) for _ in range(500))
    _small_things([message for message, *_ in rows[:10_000]])


def _small_things(messages: list[int]) -> None:
    """What came with messages, and what is written down beside them."""
    now = clock.now()
    schedule, contact = Schedule.objects.all()[0], Contact.objects.all()[0]
    makers: list[tuple[Any, Any]] = [
        (Attachment, lambda n: {"message_id": messages[n], "kind": "file", "name": f"plot {n}"}),
        (ContactAlias, lambda n: {"channel": "c", "user_id": f"other {n}", "contact": contact}),
        (Overheard, lambda n: {"channel": "c", "chat_id": f"chat {n}", "external_id": str(n),
                               "sender": "s", "text": "words"}),
        (Occurrence, lambda n: {"schedule": schedule, "due_at": now - timedelta(minutes=n)}),
        (SetAside, lambda n: {"channel": "c", "reason": "odd", "payload": "{}"}),
        (PairingCode, lambda n: {"channel": "c", "user_id": str(n), "code": str(n), "name": "Zoe",
                                 "expires_at": now, "state": "refused"}),
        (User, lambda n: {"username": f"user {n}", "is_staff": True}),
    ]  # fmt: skip
    for model, made in makers:
        count = 300 if model is User else 10_000
        rows = (model(**made(n)) for n in range(count))
        model._default_manager.bulk_create(rows, batch_size=BATCH)


@pytest.fixture
def operator(stock: Session, admin_client: Client) -> Client:
    """Logged in, with all of that behind."""
    return admin_client


def look(client: Client, address: str) -> tuple[float, int, str]:
    """(median seconds of five, queries, the page).

    Seconds of this process's CPU: the database is in it and in memory, so that is the
    time on a machine that does nothing else, whatever else this one is doing.
    """
    taken = []
    asked = query_count(client, address)
    for _ in range(5):
        start = time.process_time()
        page = client.get(address)
        taken.append(time.process_time() - start)
        assert page.status_code == 200, page
    return statistics.median(taken), asked, page.content.decode()


def query_count(client: Client, address: str) -> int:
    """How many a page costs that was opened before."""
    client.get(address)
    with CaptureQueriesContext(connection) as captured:
        assert client.get(address).status_code == 200
    return len(captured)


LISTS = {
    "sessions_app_session": [
        "", "p=2", "p=400", "q=Person+15999", "q=nobody", "q=sess_00000000000000000000010000",
        "state__exact=active", "work=running", "work=waiting", "work=operator", "channel=webchat",
        "o=-5.1", "work=quarantined", "work=unanswered", "work=undelivered",
        "q=guest_19&state__exact=terminated",
    ],
    "sessions_app_message": [
        "", "p=2", "p=1000", "q=question+4", "q=nowhere+to+be+found",
        "q=sess_00000000000000000000010000", "disposition__exact=failed",
        "disposition__exact=pending", "role__exact=system", "origin__exact=operator",
        "channel=webchat",
    ],
    "sessions_app_contact": ["", "p=300", "q=15999", "q=nobody", "access__exact=blocked"],
    "gateway_turn": [
        "", "p=2", "p=900", "q=refused", "q=turn_00000000000000000000001007", "q=nothing",
        "state__exact=failed", "state__exact=quarantined", "state__exact=cancelled",
    ],
    "gateway_delivery": [
        "", "p=2", "p=900", "q=nothing", "q=49000", "state__exact=failed", "state__exact=expired",
        "repeated__exact=1", "channel=webchat",
    ],
    "gateway_agent": ["", "q=seeded"],
    "gateway_routingrule": ["", "q=webchat"],
    "gateway_schedule": ["", "q=hello", "enabled__exact=0"],
    "gateway_audit": ["", "q=grace", "q=nobody", "action=change_"],
    "sessions_app_attachment": ["", "p=100", "q=plot"],
    "sessions_app_contactalias": ["", "p=100", "q=other+1999"],
    "sessions_app_overheard": ["", "p=100", "q=chat"],
    "gateway_occurrence": ["", "p=100"],
    "gateway_setaside": ["", "p=100", "q=odd"],
    "gateway_pairingcode": ["", "p=100", "q=Zoe"],
    "auth_user": ["", "q=user+1"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("table", "query"), [(table, query) for table, queries in LISTS.items() for query in queries]
)
def test_list_is_fast(table: str, query: str, operator: Client) -> None:
    taken, queries, page = look(operator, f"{reverse(f'admin:{table}_changelist')}?{query}")
    print(f"{table}?{query}: {taken * 1000:.0f} ms, {queries} queries")
    assert taken < SECONDS
    assert queries <= 16
    assert " COUNT(" not in page


@pytest.mark.parametrize("table", LISTS)
def test_a_list_costs_as_many_queries_for_one_row_as_for_a_page(
    table: str, operator: Client
) -> None:
    address = reverse(f"admin:{table}_changelist")
    model = apps.get_model(*table.split("_", 1) if table.count("_") == 1 else (
        "sessions_app", table.removeprefix("sessions_app_")))  # fmt: skip
    key = model._meta.pk.name
    one = model._default_manager.order_by("-pk").values_list("pk", flat=True)[0]
    assert query_count(operator, address) <= query_count(operator, f"{address}?{key}={one}")


@pytest.mark.parametrize("place", ["", "?at=2500000", "?at=0"])
def test_conversation_of_ten_thousand_messages_is_fast(
    place: str, operator: Client, stock: Session
) -> None:
    address = reverse("admin:sessions_app_session_change", args=(stock.pk,)) + place
    taken, queries, page = look(operator, address)
    print(f"conversation{place}: {taken * 1000:.0f} ms, {queries} queries, {len(page)} bytes")
    assert taken < SECONDS
    assert queries <= 20
    assert (AFTER if place == "?at=0" else PAGE) <= page.count("<article") <= PAGE


@pytest.mark.parametrize("query", ["before=4000000", "since=4999000", "since=0", "before=1"])
def test_part_of_it_is_fast(query: str, operator: Client, stock: Session) -> None:
    address = reverse("admin:conversation-entries", args=(stock.pk,))
    taken, queries, _ = look(operator, f"{address}?{query}")
    print(f"part {query}: {taken * 1000:.0f} ms, {queries} queries")
    assert taken < SECONDS
    assert queries <= 16


def test_queries_do_not_grow_with_the_conversation(operator: Client, stock: Session) -> None:
    short = Session.objects.order_by("pk")[0]
    counts = [
        query_count(operator, reverse("admin:sessions_app_session_change", args=(pk,)))
        for pk in (short.pk, stock.pk)
    ]
    assert counts[0] == counts[1]
