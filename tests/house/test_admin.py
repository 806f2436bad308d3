"""The admin: every table is there, history cannot be edited, secrets are not shown."""

from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from gateway.models import (
    Agent,
    AgentHealth,
    ApiToken,
    Audit,
    Cursor,
    Delivery,
    Heartbeat,
    IdempotencyKey,
    Occurrence,
    PairingCode,
    Replay,
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
    Mirror,
    Overheard,
    Session,
)
from tests.rows import AGENT_FORM, planned

pytestmark = pytest.mark.django_db

MODELS = [
    model
    for label in ("sessions_app", "gateway")
    for model in apps.get_app_config(label).get_models()
    if model is not Mirror  # how far files are written: nothing to look at
]
EDITABLE = {Agent, RoutingRule, Contact, Schedule}
ADDED = {ApiToken}
"""Made in the admin, and never changed."""
SECRET = "sk-obviously-fake"


def fill(number: int) -> None:
    """One row in every table."""
    contact = Contact.objects.create(channel="webchat", user_id=f"u{number}", name="Ada")
    session = Session.objects.create(
        channel="webchat", scope_key=f"s{number}", contact=contact, chat_id="c"
    )
    message = Message.objects.create(
        session=session, seq=1, role="user", origin="user", text="hello " * 50, channel="webchat"
    )
    Attachment.objects.create(message=message, kind="image")
    ContactAlias.objects.create(channel="webchat", user_id=f"other{number}", contact=contact)
    Overheard.objects.create(
        channel="webchat", chat_id="g", external_id=f"o{number}", sender="u", text="t"
    )
    agent = Agent.objects.create(name=f"a{number}", url="http://127.0.0.1:1/", api_key=SECRET)
    RoutingRule.objects.create(agent=agent)
    turn = Turn.objects.create(
        session=session, upto_seq=1, agent=agent, state="done", started_at=clock.now()
    )
    Replay.objects.create(turn=turn, agent="other")
    AgentHealth.objects.create(agent=agent)
    IdempotencyKey.objects.create(owner="t", key=f"k{number}", status=200, body={})
    Delivery.objects.create(
        session=session, message=message, channel="webchat", chat_id="c", text="answer"
    )
    schedule = planned(session)
    schedule.save()
    Occurrence.objects.create(schedule=schedule, due_at=clock.now())
    SetAside.objects.create(channel="webchat", external_id=f"x{number}", reason="r", payload="p")
    Cursor.objects.create(channel=f"channel{number}", value="1")
    PairingCode.objects.create(
        channel="webchat", user_id="u", code=f"CODE{number}", expires_at=clock.now()
    )
    ApiToken.objects.create(name="t", digest=f"{SECRET}{number}")
    Heartbeat.objects.create(name=f"h{number}")
    Audit.objects.create(actor="operator", action="look", row="r")


def address(model: type[Model], page: str, *arguments: Any) -> str:
    names = model._meta
    return reverse(f"admin:{names.app_label}_{names.model_name}_{page}", args=arguments)


each_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)


@each_model
def test_every_table_has_a_list_and_a_page(model: type[Model], admin_client: Client) -> None:
    fill(1)
    assert admin_client.get(address(model, "changelist")).status_code == 200
    row = model._default_manager.get()
    page = admin_client.get(address(model, "change", row.pk))
    assert page.status_code == 200
    assert SECRET[:8] not in page.content.decode()


@each_model
def test_empty_list_and_search_work(model: type[Model], admin_client: Client) -> None:
    fill(1)
    options = admin.site._registry[model]
    assert options.search_fields
    page = admin_client.get(address(model, "changelist"), {"q": "nothing like it"})
    assert page.status_code == 200
    assert page.context["cl"].result_count == 0


@each_model
def test_list_costs_the_same_queries_however_long_it_is(
    model: type[Model], admin_client: Client
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert admin_client.get(address(model, "changelist")).status_code == 200
        return len(captured)

    fill(1)
    admin_client.get(address(model, "changelist"))
    few = queries()
    for number in range(2, 12):
        fill(number)
    assert queries() <= few + (10 if model is RoutingRule else 0)  # a form with choices per row


@each_model
def test_history_cannot_be_edited_by_hand(model: type[Model], admin_client: Client) -> None:
    fill(1)
    row = model._default_manager.get()
    edit = admin_client.post(address(model, "change", row.pk), {})
    add = admin_client.get(address(model, "add"))
    assert edit.status_code == (200 if model in EDITABLE else 403)
    assert add.status_code == (200 if model in EDITABLE | ADDED else 403)
    delete = admin_client.post(address(model, "delete", row.pk), {"post": "yes"})
    removable = model in {Agent, RoutingRule, SetAside, Schedule}
    assert delete.status_code == (302 if removable else 403 if model is not Contact else 200)
    assert model._default_manager.filter(pk=row.pk).exists() != removable


@each_model
def test_filters_work_with_every_choice(model: type[Model], admin_client: Client) -> None:
    fill(1)
    shown = admin_client.get(address(model, "changelist"))
    for spec in shown.context["cl"].filter_specs:
        for choice in spec.choices(shown.context["cl"]):
            query = choice["query_string"]
            assert admin_client.get(address(model, "changelist") + query).status_code == 200


def agent_form(agent: Agent | None = None, **changes: str) -> dict[str, str]:
    name = agent.name if agent else "own"
    return {**AGENT_FORM, "name": name, "protocol": "openai"} | changes


def test_agents_key_is_kept_replaced_and_removed(admin_client: Client) -> None:
    agent = Agent.objects.create(name="own", url="http://127.0.0.1:9/", api_key=SECRET)
    page = address(Agent, "change", agent.pk)
    for typed, stored in (("", SECRET), ("sk-new-fake", "sk-new-fake"), ("-", "")):
        answer = admin_client.post(page, agent_form(agent, api_key=typed))
        assert answer.status_code == 302
        agent.refresh_from_db()
        assert agent.api_key == stored


def test_new_default_agent_takes_over(admin_client: Client) -> None:
    Agent.objects.create(name="old", url="http://127.0.0.1:9/", is_default=True)
    answer = admin_client.post(address(Agent, "add"), agent_form(is_default="on"))
    assert answer.status_code == 302
    assert Agent.objects.get(is_default=True).name == "own"


def test_routing_rules_are_edited_in_the_list(admin_client: Client) -> None:
    agent = Agent.objects.create(name="own", url="http://127.0.0.1:9/")
    rule = RoutingRule.objects.create(agent=agent)
    form = {
        "form-TOTAL_FORMS": "1",
        "form-INITIAL_FORMS": "1",
        "form-0-id": str(rule.pk),
        "form-0-priority": "7",
        "form-0-channel": "webchat",
        "form-0-user_pattern": "guest_*",
        "form-0-chat_pattern": "",
        "form-0-agent": str(agent.pk),
        "form-0-enabled": "on",
        "_save": "Save",
    }
    assert admin_client.post(address(RoutingRule, "changelist"), form).status_code == 302
    rule.refresh_from_db()
    assert (rule.priority, rule.channel, rule.user_pattern) == (7, "webchat", "guest_*")


def test_contact_can_be_blocked(admin_client: Client) -> None:
    contact = Contact.objects.create(channel="webchat", user_id="u1")
    form = {"name": "Ada", "access": "blocked", "aliases": "[]", "preferences": "{}", "notes": "{}"}
    answer = admin_client.post(address(Contact, "change", contact.pk), form)
    assert answer.status_code == 302
    contact.refresh_from_db()
    assert (contact.access, contact.user_id) == ("blocked", "u1")


def test_what_people_wrote_is_escaped(admin_client: Client) -> None:
    fill(1)
    Message.objects.update(text="<script>alert(1)</script>")
    page = admin_client.get(address(Message, "changelist")).content.decode()
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page


def test_nobody_else_sees_it(client: Client) -> None:
    for model in MODELS:
        assert client.get(address(model, "changelist")).status_code == 302
