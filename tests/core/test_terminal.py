"""What strangers call themselves gives no orders to an operator's terminal."""

from __future__ import annotations

import pytest

from gateway.channels import Rules
from gateway.conformance.base import Outcome
from gateway.conformance.report import row
from gateway.terminal import printable
from tests.core.kit import Verbs, inbound
from tests.core.test_access import code_of, pair

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("agent")]

NAME = "A\x1b[2Jd\na\x9b31m\u202e"


def test_a_name_is_listed_without_its_orders(verbs: Verbs) -> None:
    verbs.rules = Rules(access="pairing")
    verbs.take_in(inbound("1", sender_name=NAME))
    listed = pair()
    assert "  A[2Jda31m (u1)  " in listed
    assert len(listed.splitlines()) == 1
    assert "A[2Jda31m on testchat is in" in pair(code_of(listed))


def test_what_an_agent_says_of_itself_is_shown_without_orders() -> None:
    assert row(Outcome("health", "passed", NAME)).endswith(" A[2Jda31m")


def test_other_letters_are_kept() -> None:
    assert printable("Žofie 👍🏽 王小明 (אבג)") == "Žofie 👍🏽 王小明 (אבג)"
