"""The pages of one turn and of one delivery, as an operator reads them."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from gateway.models import Agent, Delivery
from sessions_app.models import Message
from tests.console.things import NASTY, ago, conversation, letter, turn

pytestmark = pytest.mark.django_db


def page(client: Client, table: str, key: object) -> str:
    answer = client.get(f"/admin/gateway/{table}/{key}/change/")
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_a_turns_page_says_who_why_and_what_the_agent_did(admin_client: Client) -> None:
    session = conversation(name="Ada")
    reply = Message.objects.create(
        session=session, seq=1001, role="assistant", origin="agent", text="sorry", channel="webchat"
    )
    part = letter(session, message=reply)
    events = [
        *({"kind": "reasoning", "data": {"text": f"w{n} "}} for n in range(3)),
        {"kind": "tool_call", "data": {"name": "clock", "input": NASTY}},
    ]
    agent = Agent.objects.create(name="pi", url="http://127.0.0.1:9/")
    row = turn(
        session,
        "failed",
        agent=agent,
        events=events,
        partial_text="half",
        started_at=ago(minutes=2),
    )
    said = page(admin_client, "turn", row.pk)
    for shown in (
        "Ada", "question 1", "Agent not reachable", 'title="unreachable"', "connection refused",
        "Start the agent or correct its URL", "w0 w1 w2", "clock", "half",
        f"/admin/sessions_app/session/{session.pk}/change/?at=1000#t{row.pk}",
        f"/admin/sessions_app/contact/{session.contact_id}/change/",
        f"/admin/gateway/delivery/{part.pk}/change/", '<span class="state failed">failed</span>',
    ):  # fmt: skip
        assert shown in said, shown
    assert "<img src=x" not in said


def test_a_turns_page_shows_no_messages_to_who_may_not_read_them(client: Client) -> None:
    session = conversation(name="Ada")
    part = letter(session, message=Message.objects.get())
    row = turn(session, "failed", partial_text="half")
    user = User.objects.create_user("clerk", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_turn"))
    client.force_login(user)
    said = page(client, "turn", row.pk)
    assert "half" in said
    assert "question 1" not in said and f"/delivery/{part.pk}/" not in said


def test_a_deliverys_page_says_to_whom_why_and_each_try(admin_client: Client) -> None:
    session = conversation(name="Ada")
    message = Message.objects.get()
    first = letter(session, "", message=message, state="sent", error_detail="")
    row = letter(session, message=message, part=1, text=NASTY, failed_at=ago(minutes=3))
    said = page(admin_client, "delivery", row.pk)
    for shown in (
        "Ada", "Refused by the platform", 'title="refused"', "blocked by the user",
        "Mend the cause, then retry", "2026-01-01T00:00:00", "1 try",
        f"/admin/sessions_app/session/{session.pk}/change/?at=1000#m{message.pk}",
        f"/admin/gateway/delivery/{first.pk}/change/", '<span class="state failed">not sent</span>',
    ):  # fmt: skip
        assert shown in said, shown
    assert "<img src=x" not in said


def test_a_part_without_a_conversation_has_a_page(admin_client: Client) -> None:
    row = letter(conversation(), chat_id="lonely")
    Delivery.objects.update(session=None)
    assert "lonely" in page(admin_client, "delivery", row.pk)


def test_lists_say_errors_in_words_with_the_code_on_hover(admin_client: Client) -> None:
    turn(conversation(), "failed")
    letter(conversation(2))
    for table, code, word in (
        ("turn", "unreachable", "Agent not reachable: connection refused"),
        ("delivery", "refused", "Refused by the platform: Forbidden"),
    ):
        said = admin_client.get(f"/admin/gateway/{table}/").content.decode()
        assert f'title="{code}">{word}' in said
