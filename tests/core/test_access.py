"""Pairing, one person with many ids, what was overheard, commands in chat."""

from __future__ import annotations

import re
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from adapters.base import Quote, SamePerson
from gateway.channels import Rules
from gateway.ledger import pairing
from gateway.ledger.commands import HELP, NOTHING, STOPPED
from gateway.models import Audit, Delivery, PairingCode, Turn
from sessions_app.models import Contact, ContactAlias, Message, Overheard, Session
from tests.conftest import Clock
from tests.core.kit import CHANNEL, Verbs, arrival, in_group, inbound, open_sessions, texts

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("agent")]


def said() -> list[str]:
    """What people were told, in order."""
    return list(Delivery.objects.order_by("id").values_list("text", flat=True))


def code_of(text: str) -> str:
    found = re.search(r"\b[A-Z2-9]{4}-[A-Z2-9]{4}\b", text)
    assert found
    return found.group()


def pair(*arguments: str) -> str:
    out = StringIO()
    call_command("pair", *arguments, stdout=out)
    return out.getvalue()


# --- pairing ------------------------------------------------------------------


def test_a_stranger_gets_a_code_once_and_is_let_in_by_it(verbs: Verbs) -> None:
    verbs.rules = Rules(access="pairing")
    result = verbs.take_in(inbound("1", sender_name="Ada"))
    verbs.take_in(inbound("2"), inbound("3"))
    assert result.denied == 1
    (asked,) = said()
    assert not Message.objects.exists()
    code = code_of(asked)
    assert code in pair()
    assert "Ada on testchat is in" in pair(code.lower().replace("-", " "))
    assert Contact.objects.get().access == "allowed"
    assert said() == [asked, pairing.WELCOME]
    welcome = Delivery.objects.last()
    assert welcome is not None
    assert welcome.chat_id == "chat-u1"
    assert len(verbs.take_in(inbound("4")).messages) == 1
    assert Audit.objects.get().action == "approve_pairing"
    with pytest.raises(CommandError, match="no open code"):
        pair(code)
    assert pair() == "Nobody waits to be let in.\n"


def test_refused_people_are_kept_out_for_good(verbs: Verbs, clock: Clock) -> None:
    verbs.rules = Rules(access="pairing")
    verbs.take_in(inbound("1"))
    pair("--refuse", code_of(said()[0]))
    assert Contact.objects.get().access == "blocked"
    clock.advance(7200)
    verbs.take_in(inbound("2"))
    assert len(said()) == 1


def test_a_code_is_good_for_an_hour_and_then_there_is_a_new_one(verbs: Verbs, clock: Clock) -> None:
    verbs.rules = Rules(access="pairing")
    verbs.take_in(inbound("1"))
    clock.advance(61 * 60)
    with pytest.raises(CommandError):
        pair(code_of(said()[0]))
    verbs.take_in(inbound("2"))
    first, second = said()
    assert code_of(first) != code_of(second)
    pair(code_of(second))


def test_strangers_cannot_flood_the_channel_with_codes(verbs: Verbs) -> None:
    verbs.rules = Rules(access="pairing")
    for number in range(pairing.MAX_OPEN + 5):
        verbs.take_in(inbound(str(number), user=f"u{number}"))
    assert len(said()) == PairingCode.objects.count() == pairing.MAX_OPEN


@pytest.mark.parametrize(
    ("access", "message"),
    [
        ("allowlist", inbound("1")),
        ("pairing", in_group("1")),
        ("pairing", inbound("1", passive=True)),
        ("pairing", inbound("1", is_edit=True)),
    ],
)
def test_nobody_else_gets_a_code(verbs: Verbs, access: str, message: Any) -> None:
    verbs.rules = Rules(access=access)
    verbs.take_in(message)
    assert said() == []
    assert not Contact.objects.exists()


# --- one person, many ids -----------------------------------------------------


def said_by() -> dict[str, list[str]]:
    """Each contact and the messages in their conversation."""
    return {
        session.contact.user_id: list(
            session.messages.filter(role="user")
            .order_by("seq")
            .values_list("external_id", flat=True)
        )
        for session in open_sessions()
        if session.contact
    }


def test_a_person_keeps_their_session_under_every_id(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", user="4915", aliases=()))
    verbs.take_in(inbound("2", user="US.1", aliases=("4915",)))
    verbs.take_in(inbound("3", user="US.1", aliases=()))
    contact = Contact.objects.get()
    assert (contact.user_id, contact.aliases) == ("4915", ["US.1"])
    assert ContactAlias.objects.get().user_id == "US.1"
    assert Session.objects.count() == 1
    assert Message.objects.count() == 3


def test_two_ids_in_one_batch_are_one_person(verbs: Verbs) -> None:
    verbs.take_in(
        inbound("1", user="US.1", aliases=("4915",)), inbound("2", user="4915", aliases=())
    )
    assert Contact.objects.count() == Session.objects.count() == 1


def test_the_platform_says_that_a_number_changed(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", user="4915", aliases=()))
    verbs.ingest([arrival(same_people=[SamePerson("4916", ("4915",))])])
    verbs.take_in(inbound("2", user="4916", aliases=()))
    assert Contact.objects.count() == Session.objects.count() == 1


def test_of_two_contacts_that_are_one_person_the_older_goes_on(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", user="4915", aliases=()))
    verbs.take_in(inbound("2", user="US.1", aliases=()))
    verbs.take_in(inbound("3", user="US.1", aliases=("4915",)))
    sessions = {s.contact.user_id: s.messages.count() for s in open_sessions()}
    assert sessions == {"4915": 2, "US.1": 1}


def test_a_number_that_was_given_to_somebody_else_does_not_bring_their_conversation(
    verbs: Verbs,
) -> None:
    verbs.take_in(inbound("1", user="US.A", aliases=("4915",)))
    verbs.take_in(inbound("2", user="US.B", aliases=("4915",)))
    verbs.take_in(inbound("3", user="US.A", aliases=()))
    verbs.take_in(inbound("4", user="4915", aliases=()))
    assert said_by() == {"US.A": ["1", "3"], "US.B": ["2", "4"]}
    listed = dict(Contact.objects.values_list("user_id", "aliases"))
    assert listed == {"US.A": [], "US.B": ["4915"]}


def test_a_number_that_somebody_was_first_known_by_can_change_hands_too(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", user="4915", aliases=()))
    verbs.take_in(inbound("2", user="US.A", aliases=("4915",)))
    verbs.take_in(inbound("3", user="US.B", aliases=("4915",)))
    verbs.take_in(inbound("4", user="4915", aliases=()))
    verbs.take_in(inbound("5", user="US.A", aliases=("4916",)))
    assert said_by() == {"4915": ["1", "2", "5"], "US.B": ["3", "4"]}


def test_two_people_with_one_number_in_one_batch_stay_two(verbs: Verbs) -> None:
    verbs.take_in(
        inbound("1", user="US.A", aliases=("4915",)), inbound("2", user="US.B", aliases=("4915",))
    )
    verbs.take_in(inbound("3", user="4915", aliases=()))
    assert said_by() == {"US.A": ["1"], "US.B": ["2", "3"]}


def test_access_does_not_change_hands_with_a_number(verbs: Verbs) -> None:
    verbs.rules = Rules(access="pairing")
    verbs.take_in(inbound("1", user="US.A", aliases=("4915",)))
    pair(code_of(said()[-1]))
    assert verbs.take_in(inbound("2", user="US.A", aliases=("4915",))).denied == 0
    assert verbs.take_in(inbound("3", user="US.B", aliases=("4915",))).denied == 1


def test_whose_number_and_id_change_together_is_found_by_either(verbs: Verbs) -> None:
    """Known by the number alone: the new id must lead to them, and so must the new number."""
    verbs.take_in(inbound("1", user="4915", aliases=()))
    change = SamePerson("US.NEW", ("US.OLD", "4915"), ("4916",))
    for _ in range(2):  # told again, nothing changes
        verbs.ingest([arrival(same_people=[change])])
    verbs.take_in(inbound("2", user="US.NEW", aliases=("4916",)))
    verbs.take_in(inbound("3", user="4916", aliases=()))
    verbs.take_in(inbound("4", user="US.OLD", aliases=()))
    assert said_by() == {"4915": ["1", "2", "3", "4"]}


def test_who_changes_to_a_number_of_somebody_else_does_not_become_them(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", user="US.C", aliases=("4916",)))
    verbs.take_in(inbound("2", user="US.A", aliases=("4915",)))
    change = SamePerson("US.NEW", ("US.A", "4915"), ("4916",))
    verbs.ingest([arrival(same_people=[change])])
    verbs.take_in(inbound("3", user="US.NEW", aliases=("4916",)))
    verbs.take_in(inbound("4", user="US.C", aliases=()))
    assert said_by() == {"US.C": ["1", "4"], "US.A": ["2", "3"]}


def test_the_allowlist_knows_every_id(verbs: Verbs) -> None:
    verbs.rules = Rules(access="allowlist", allow=frozenset({"4915"}))
    assert verbs.take_in(inbound("1", user="US.1", aliases=("4915",))).denied == 0
    assert verbs.take_in(inbound("2", user="US.2", aliases=("4916",))).denied == 1


# --- overheard ----------------------------------------------------------------


def hear(verbs: Verbs, *messages: Any) -> None:
    verbs.ingest([arrival(overheard=messages)])


def test_what_was_said_before_comes_with_the_next_message_for_us(verbs: Verbs) -> None:
    hear(verbs, in_group("1", "one", sender_name="Ada"), in_group("2", "two", "u2"))
    hear(verbs, in_group("1", "one", sender_name="Ada"))
    assert not Turn.objects.exists()
    verbs.take_in(in_group("3", "and you?", sender_name="Ada"))
    verbs.take_in(in_group("4", "again"))
    first, second = Message.objects.order_by("seq")
    overheard = [{"name": "Ada", "text": "one"}, {"name": "u2", "text": "two"}]
    assert first.context == {"name": "Ada", "overheard": overheard}
    assert second.context == {"name": "u1"}
    assert not Overheard.objects.exists()


def test_only_the_last_ones_are_kept_and_cut(verbs: Verbs) -> None:
    verbs.rules = Rules(access="open", group_context=2)
    hear(verbs, *[in_group(str(n), f"{n} " + "x" * 2000) for n in range(4)])
    verbs.take_in(in_group("9", "now"))
    overheard = Message.objects.get().context["overheard"]
    assert [one["text"][:1] for one in overheard] == ["2", "3"]
    assert all(len(one["text"]) == 1000 for one in overheard)


def test_other_chats_and_people_without_access_are_not_overheard(verbs: Verbs) -> None:
    verbs.rules = Rules(access="allowlist", allow=frozenset({"u1"}))
    hear(verbs, in_group("1", "secret", "u2"), in_group("2", "elsewhere", chat_id="g2"))
    verbs.take_in(in_group("3", "now"))
    assert "overheard" not in Message.objects.get().context
    assert Overheard.objects.get().chat_id == "g2"


def test_replies_and_forwards_say_so(verbs: Verbs) -> None:
    quote = Quote("what I said", "Bot", "m1")
    verbs.take_in(inbound("1", quote=quote, forwarded="News"))
    assert Message.objects.get().context == {
        "quote": {"text": "what I said", "sender_name": "Bot"},
        "forwarded": "News",
    }


# --- commands -----------------------------------------------------------------


def test_help_is_answered_and_no_agent_is_asked(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", " /Help "))
    verbs.take_in(inbound("1", "/help"))
    assert said() == [HELP]
    assert not Turn.objects.exists()
    assert texts() == [" /Help ", HELP]
    assert Message.objects.get(role="user").disposition == "silent"


def test_stop_cancels_what_runs_and_waits(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", "question"))
    turn = verbs.claim_one()
    verbs.take_in(inbound("2", "more"))
    result = verbs.take_in(inbound("3", "/stop"))
    assert turn.id in result.cancelled
    assert len(result.cancelled) == 2
    assert said() == [STOPPED]
    assert set(Turn.objects.values_list("state", flat=True)) == {"cancelled"}
    assert not Message.objects.filter(disposition="pending").exists()
    verbs.take_in(inbound("4", "/stop"))
    assert said()[-1] == NOTHING


def test_new_ends_the_conversation_and_the_next_message_begins_one(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", "old"))
    verbs.take_in(inbound("2", "/new"), inbound("3", "fresh"))
    (session,) = open_sessions()
    assert texts(session.pk) == ["fresh"]
    assert Session.objects.filter(state="terminated").count() == 1
    (turn,) = Turn.objects.filter(state="queued")
    assert turn.session_id == session.pk


def test_status_tells_what_waits(verbs: Verbs, clock: Clock) -> None:
    verbs.take_in(inbound("1", "question"))
    clock.advance(300)
    verbs.claim_one()
    verbs.take_in(inbound("2", "more"), inbound("3", "/status"))
    (status,) = said()
    assert "in 5 minutes" in status
    assert "is being written" in status
    assert "Waiting: 2" in status


def test_commands_pass_the_access_gate(verbs: Verbs) -> None:
    verbs.rules = Rules(access="allowlist")
    verbs.take_in(inbound("1", "/help"))
    assert said() == []


@pytest.mark.parametrize("text", ["/helpme", "please /help", "/help me", "help"])
def test_other_texts_are_for_the_agent(verbs: Verbs, text: str) -> None:
    verbs.take_in(inbound("1", text))
    assert said() == []
    assert Turn.objects.count() == 1


def test_albums_wait_a_moment_for_their_other_files(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", "a", album="7"))
    verbs.take_in(inbound("2", "b", album="7"))
    turn = Turn.objects.get()
    assert turn.not_before - turn.session.created_at == timedelta(seconds=1)
    assert turn.session.channel == CHANNEL
