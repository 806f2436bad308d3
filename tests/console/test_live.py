"""What the live page asks of the server: who may look, what waits and why, how turns ended."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from gateway.console import waiting
from gateway.models import Agent, Turn
from sessions_app import clock
from sessions_app.models import Contact, Message, Session

pytestmark = pytest.mark.django_db

PAGES = ("/admin/live/", "/admin/live/waiting.json", "/admin/live/ended.json?turn=turn_x")


def person(*permissions: str, staff: bool = True) -> Client:
    user = User.objects.create_user("someone", password="not-a-password-1", is_staff=staff)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def viewer() -> Client:
    return person("view_turn")


def conversation(number: int = 1, name: str = "Ada", **fields: Any) -> Session:
    contact = Contact.objects.create(channel="webchat", user_id=f"u{number}", name=name)
    session: Session = Session.objects.create(
        channel="webchat", scope_key=f"s{number}", contact=contact, chat_id=f"c{number}", **fields
    )
    return session


def queued(session: Session, seq: int = 1000, **fields: Any) -> Turn:
    """A turn, running or waiting, and what it is to answer."""
    Message.objects.create(
        session=session, seq=seq, role="user", origin="user", text="hi", channel="webchat",
        sender=session.contact.user_id,
    )  # fmt: skip
    turn: Turn = Turn.objects.create(session=session, upto_seq=seq, **fields)
    return turn


@pytest.fixture
def agent() -> Agent:
    found: Agent = Agent.objects.create(name="one", url="http://127.0.0.1:1/", is_default=True)
    return found


def kinds(client: Client) -> dict[str, str]:
    rows = client.get("/admin/live/waiting.json").json()["waiting"]
    return {row["turn"]: row["kind"] for row in rows}


@pytest.mark.parametrize("page", PAGES)
def test_who_may_view_turns_may_look(viewer: Client, page: str) -> None:
    assert viewer.get(page).status_code == 200


@pytest.mark.parametrize("page", PAGES)
def test_staff_without_the_permission_may_not(page: str) -> None:
    assert person().get(page).status_code == 403


@pytest.mark.parametrize("page", PAGES)
def test_others_are_sent_to_the_login(page: str) -> None:
    for client in (Client(), person("view_turn", staff=False)):
        answer = client.get(page)
        assert (answer.status_code, answer["Location"].split("?")[0]) == (302, "/admin/login/")


def test_only_who_may_step_in_is_given_the_means(viewer: Client) -> None:
    assert b"cancel" not in viewer.get("/admin/live/").content
    User.objects.all().delete()
    operator = person("view_turn", "operate")
    assert b'data-cancel-url="/admin/live/cancel/"' in operator.get("/admin/live/").content


def test_each_waiting_turn_says_why_it_waits(viewer: Client, agent: Agent) -> None:
    busy, again, handed, fresh = (conversation(n) for n in range(4))
    Session.objects.filter(pk=handed.pk).update(handler="operator")
    ahead = queued(busy, state="running", attempts=1)
    behind = queued(busy, 2000)
    later = clock.now() + timedelta(minutes=1)
    tries = queued(again, state="queued", attempts=2, not_before=later, error_code="refused")
    after = queued(again, 2000)
    held, soon = queued(handed), queued(fresh)
    assert kinds(viewer) == {
        behind.pk: "running",
        tries.pk: "backoff",
        after.pk: "earlier",
        held.pk: "operator",
        soon.pk: "soon",
    }
    told = viewer.get("/admin/live/waiting.json").json()
    assert told["running"] == [ahead.pk]
    row = next(row for row in told["waiting"] if row["turn"] == tries.pk)
    assert (row["user"], row["name"], row["chat"], row["agent"]) == ("u1", "Ada", "c1", "one")
    assert (row["attempts"], row["error"]) == (2, "refused")
    assert row["until"] > told["now"]


def test_without_an_agent_a_turn_says_so(viewer: Client) -> None:
    turn = queued(conversation())
    assert kinds(viewer) == {turn.pk: "no_agent"}


def test_when_as_many_run_as_may_the_next_says_so(
    viewer: Client, agent: Agent, settings: Any
) -> None:
    settings.OPENCLAW_AGENT_MAX_TURNS = 1
    queued(conversation(1), state="running", attempts=1)
    turn = queued(conversation(2))
    assert kinds(viewer) == {turn.pk: "full"}


def test_in_a_group_the_one_who_wrote_is_named(viewer: Client, agent: Agent) -> None:
    session = conversation(1, name="First to write")
    Contact.objects.create(channel="webchat", user_id="u2", name="Bo")
    turn = queued(session)
    Message.objects.filter(session=session).update(sender="u2", target={"chat_id": "group"})
    row = viewer.get("/admin/live/waiting.json").json()["waiting"][0]
    assert (row["turn"], row["user"], row["name"], row["chat"]) == (turn.pk, "u2", "Bo", "group")


def test_a_long_queue_is_cut_and_counted_at_a_constant_number_of_queries(
    viewer: Client, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "MAX_ROWS", 3)
    queued(conversation(0))
    queued(conversation(1))
    with CaptureQueriesContext(
        connection,
    ) as few:
        assert viewer.get("/admin/live/waiting.json").json()["more"] == 0
    for number in range(2, 12):
        queued(conversation(number))
    with CaptureQueriesContext(connection) as many:
        told = viewer.get("/admin/live/waiting.json").json()
    assert (len(told["waiting"]), told["more"]) == (3, 9)
    assert len(many) <= len(few) + 1  # the count


@pytest.mark.parametrize("sql", [waiting._QUEUED, waiting._COUNT, waiting._RUNNING])
def test_looking_reads_the_index_of_open_turns(sql: str) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("SQLite's plans")
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN QUERY PLAN " + sql.replace("%s", "100"))
        plan = "\n".join(str(row[3]) for row in cursor.fetchall())
    assert "turn_open" in plan
    assert "SCAN t\n" not in plan + "\n", plan


def test_the_end_of_a_turn_is_told_as_a_frame(viewer: Client, agent: Agent) -> None:
    session = conversation()
    now = clock.now()
    done = queued(
        session, state="done", attempts=2, agent=agent, started_at=now, ended_at=now,
        events=[{"kind": "tool_call", "data": {"name": "clock"}}],
    )  # fmt: skip
    Message.objects.create(
        session=session, seq=1002, role="assistant", origin="agent", text="the reply"
    )
    failed = queued(session, 2000, state="failed", partial_text="half", error_code="reported")
    running = queued(session, 3000, state="running", attempts=1)
    asked = "&".join(f"turn={turn.pk}" for turn in (done, failed, running))
    frames = viewer.get(f"/admin/live/ended.json?{asked}").json()["frames"]
    found = {frame["turn"]: frame for frame in frames}
    assert set(found) == {done.pk, failed.pk}
    first = found[done.pk]
    assert (first["text"], first["state"], first["attempt"]) == ("the reply", "done", 2)
    assert (first["agent"], first["name"], first["user"]) == ("one", "Ada", "u1")
    assert first["trace"] == done.events
    assert (found[failed.pk]["text"], found[failed.pk]["error"]) == ("half", "reported")


def test_the_answer_to_a_schedule_is_told_too(viewer: Client, agent: Agent) -> None:
    session = conversation()
    planned = queued(session, state="done", attempts=1)
    Message.objects.create(
        session=session, seq=1001, role="assistant", origin="schedule", text="good morning"
    )
    (frame,) = viewer.get(f"/admin/live/ended.json?turn={planned.pk}").json()["frames"]
    assert frame["text"] == "good morning"


def test_a_silent_answer_does_not_borrow_the_next_one(viewer: Client, agent: Agent) -> None:
    session = conversation()
    silent = queued(session, state="done", attempts=1)
    queued(session, 2000, state="done", attempts=1)
    Message.objects.create(session=session, seq=2001, role="assistant", origin="agent", text="next")
    (frame,) = viewer.get(f"/admin/live/ended.json?turn={silent.pk}").json()["frames"]
    assert frame["text"] == ""


def test_how_many_ended_costs_no_more_queries(viewer: Client, agent: Agent) -> None:
    ended = []
    for number in range(20):
        session = conversation(number)
        Message.objects.create(
            session=session, seq=1001, role="assistant", origin="agent", channel="c",
            text=f"answer {number}",
        )  # fmt: skip
        ended.append(queued(session, state="done", attempts=1, agent=agent))

    def asked(turns: list[Turn]) -> tuple[int, set[str]]:
        query = "&".join(f"turn={turn.pk}" for turn in turns)
        with CaptureQueriesContext(connection) as captured:
            frames = viewer.get(f"/admin/live/ended.json?{query}").json()["frames"]
        return len(captured), {frame["text"] for frame in frames}

    asked(ended[:1])
    few, _ = asked(ended[:1])
    many, texts = asked(ended)
    assert many == few
    assert texts == {f"answer {number}" for number in range(20)}
