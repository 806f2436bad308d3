"""What can be done from the lists, by whom, and what the audit says of it."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from django.test import Client

from gateway.models import Agent, Audit, Delivery, PairingCode, RoutingRule, SetAside, Turn
from sessions_app.models import Contact, Session
from tests.rights.people import EVERYBODY, Who, account, browser
from tests.rights.rows import KEY, fill
from tests.rights.tables import ACTIONS, ADMIN_ACTIONS, TABLES
from tests.roles import make_roles
from tests.rows import AGENT_FORM

pytestmark = pytest.mark.django_db

OUTCOMES = {  # action -> (table, its state before, the audit's line, its state after)
    "terminate_sessions": (Session, "active", "terminate_session", "terminated"),
    "restore_sessions": (Session, "terminated", "restore_session", "active"),
    "cancel_turns": (Turn, "running", "cancel_turn", "cancelled"),
    "requeue_turns": (Turn, "failed", "requeue_turn", "queued"),
    "discard_turns": (Turn, "quarantined", "discard_turn", "failed"),
    "retry_deliveries": (Delivery, "expired", "retry_delivery", "queued"),
    "discard_deliveries": (Delivery, "unsure", "discard_delivery", "failed"),
    "approve_pairings": (PairingCode, "open", "approve_pairing", "approved"),
    "refuse_pairings": (PairingCode, "open", "refuse_pairing", "refused"),
}


def choose(client: Client, label: str, action: str, row: str) -> None:
    """Carry out an action on one row, as the list's form does; refused or not."""
    path = f"/admin/{label.replace('.', '/')}/"
    data = {"action": action, "_selected_action": row, "index": "0", "post": "yes"}
    assert client.post(path, data).status_code in (200, 302, 403)


def test_table_knows_every_action() -> None:
    every = {action for names in ACTIONS.values() for action in names}
    # compare_turn leads to a page: tests/replay/; a schedule is on or off: tests/schedules/
    elsewhere = {"compare_turn", "enable_schedules", "disable_schedules"}
    assert every == set(OUTCOMES) | elsewhere
    for model, options in admin.site._registry.items():
        own = {str(getattr(action, "__name__", action)) for action in options.actions or ()}
        label = model._meta.label_lower
        assert own == ACTIONS.get(label, set()) | ADMIN_ACTIONS.get(label, set())


@pytest.mark.parametrize("who", EVERYBODY, ids=lambda who: who.name.lower())
@pytest.mark.parametrize("action", OUTCOMES)
def test_only_who_may_operate_steps_in_and_the_audit_says_who(action: str, who: Who) -> None:
    rows, client = fill(), browser(who)
    model, before, line, after = OUTCOMES[action]
    row = model._default_manager.get()
    model._default_manager.update(state=before)
    Audit.objects.all().delete()
    choose(client, model._meta.label_lower, action, rows[model._meta.label_lower])
    row.refresh_from_db()
    notes = list(Audit.objects.filter(action=line).values_list("actor", flat=True))
    if who >= Who.OPERATOR:
        assert row.state == after and notes == [who.name.lower()]
    else:
        assert row.state == before and notes == []


@pytest.mark.parametrize("who", [Who.VIEWER, Who.OPERATOR])
def test_actions_are_offered_to_who_may_use_them(who: Who) -> None:
    fill()
    client = browser(who)
    for label, actions in ACTIONS.items():
        page = client.get(f"/admin/{label.replace('.', '/')}/").content.decode()
        for action in actions:
            assert (f'value="{action}"' in page) == (who is Who.OPERATOR)


@pytest.mark.parametrize("who", EVERYBODY, ids=lambda who: who.name.lower())
def test_rows_are_deleted_from_lists_only_by_who_may_delete(who: Who) -> None:
    rows, client = fill(), browser(who)
    Agent.objects.create(name="spare", url="http://127.0.0.1:1/")
    for label, rights in TABLES.items():
        if label == "auth.user":
            rows[label] = str(User.objects.create_user(f"spare-{who}").pk)
        model = next(m for m in admin.site._registry if m._meta.label_lower == label)
        choose(client, label, "delete_selected", rows[label])
        there = model._default_manager.filter(pk=rows[label]).exists()
        assert there != (who >= rights.delete), label
        if not there:
            name = who.name.lower()
            assert Audit.objects.filter(actor=name, row=f"{model._meta.model_name} {rows[label]}")
        if label == "gateway.agent" and not there:
            rows["gateway.routingrule"] = str(make_rule())


def make_rule() -> int:
    """A rule, where the one there was went with its agent."""
    return int(RoutingRule.objects.create(agent=Agent.objects.get(name="spare")).pk)


def test_stop_button_of_the_live_page_stops_and_says_how_many() -> None:
    rows, client = fill(), browser(Who.OPERATOR)
    answer = client.post("/admin/live/cancel/", {"turn": [rows["turn"], "turn_unknown"]})
    assert answer.json() == {"cancelled": 1}
    assert Turn.objects.get(pk=rows["turn"]).state == "cancelled"
    note = Audit.objects.get(action="cancel_turn")
    assert (note.actor, note.row) == ("operator", rows["turn"])
    assert client.post("/admin/live/cancel/", {"turn": rows["turn"]}).json() == {"cancelled": 0}
    assert client.get("/admin/live/cancel/").status_code == 405


def test_rows_that_had_moved_on_are_mentioned() -> None:
    rows, client = fill(), browser(Who.OPERATOR)
    Turn.objects.update(state="done")
    data = {"action": "cancel_turns", "_selected_action": rows["turn"], "index": "0"}
    page = client.post("/admin/gateway/turn/", data, follow=True).content.decode()
    assert "0 stopped. 1 left as it was" in page


def test_letting_somebody_in_is_audited() -> None:
    rows, client = fill(), browser(Who.OPERATOR)
    form = {"name": "Bob", "access": "allowed", "aliases": "[]", "preferences": "{}", "notes": "{}"}
    page = f"/admin/sessions_app/contact/{rows['sessions_app.contact']}/change/"
    assert client.post(page, form).status_code == 302
    assert Contact.objects.get(name="Bob").access == "allowed"
    note = Audit.objects.get(action="change_contact")
    assert note.actor == "operator"
    changed = note.detail["what"][0]["changed"]
    assert "Access" in changed["fields"]
    assert changed["values"] == {"access": ["pending", "allowed"]}
    assert "access: pending → allowed" in client.get("/admin/gateway/audit/").content.decode()


def test_audit_names_what_was_changed_but_not_the_key() -> None:
    rows, client = fill(), browser(Who.ADMIN)
    form = {**AGENT_FORM, "name": "one", "api_key": f"{KEY}1"}
    page = f"/admin/gateway/agent/{rows['gateway.agent']}/change/"
    assert client.post(page, form).status_code == 302
    assert Agent.objects.get(name="one").api_key == f"{KEY}1"
    note = Audit.objects.get(action="change_agent")
    assert "api_key" in str(note.detail) and KEY not in str(note.detail)


def test_audit_says_what_a_choice_was_before_and_never_a_text() -> None:
    rows, client = fill(), browser(Who.ADMIN)
    form = {**AGENT_FORM, "name": "renamed", "busy": "interrupt", "api_key": f"{KEY}1"}
    form.pop("enabled", None)
    page = f"/admin/gateway/agent/{rows['gateway.agent']}/change/"
    assert client.post(page, form).status_code == 302
    (what,) = Audit.objects.get(action="change_agent").detail["what"]
    assert what["changed"]["values"]["busy"] == ["queue", "interrupt"]
    assert what["changed"]["values"]["enabled"] == [True, False]
    assert set(what["changed"]["values"]) <= {"busy", "enabled", "stream", "is_default", "protocol"}
    assert client.get(page.replace("change", "history")).status_code == 200


def test_audit_says_which_groups_an_account_had_and_has() -> None:
    client = browser(Who.ADMIN)
    user = User.objects.create_user("new")
    user.groups.add(Group.objects.get(name="viewer"))
    form = {
        "username": "new", "is_active": "on", "is_staff": "on",
        "groups": [str(Group.objects.get(name="operator").pk)],
        "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00",
    }  # fmt: skip
    client.post(f"/admin/auth/user/{user.pk}/change/", form)
    (what,) = Audit.objects.get(action="change_user").detail["what"]
    assert what["changed"]["values"] == {
        "groups": [["viewer"], ["operator"]], "is_staff": [False, True],
    }  # fmt: skip


def test_who_changes_their_own_password_leaves_a_line() -> None:
    user, client = account(Who.VIEWER), Client()
    user.set_password("the-old-one-1")
    user.save()
    client.force_login(user)
    form = {
        "old_password": "wrong",
        "new_password1": "a-new-one-22",
        "new_password2": "a-new-one-22",
    }
    client.post("/admin/password_change/", form)
    assert not Audit.objects.exists()
    client.post("/admin/password_change/", {**form, "old_password": "the-old-one-1"})
    line = Audit.objects.get()
    assert (line.actor, line.action, line.row) == ("viewer", "change_password", f"user {user.pk}")
    assert "a-new-one-22" not in str(line.detail)


def test_looked_at_payload_leaves_an_audit_when_it_goes() -> None:
    rows, client = fill(), browser(Who.OPERATOR)
    row = rows["gateway.setaside"]
    client.post(f"/admin/gateway/setaside/{row}/delete/", {"post": "yes"})
    assert not SetAside.objects.exists()
    assert Audit.objects.get(action="delete_setaside").row == f"setaside {row}"


def test_admin_makes_an_operator_but_no_superuser() -> None:
    client = browser(Who.ADMIN)
    user = User.objects.create_user("new")
    form = {
        "username": "new", "is_active": "on", "is_staff": "on", "is_superuser": "on",
        "groups": [str(Group.objects.get(name="operator").pk)],
        "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00",
    }  # fmt: skip
    answer = client.post(f"/admin/auth/user/{user.pk}/change/", form)
    assert answer.status_code == 302
    user.refresh_from_db()
    assert user.is_staff and not user.is_superuser
    assert user.has_perm("sessions_app.operate")
    assert Audit.objects.get(action="change_user").actor == "admin"


def test_admin_does_not_touch_a_superuser() -> None:
    root, client = account(Who.SUPERUSER), browser(Who.ADMIN)
    for page in ("change/", "delete/", "password/"):
        answer = client.post(f"/admin/auth/user/{root.pk}/{page}", {"post": "yes"})
        assert answer.status_code == 403
    choose(client, "auth.user", "delete_selected", str(root.pk))
    assert User.objects.filter(pk=root.pk).exists()


def test_superuser_still_makes_superusers() -> None:
    client, request = browser(Who.SUPERUSER), HttpRequest()
    request.user = User.objects.get(username="superuser")
    options = admin.site._registry[User]
    assert "is_superuser" not in options.get_readonly_fields(request, request.user)
    assert client.get(f"/admin/auth/user/{request.user.pk}/change/").status_code == 200


def test_roles_see_every_table_of_ours_except_keys() -> None:
    make_roles()
    for name in ("viewer", "operator", "admin"):
        has = {
            f"{app}.{codename}"
            for app, codename in Group.objects.get(name=name).permissions.values_list(
                "content_type__app_label", "codename"
            )
        }
        for label in TABLES:
            app, _, model = label.partition(".")
            looks = TABLES[label].look <= Who[name.upper()]
            assert (f"{app}.view_{model}" in has) == looks, label
        assert ("sessions_app.operate" in has) == (name != "viewer")
