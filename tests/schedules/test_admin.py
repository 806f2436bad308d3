"""Operators plan sends in the admin: for a person, with words for what is wrong, on record."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from gateway.ledger.firing import fire_due
from gateway.models import Audit, Occurrence, Schedule
from sessions_app.models import Contact, Session
from tests.conftest import Clock
from tests.core.kit import Verbs, in_group, inbound
from tests.schedules.kit import at, plan

LIST, ADD = "admin:gateway_schedule_changelist", "admin:gateway_schedule_add"


@pytest.fixture
def ana(verbs: Verbs) -> Contact:
    """Somebody who has written, in her own chat and in a group."""
    verbs.take_in(inbound("1", sender_name="Ana"))
    verbs.take_in(in_group("2", target={"thread": 7}))
    Contact.objects.update(access="allowed")
    return Contact.objects.get()


def form(person: Contact, **changes: Any) -> dict[str, str]:
    fields = {
        "contact": str(person.pk),
        "kind": "cron",
        "spec": "0 9 * * *",
        "timezone": "Europe/Berlin",
        "text": "good morning",
        "prompt": "",
        "catch_up": "once",
        "enabled": "on",
    }
    return {name: value for name, value in (fields | changes).items() if value is not None}


def wrong(client: Client, address: str, fields: dict[str, str]) -> str:
    """What the form says of what was typed."""
    page = client.post(address, fields)
    assert page.status_code == 200
    return str(page.context["adminform"].form.errors)


def test_a_schedule_is_made_for_a_person_and_fires(
    ana: Contact, clock: Clock, admin_client: Client
) -> None:
    clock.time = at("2026-06-01T06:00")
    assert admin_client.post(reverse(ADD), form(ana)).status_code == 302
    schedule = Schedule.objects.get()
    assert (schedule.scope_key, schedule.chat_id) == ("user:u1", "chat-u1")
    assert (schedule.next_run, schedule.created_by) == (at("2026-06-01T07:00"), "admin")
    assert Audit.objects.get().action == "add_schedule"
    clock.time = at("2026-06-01T07:00")
    assert fire_due(clock()) == 1
    page = admin_client.get(reverse(LIST)).content.decode()
    for words in ("Ana", "good morning", "every day at 09:00", "Tuesday, 2 June 2026 at 09:00"):
        assert words in page
    assert "(Europe/Berlin)" in page
    assert "under way" in page


def test_a_schedule_can_go_into_a_group(ana: Contact, clock: Clock, admin_client: Client) -> None:
    group = Session.objects.get(scope_key="chat:g1:thread:7")
    assert admin_client.post(reverse(ADD), form(ana, session=group.pk)).status_code == 302
    schedule = Schedule.objects.get()
    assert (schedule.scope_key, schedule.target["thread"]) == ("chat:g1:thread:7", 7)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"spec": "0 9 * *"}, "does not have five fields"),
        ({"timezone": "Mars/Base"}, "there is no time zone"),
        ({"kind": "at", "spec": "2001-01-01T09:00"}, "is past"),
        ({"prompt": "sum up"}, "either a text or a prompt"),
        ({"text": ""}, "either a text or a prompt"),
        ({"session": "sess_none"}, "there is no session sess_none"),
        ({"contact": ""}, "required"),
    ],
)
def test_what_is_wrong_is_said_in_the_form(
    ana: Contact, clock: Clock, admin_client: Client, changes: dict[str, str], words: str
) -> None:
    assert words in wrong(admin_client, reverse(ADD), form(ana, **changes))
    assert not Schedule.objects.exists()


def test_without_a_direct_chat_a_session_is_asked_for(
    verbs: Verbs, clock: Clock, admin_client: Client
) -> None:
    stranger = Contact.objects.create(channel="testchat", user_id="u9")
    assert "name a session" in wrong(admin_client, reverse(ADD), form(stranger))


def test_the_limit_holds_here_too(
    ana: Contact, clock: Clock, admin_client: Client, settings: Any
) -> None:
    settings.OPENCLAW_SCHEDULES_PER_SESSION = 0
    assert "the most one conversation has" in wrong(admin_client, reverse(ADD), form(ana))


def test_changed_switched_off_and_deleted(ana: Contact, clock: Clock, admin_client: Client) -> None:
    clock.time = at("2026-06-01T06:00")
    schedule = plan(kind="cron", spec="0 9 * * *", timezone="Europe/Berlin")
    page = reverse("admin:gateway_schedule_change", args=(schedule.pk,))
    Occurrence.objects.create(
        schedule=schedule, due_at=clock() - timedelta(days=1), state="failed", reason="agent: lost"
    )
    shown = admin_client.get(page).content.decode()
    assert "agent: lost" in shown
    admin_client.post(page, form(ana, text="another"))
    schedule.refresh_from_db()
    assert (schedule.text, schedule.next_run) == ("another", at("2026-06-01T07:00"))
    admin_client.post(page, form(ana, timezone="America/New_York", text="another"))
    schedule.refresh_from_db()
    assert schedule.next_run == at("2026-06-01T13:00")
    admin_client.post(page, form(ana, timezone="America/New_York", enabled=None))
    schedule.refresh_from_db()
    assert not schedule.enabled
    assert "but switched off" in admin_client.get(reverse(LIST)).content.decode()
    delete = reverse("admin:gateway_schedule_delete", args=(schedule.pk,))
    assert "is known of its occurrences" in admin_client.get(delete).content.decode()
    assert admin_client.post(delete, {"post": "yes"}).status_code == 302
    assert not Schedule.objects.exists()
    assert not Occurrence.objects.exists()
    assert "delete_schedule" in Audit.objects.values_list("action", flat=True)


def test_switched_off_and_on_from_the_list(
    ana: Contact, clock: Clock, admin_client: Client
) -> None:
    schedule = plan()
    for action, enabled in (("disable_schedules", False), ("enable_schedules", True)):
        chosen = {"action": action, "_selected_action": schedule.pk}
        assert admin_client.post(reverse(LIST), chosen).status_code == 302
        schedule.refresh_from_db()
        assert schedule.enabled is enabled
    last = Audit.objects.order_by("pk").last()
    assert last
    assert (last.actor, last.action) == ("admin", "change_schedule")


def test_occurrences_are_found_by_their_schedule(
    ana: Contact, clock: Clock, admin_client: Client
) -> None:
    one, other = plan(), plan("u2", text="elsewhere")
    for schedule in (one, other):
        Occurrence.objects.create(schedule=schedule, due_at=clock(), state="ran")
    address = reverse("admin:gateway_occurrence_changelist")
    page = admin_client.get(address, {"schedule__id__exact": one.pk})
    assert page.context["cl"].result_count == 1
    assert "Ana" in page.content.decode()
    assert admin_client.get(address, {"q": other.pk}).context["cl"].result_count == 1
