"""What a new person is told, and that what people are shown is what there is."""

from __future__ import annotations

import pytest

from gateway.ledger.commands import HELP, MENU, command_in
from gateway.models import Delivery, Turn
from tests.core.kit import Verbs, inbound

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("agent")]


@pytest.mark.parametrize("text", ["/start", "/START", "/start from-a-link"])
def test_a_new_person_is_greeted_and_no_agent_is_asked(verbs: Verbs, text: str) -> None:
    verbs.take_in(inbound("1", text))
    greeting = Delivery.objects.get().text
    assert greeting.startswith("Hello!")
    assert HELP in greeting
    assert not Turn.objects.exists()


def test_a_word_that_only_begins_like_a_command_is_for_the_agent(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", "/started"))
    assert Turn.objects.exists()


def test_all_that_is_shown_is_a_command() -> None:
    assert {command: command_in(command) for command in MENU} == {name: name for name in MENU}
