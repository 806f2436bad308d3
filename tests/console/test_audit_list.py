"""The audit in the admin: chosen by action, each line leading to its row."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.test import Client

from gateway.console.kept_rows import ACTIONS
from gateway.ledger import operate
from gateway.models import Agent, Audit, Turn
from gateway.replay.asking import begin_replay
from sessions_app.models import Session
from tests.console.things import conversation, letter, turn

pytestmark = pytest.mark.django_db
LIST = "/admin/gateway/audit/"


def test_each_line_says_what_was_and_leads_to_its_row(admin_client: Client) -> None:
    session = conversation()
    dead, bad = letter(session), turn(session)
    agent = Agent.objects.create(name="one", url="http://127.0.0.1:1/")
    operate.terminate_sessions("ada", [session.pk])
    operate.discard_turns("ada", [bad.pk])
    operate.discard_deliveries("ada", [dead.pk])
    Audit.objects.create(actor="bo", action="change_agent", row=f"agent {agent.pk}")
    Audit.objects.create(actor="bo", action="change_nothing", row="nothing 7")

    page = admin_client.get(LIST).content.decode()

    for address in (
        f"/admin/sessions_app/session/{session.pk}/change/",
        f"/admin/gateway/turn/{bad.pk}/change/",
        f"/admin/gateway/delivery/?q={dead.key}",
        f"/admin/gateway/agent/{agent.pk}/change/",
    ):
        assert f'href="{address}"' in page
        assert admin_client.get(address, follow=True).status_code == 200
    assert "quarantined" in page  # what the turn was before


def test_the_audit_is_chosen_by_action(admin_client: Client) -> None:
    operate.terminate_sessions("ada", [conversation().pk])
    Audit.objects.create(actor="bo", action="change_agent", row="agent 1")

    def rows(action: str) -> bytes:
        page = admin_client.get(f"{LIST}?action={action}").content
        return page.partition(b'id="result_list"')[2].partition(b"</table>")[0]

    assert b"change_agent" in rows("change_") and b"terminate_session" not in rows("change_")
    only = rows("terminate_session")
    assert b"terminate_session" in only and b"change_agent" not in only


def test_an_empty_audit_says_what_will_stand_there(admin_client: Client) -> None:
    Audit.objects.all().delete()
    assert "by hand" in admin_client.get(LIST).content.decode()


def test_what_operators_do_can_be_chosen() -> None:
    """No action of the verbs is missing from the filter."""
    session = conversation()
    operate.cancel_turns("ada", [Turn.objects.create(session=session, upto_seq=1000).pk])
    operate.requeue_turns("ada", [turn(session).pk])
    operate.terminate_sessions("ada", [session.pk])
    operate.restore_sessions("ada", [session.pk])
    operate.retry_deliveries("ada", [letter(session).pk])
    operate.discard_deliveries("ada", [letter(session).pk])
    operate.hand_over("ada", [session.pk], "operator")
    Agent.objects.create(name="one", url="http://127.0.0.1:1/")
    begin_replay("ada", turn(session).pk, "one")
    assert set(Audit.objects.values_list("action", flat=True)) <= set(ACTIONS)


def test_an_invitation_by_command_stands_in_the_audit() -> None:
    call_command("invite", "Ada Lovelace")
    (line,) = Audit.objects.all()
    assert (line.action, line.detail) == ("invite", {"name": "Ada Lovelace"})
    assert line.row.startswith("guest guest_")
    assert line.actor.endswith("(command line)")


def test_a_restore_by_command_stands_in_the_audit() -> None:
    session = conversation()
    operate.terminate_sessions("ada", [session.pk])
    Audit.objects.all().delete()
    call_command("restore_sessions", "--all", "--dry-run")
    assert not Audit.objects.exists()
    call_command("restore_sessions", "--all")
    (line,) = Audit.objects.all()
    assert (line.action, line.row) == ("restore_session", session.pk)
    assert Session.objects.get().state != "terminated"
