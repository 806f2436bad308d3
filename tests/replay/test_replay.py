"""A past turn's question goes to another agent, exactly; both answers are shown; nothing leaves."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from datetime import timedelta

import psutil
import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from huey.contrib.djhuey import HUEY

from gateway import tasks
from gateway.agents.base import Limits
from gateway.models import Agent, Audit, Delivery, Replay, Turn
from gateway.replay.asking import NotReplayable, Said, begin_replay, carry_out, finish_replay
from gateway.replay.columns import Column, again, side_by_side
from gateway.replay.question import DIFFERS
from gateway.tasks import ask_again
from sessions_app import clock
from sessions_app.models import Contact, Message, Session
from tests.conftest import Clock
from tests.fakes.agent import FakeAgent
from tests.process import ROOT
from tests.rights.people import Who, browser

pytestmark = pytest.mark.django_db
LIMITS = Limits(connect_seconds=2, first_token_seconds=5, between_tokens_seconds=5)
NASTY = '<script>alert(1)</script> & "more"'


@pytest.fixture
def agent() -> Iterator[FakeAgent]:
    with FakeAgent.in_thread() as fake:
        Agent.objects.create(name="other", url=fake.url)
        yield fake


@pytest.fixture
def turn() -> Turn:
    """The second turn of a conversation that went on afterwards."""
    contact = Contact.objects.create(
        channel="webchat", user_id="u1", name="Ada", notes={"secret": "of today"}
    )
    session = Session.objects.create(
        channel="webchat", scope_key="user:u1", contact=contact, chat_id="c1", context={"now": 1}
    )
    for seq, role, text in (
        (1000, "user", "hello"),
        (1001, "assistant", "hello yourself"),
        (2000, "user", "what is seven?"),
        (2001, "assistant", f"a number {NASTY}"),
        (3000, "user", "and eight?"),
        (3001, "assistant", "another"),
    ):
        Message.objects.create(
            session=session, seq=seq, role=role, text=text, channel="webchat",
            origin="user" if role == "user" else "agent", sender="u1" if role == "user" else "",
        )  # fmt: skip
    first = Agent.objects.create(name="first", url="http://127.0.0.1:1/")
    now = clock.now()
    Turn.objects.create(session=session, upto_seq=1000, state="done", attempts=1, agent=first)
    return Turn.objects.create(
        session=session, upto_seq=2000, state="done", attempts=1, agent=first,
        started_at=now, ended_at=now + timedelta(seconds=2), usage={"output_tokens": 7},
    )  # fmt: skip


def counts() -> tuple[int, int, int, int]:
    return (
        Message.objects.count(),
        Delivery.objects.count(),
        Turn.objects.count(),
        Session.objects.count(),
    )


def run(*arguments: str) -> tuple[int, str]:
    out, code = io.StringIO(), 0
    try:
        call_command("replay", *arguments, stdout=out)
    except SystemExit as end:
        code = int(end.code or 0)
    return code, out.getvalue()


def test_the_exact_input_of_then_and_nothing_of_today(turn: Turn, agent: FakeAgent) -> None:
    carry_out(begin_replay("ann", turn.pk, "other").pk, LIMITS)
    (call,) = agent.calls
    assert call.messages == [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "hello yourself"},
        {"role": "user", "content": "what is seven?"},
    ]
    said = call.payload
    assert said["waiting"] == 1
    assert (said["channel"], said["userId"], said["chatId"]) == ("webchat", "u1", "c1")
    assert said["origin"] == "user"
    assert said["context"] == {}
    assert "gateway" not in said  # no grant: its tools cannot act
    assert "person" not in said
    assert turn.session_id not in call.body.decode()
    assert call.key not in ("", turn.pk)


def test_nothing_is_sent_or_said_anywhere(turn: Turn, agent: FakeAgent) -> None:
    before = counts()
    context, revision = turn.session.context, turn.session.revision
    agent.behave(final={"content": "eight", "metadata": {"context": {"now": 2}}})
    carry_out(begin_replay("ann", turn.pk, "other").pk, LIMITS)
    assert counts() == before
    turn.session.refresh_from_db()
    assert (turn.session.context, turn.session.revision) == (context, revision)
    assert Replay.objects.get().text == "eight"


def test_what_came_of_it_is_kept_and_the_audit_says_who(turn: Turn, agent: FakeAgent) -> None:
    agent.behave(final={"content": "7", "metadata": {"usage": {"output_tokens": 1}}})
    carry_out(begin_replay("ann", turn.pk, "other").pk, LIMITS)
    kept = Replay.objects.get()
    assert (kept.turn, kept.agent, kept.actor) == (turn, "other", "ann")
    assert (kept.text, kept.usage, kept.error_code) == ("7", {"output_tokens": 1}, "")
    assert kept.ended_at and kept.first_token_at and kept.started_at <= kept.first_token_at
    line = Audit.objects.get(action="replay_turn")
    assert (line.actor, line.row, line.detail) == ("ann", f"turn {turn.pk}", {"agent": "other"})


def test_an_answer_that_fails_is_kept_as_far_as_it_came(turn: Turn, agent: FakeAgent) -> None:
    agent.behave(fault="close_middle")
    carry_out(begin_replay("ann", turn.pk, "other").pk, LIMITS)
    kept = Replay.objects.get()
    assert kept.error_code == "interrupted"
    assert again(kept).look == "failed"


def test_a_replay_ends_once(turn: Turn, agent: FakeAgent) -> None:
    replay = begin_replay("ann", turn.pk, "other")
    carry_out(replay.pk, LIMITS)
    carry_out(replay.pk, LIMITS)
    assert len(agent.calls) == 1
    kept = Replay.objects.get()
    assert not finish_replay(replay.pk, Said(text="late"))
    assert Replay.objects.get().text == kept.text


@pytest.mark.parametrize("wrong", ["turn", "agent"])
def test_what_cannot_be_done_is_said_in_one_line(turn: Turn, agent: FakeAgent, wrong: str) -> None:
    which = "turn_none" if wrong == "turn" else turn.pk
    name = "nobody" if wrong == "agent" else "other"
    with pytest.raises(NotReplayable):
        begin_replay("ann", which, name)
    with pytest.raises(CommandError) as caught:
        run(which, "--agent", name)
    assert "\n" not in str(caught.value)
    assert not Replay.objects.exists()


def test_an_agent_that_is_a_program_gets_one_of_its_own_and_leaves_none(turn: Turn) -> None:
    program = ROOT / "examples" / "agents" / "agent.py"
    Agent.objects.create(name="own", command=f"{sys.executable} {program}")
    carry_out(begin_replay("ann", turn.pk, "own").pk, LIMITS)
    kept = Replay.objects.get()
    assert kept.text == "That is 3 words in message 3: what is seven?", kept.error_detail
    left = [child.cmdline() for child in psutil.Process().children(recursive=True)]
    assert not [command for command in left if str(program) in command]


def test_the_command_shows_both_answers(
    turn: Turn, agent: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    code, text = run(turn.pk, "--agent", "other")
    assert code == 0
    assert "first, then" in text and "other, again" in text
    assert any("a number" in line and "ack what is seven?" in line for line in text.splitlines())
    assert "2.0 s, 7 output tokens" in text
    assert " ".join(DIFFERS.split()) in " ".join(text.split())


def test_the_command_speaks_json_and_ends_with_1_where_no_answer_came(
    turn: Turn, agent: FakeAgent
) -> None:
    agent.behave(status=500)
    code, text = run(turn.pk, "--agent", "other", "--json")
    assert code == 1
    found = json.loads(text)
    assert found["again"]["note"].startswith("status_5xx")
    assert found["differs"] == DIFFERS


def test_columns_fit_a_terminal_and_mark_what_differs() -> None:
    left = Column("one", "same\nlong " + "word " * 30, "1 s", "done")
    right = Column("two", "same\nother \x1b[31m", "2 s", "done")
    lines = list(side_by_side(left, right, 60))
    assert all(len(line) <= 60 for line in lines)
    assert "\x1b" not in "".join(lines)
    assert " | " not in lines[2] and " | " in lines[3]


def test_the_page_shows_both_answers_and_no_markup_of_theirs(turn: Turn, agent: FakeAgent) -> None:
    agent.behave(final={"content": f"eight {NASTY}"})
    carry_out(begin_replay("ann", turn.pk, "other").pk, LIMITS)
    page = browser(Who.VIEWER).get(f"/admin/compare/{turn.pk}/").content.decode()
    assert "what is seven?" in page and "first, then" in page and "other, again" in page
    assert "Asked anew out of what is kept today" in page
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert(1)") == 2
    assert "compare.js" not in page  # nothing is awaited
    assert "<form method" not in page  # who only looks cannot ask


def test_an_operator_asks_and_the_worker_carries_it_out(turn: Turn, agent: FakeAgent) -> None:
    HUEY.flush()
    client = browser(Who.OPERATOR)
    address = f"/admin/compare/{turn.pk}/"
    assert client.post(address, {"agent": "other"})["Location"] == address
    replay = Replay.objects.get()
    assert not agent.calls  # no web thread has waited for it
    assert "compare.js" in client.get(address).content.decode()
    task = HUEY.dequeue()
    assert task is not None and task.args == (replay.pk,)
    ask_again.call_local(replay.pk)
    page = client.get(address).content.decode()
    assert "ack what is seven?" in page and "compare.js" not in page


def test_the_action_leads_to_the_page_of_one_turn(turn: Turn) -> None:
    client: Client = browser(Who.OPERATOR)
    chosen = {"action": "compare_turn", "_selected_action": [turn.pk], "index": "0"}
    answer = client.post("/admin/gateway/turn/", chosen)
    assert answer["Location"] == f"/admin/compare/{turn.pk}/"


def test_one_that_never_ended_says_so(turn: Turn, agent: FakeAgent, clock: Clock) -> None:
    replay = begin_replay("ann", turn.pk, "other")
    assert again(replay).waiting
    clock.advance(3600)
    assert not again(replay).waiting
    assert "never ended" in again(replay).note


def test_a_turn_that_is_not_there_is_not_found() -> None:
    assert browser(Who.OPERATOR).get("/admin/compare/turn_none/").status_code == 404


def test_one_is_carried_out_at_a_time_and_the_others_wait_in_the_queue(
    turn: Turn, agent: FakeAgent
) -> None:
    """Two of them took both of the worker's threads: nothing planned fired for minutes."""
    HUEY.flush()
    replay = begin_replay("ann", turn.pk, "other")
    with tasks._replaying:  # somebody else's is under way
        ask_again.call_local(replay.pk)
    assert not agent.calls
    waiting = HUEY.dequeue()
    assert waiting is not None and waiting.args == (replay.pk,) and waiting.eta is not None
    ask_again.call_local(*waiting.args)
    replay.refresh_from_db()
    assert replay.ended_at is not None
