"""Agents in the admin: a URL or a command, and nothing that cannot be run."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from gateway.models import Agent
from gateway.router import Router
from tests.rows import AGENT_FORM

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"command": "python a.py"}, "either a URL or a command"),
        ({"url": ""}, "either a URL or a command"),
        ({"url": "", "command": "python 'a.py"}, "No closing quotation"),
    ],
)
def test_what_cannot_work_is_said(
    changes: dict[str, str], message: str, admin_client: Client
) -> None:
    page = admin_client.post(reverse("admin:gateway_agent_add"), AGENT_FORM | changes)
    assert page.status_code == 200
    assert message in page.content.decode()
    assert not Agent.objects.exists()


def test_a_command_becomes_a_plan(admin_client: Client) -> None:
    form = AGENT_FORM | {"url": "", "command": "python a.py {port}", "instances": "session"}
    assert admin_client.post(reverse("admin:gateway_agent_add"), form).status_code == 302
    router = Router()
    router.load()
    ((agent, plan),) = router.plans.items()
    assert (plan.command, plan.per_session, plan.max_instances) == ("python a.py {port}", True, 20)
    assert router.managed("one") == agent
    assert plan.url(9) == "http://127.0.0.1:9/rpc/message"
