"""Quotes that name only an id: the agent gets the text of what was meant."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.base import Inbound, Quote
from gateway.channels import Rules
from gateway.models import Delivery
from sessions_app.models import Message, Overheard
from tests.core.kit import Verbs, in_group, inbound, sent

pytestmark = pytest.mark.usefixtures("agent")


def about(external_id: str, name: str, **changes: Any) -> Inbound:
    """A message that quotes something by its id."""
    return inbound(external_id, "this?", **({"quote": Quote("", external_id=name)} | changes))


def quoted(external_id: str) -> Any:
    return Message.objects.get(external_id=external_id).context.get("quote")


def test_a_quoted_message_of_a_person_is_found_by_its_id(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", "our dinner", sender_name="Ann"))
    verbs.take_in(about("2", "1"), about("3", "unknown"))
    assert quoted("2") == {"text": "our dinner", "sender_name": "Ann"}
    assert quoted("3") is None


def test_a_quoted_message_of_ours_is_found_by_its_receipt_in_that_chat(verbs: Verbs) -> None:
    verbs.converse("1", "a")
    for delivery in verbs.send():
        verbs.finish_deliveries([sent(delivery, receipt="77")])
    chat = Delivery.objects.get().chat_id
    verbs.take_in(about("2", "77"), about("3", f"{chat}:77"))
    verbs.take_in(about("4", "77", user="u2"))
    assert quoted("2") == quoted("3") == {"text": "re a", "sender_name": ""}
    assert quoted("4") is None


def test_what_the_platform_says_itself_is_kept(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", "our dinner"))
    verbs.take_in(about("2", "", quote=Quote("the dinner", "Ann", "1")))
    assert quoted("2") == {"text": "the dinner", "sender_name": "Ann"}


def test_a_quoted_message_that_was_only_overheard_is_found(verbs: Verbs) -> None:
    verbs.take_in(overheard=[in_group("1", "pizza tonight?", user="u2", sender_name="Bob")])
    verbs.take_in(about("2", "1", chat_id="g1", is_group=True))
    assert quoted("2") == {"text": "pizza tonight?", "sender_name": "Bob"}


def test_a_reaction_keeps_what_it_is_about(verbs: Verbs) -> None:
    verbs.rules = Rules(access="open")
    verbs.take_in(inbound("1", "our dinner " * 100))
    reaction = {"passive": True, "addressed": False}
    verbs.take_in(
        overheard=[
            inbound("r1", "reacted 👍", quote=Quote("", external_id="1"), **reaction),
            inbound("r2", "reacted 👎", quote=Quote("", external_id="gone"), **reaction),
        ]
    )
    first, second = Overheard.objects.order_by("id").values_list("text", flat=True)
    assert first.startswith("reacted 👍 to: our dinner our dinner")
    assert (len(first) < 250, first.endswith("…"), second) == (True, True, "reacted 👎")
