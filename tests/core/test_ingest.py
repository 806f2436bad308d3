"""Verb 1: what a platform hands over becomes messages and queued turns, each once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.base import Media, Rejected
from gateway.channels import Rules
from gateway.ledger.records import FinishedTurn
from gateway.models import Cursor, SetAside, Turn
from sessions_app.models import Attachment, Contact, Message, Session
from tests.conftest import Clock
from tests.core.kit import (
    CHANNEL,
    Verbs,
    arrival,
    dispositions,
    history_of,
    in_group,
    inbound,
    open_sessions,
    sent,
    texts,
    turns,
)

# --- once, however often it comes (OC 42681, HE 68502) ------------------------------------------


def test_a_message_twice_in_one_arrival_is_one_message(verbs: Verbs) -> None:
    """OC 42681: duplicates in."""
    result = verbs.take_in(inbound("1", "a"), inbound("1", "a"), inbound("2", "b"))
    assert texts() == ["a", "b"]
    assert (len(result.messages), result.duplicates) == (2, 1)


def test_a_message_twice_in_one_batch_is_one_message(verbs: Verbs) -> None:
    """OC 42681: fifty webhooks with the same update at once meet in one batch."""
    results = verbs.ingest([arrival(inbound("1", "a"))] * 50)
    assert texts() == ["a"]
    assert [len(result.messages) for result in results] == [1] + [0] * 49
    assert [result.duplicates for result in results] == [0] + [1] * 49


def test_a_message_redelivered_later_is_one_message(verbs: Verbs, clock: Clock) -> None:
    """HE 68502: the memory of what came in survives everything, also the session's end."""
    verbs.converse("1", "a")
    for delivery in verbs.send():
        verbs.finish_deliveries([sent(delivery)])
    clock.advance(100_000)
    result = verbs.take_in(inbound("1", "a"))
    assert (result.messages, result.duplicates) == ((), 1)
    assert texts() == ["a", "re a"]
    assert turns(state="queued") == []


def test_the_same_id_on_another_channel_is_another_message(verbs: Verbs) -> None:
    verbs.ingest([arrival(inbound("1")), arrival(inbound("1"), channel="other")])
    assert Message.objects.count() == 2


def test_a_duplicate_does_not_touch_its_session(verbs: Verbs, clock: Clock) -> None:
    verbs.take_in(inbound("1"))
    before = Session.objects.values_list("expires_at", "last_activity", "last_seq").get()
    clock.advance(10)
    verbs.take_in(inbound("1"))
    assert Session.objects.values_list("expires_at", "last_activity", "last_seq").get() == before


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["u1", "u2", "u3"])), max_size=6),
        max_size=6,
    )
)
def test_any_mix_of_redeliveries_keeps_each_message_once_in_order(
    verbs: Verbs, batches: list[list[tuple[int, str]]]
) -> None:
    """CW 3608: within a session the order is the order of first arrival."""
    Message.objects.all().delete()
    expected: dict[str, list[str]] = {}
    seen: set[int] = set()
    for batch in batches:
        verbs.ingest([arrival(inbound(str(n), f"m{n}", user)) for n, user in batch])
        for n, user in batch:
            if n not in seen:
                seen.add(n)
                expected.setdefault(user, []).append(f"m{n}")
    got: dict[str, list[str]] = {}
    for sender, text in Message.objects.order_by("session_id", "seq").values_list("sender", "text"):
        got.setdefault(sender, []).append(text)
    assert got == expected


# --- sessions -----------------------------------------------------------------------------------


def test_each_person_has_one_session_whatever_the_batch(verbs: Verbs) -> None:
    verbs.ingest([arrival(inbound(f"{u}-{n}", user=f"u{u}")) for n in range(3) for u in range(20)])
    assert len(open_sessions()) == 20
    assert len(turns(state="queued")) == 20
    assert Contact.objects.count() == 20


def test_two_senders_of_one_new_group_share_a_session(verbs: Verbs) -> None:
    verbs.take_in(in_group("1", "a", "u1"), in_group("2", "b", "u2"), in_group("3", "c", "u1"))
    (session,) = open_sessions()
    assert texts(session.pk) == ["a", "b", "c"]
    assert Contact.objects.count() == 2
    assert [turn.upto_seq for turn in turns()] == [3000]


def test_each_thread_of_a_group_is_answered_in_its_place(verbs: Verbs) -> None:
    """While one answer is written, people in two threads ask: neither is answered elsewhere."""
    verbs.take_in(in_group("1", "first"))
    running = verbs.claim_one()
    verbs.take_in(
        in_group("2", "in a", "u2", target={"thread": "a"}),
        in_group("3", "in b", "u3", target={"thread": "b"}),
        in_group("4", "more in a", "u4", target={"thread": "a"}),
    )
    waiting = {turn.target["thread"]: history_of(turn) for turn in verbs.claim()}
    assert waiting == {
        "a": [("user", "in a"), ("user", "more in a")],
        "b": [("user", "in b")],
    }
    assert history_of(running) == [("user", "first")]
    verbs.take_in(in_group("5", "member", "u5", target={"thread": 7}), group_per_member=True)
    assert verbs.claim_one().target["thread"] == 7
    assert {session.scope_key for session in open_sessions()} == {
        "chat:g1",
        "chat:g1:thread:a",
        "chat:g1:thread:b",
        "chat:g1:thread:7:user:u5",
    }


def test_members_of_a_group_have_their_own_sessions_where_set_so(verbs: Verbs) -> None:
    verbs.take_in(in_group("1", "a", "u1"), in_group("2", "b", "u2"), group_per_member=True)
    assert sorted(texts(session.pk) for session in open_sessions()) == [["a"], ["b"]]


def test_a_direct_chat_and_a_group_of_one_person_are_apart(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", "a"), in_group("2", "b"))
    assert sorted(texts(session.pk) for session in open_sessions()) == [["a"], ["b"]]
    assert Contact.objects.count() == 1


def test_a_person_who_changes_their_name_in_mid_batch_is_one_person(verbs: Verbs) -> None:
    """One poisoned update must not block the batch for ever: this one is not even poisoned."""
    verbs.take_in(inbound("1", "a", sender_name="Ada"), inbound("2", "b", sender_name="Ada L."))
    (session,) = open_sessions()
    assert texts(session.pk) == ["a", "b"]
    assert Contact.objects.get().name == "Ada L."


def test_a_person_who_writes_from_two_chats_is_answered_in_each(verbs: Verbs) -> None:
    """OC 24148, OC 4530: the reply target is frozen on the message; no "last chat"."""
    verbs.take_in(inbound("1", "a", chat_id="c1"))
    turn = verbs.claim_one()
    verbs.take_in(inbound("2", "b", chat_id="c2"), inbound("3", "c", chat_id="c3"))
    verbs.answer(turn)
    assert verbs.send()[0].outbound.chat_id == "c1"
    assert verbs.claim_one().chat_id == "c3"


def test_the_target_an_answer_needs_is_kept_with_the_message(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", target={"thread": 7}))
    turn = verbs.claim_one()
    verbs.answer(turn)
    assert turn.target == {"chat_id": "chat-u1", "is_group": False, "thread": 7}
    assert verbs.send()[0].outbound.target["thread"] == 7


def test_an_expired_session_is_replaced_on_the_way(verbs: Verbs, clock: Clock) -> None:
    verbs.converse("1", "a")
    verbs.finish_deliveries([sent(delivery) for delivery in verbs.send()])
    clock.advance(901)
    verbs.take_in(inbound("2", "b"))
    (session,) = open_sessions()
    assert texts(session.pk) == ["b"]
    ended = Session.objects.get(state="terminated")
    assert ended.ended_at == clock()
    assert history_of(verbs.claim_one()) == [("user", "b")]


def test_an_expired_session_with_work_in_flight_goes_on(verbs: Verbs, clock: Clock) -> None:
    """OC 127211: waiting is never a time-out."""
    verbs.take_in(inbound("1", "a"))
    clock.advance(901)
    verbs.take_in(inbound("2", "b"))
    (session,) = open_sessions()
    assert texts(session.pk) == ["a", "b"]
    assert session.expires_at == clock() + timedelta(seconds=900)


def test_an_unsent_delivery_keeps_a_session_too(verbs: Verbs, clock: Clock) -> None:
    verbs.converse("1", "a")
    clock.advance(901)
    verbs.take_in(inbound("2", "b"))
    assert texts(open_sessions()[0].pk) == ["a", "re a", "b"]


@pytest.mark.parametrize("members", [["u1"], ["u1", "u2"], ["u2", "u3", "u1"]])
def test_returning_people_get_the_old_session_back_where_set_so(
    verbs: Verbs, clock: Clock, members: list[str]
) -> None:
    keeper = Verbs(restore=True)
    keeper.take_in(in_group("0", "older"))
    keeper.answer(keeper.claim_one(), "", silent=True)
    clock.advance(901)
    verbs.take_in(in_group("1", "old"))  # without the setting: a new session, which ends too
    verbs.answer(verbs.claim_one(), "", silent=True)
    clock.advance(901)
    keeper.take_in(*(in_group(f"2{user}", "new", user) for user in members))
    (session,) = open_sessions()
    assert texts(session.pk) == ["old"] + ["new"] * len(members)
    assert session.ended_at is None
    assert len(history_of(keeper.claim_one())) == 1 + len(members)


# --- the queued turn ----------------------------------------------------------------------------


def test_the_queued_turn_grows_to_the_newest_message(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", "a"))
    verbs.take_in(inbound("2", "b"))
    assert [turn.upto_seq for turn in turns()] == [2000]
    assert history_of(verbs.claim_one()) == [("user", "a"), ("user", "b")]


def test_what_comes_in_mid_turn_waits_in_a_turn_of_its_own(verbs: Verbs) -> None:
    """OC 121831, OC 139847: a message arriving in mid-turn is its own row."""
    verbs.take_in(inbound("1", "a"))
    running = verbs.claim_one()
    verbs.take_in(inbound("2", "b"))
    verbs.take_in(inbound("3", "c"))
    assert [(turn.state, turn.upto_seq) for turn in turns()] == [
        ("running", 1000),
        ("queued", 3000),
    ]
    assert verbs.claim() == []
    verbs.answer(running)
    assert verbs.claim_one().upto_seq == 3000


def test_a_retrying_turn_stays_apart_and_goes_first(verbs: Verbs, clock: Clock) -> None:
    """OC 5951, OC 67173: what follows a turn that has trouble is not dropped."""
    verbs.take_in(inbound("1", "a"))
    first = verbs.claim_one()
    later = clock() + timedelta(seconds=5)
    verbs.finish_turns([FinishedTurn(first, "queued", not_before=later, error_code="unreachable")])
    verbs.take_in(inbound("2", "b"))
    assert [(t.attempts, t.upto_seq) for t in turns(state="queued")] == [(1, 1000), (0, 2000)]
    assert verbs.claim() == []
    clock.advance(5)
    again = verbs.claim_one()
    assert (again.id, again.attempt, history_of(again)) == (first.id, 2, [("user", "a")])
    verbs.answer(again, "re a")
    assert history_of(verbs.claim_one()) == [("user", "a"), ("assistant", "re a"), ("user", "b")]


# --- who is let in ------------------------------------------------------------------------------


def test_unknown_senders_are_counted_and_nothing_of_them_is_kept(verbs: Verbs) -> None:
    verbs.rules = Rules(access="allowlist")
    result = verbs.take_in(inbound("1"), inbound("2", user="u2"), cursor="5")
    assert (result.denied, result.messages, result.duplicates) == (2, (), 0)
    assert not Message.objects.exists()
    assert not Contact.objects.exists()
    assert not Session.objects.exists()
    assert Cursor.objects.get().value == "5"


@pytest.mark.parametrize(
    ("access", "rules", "let_in"),
    [
        ("pending", Rules(access="pairing"), False),
        ("pending", Rules(access="allowlist"), False),
        ("pending", Rules(access="allowlist", allow=frozenset({"u1"})), True),
        ("pending", Rules(access="pairing", allow=frozenset({"u2"})), False),
        ("pending", Rules(access="open"), True),
        ("allowed", Rules(access="pairing"), True),
        ("allowed", Rules(access="allowlist"), True),
        ("blocked", Rules(access="open"), False),
        ("blocked", Rules(access="allowlist", allow=frozenset({"u1"})), False),
    ],
)
def test_access_is_the_contacts_word_then_the_list_then_the_channels(
    verbs: Verbs, access: str, rules: Rules, let_in: bool
) -> None:
    Contact.objects.create(channel=CHANNEL, user_id="u1", access=access)
    verbs.rules = rules
    result = verbs.take_in(inbound("1"))
    assert (len(result.messages), result.denied) == ((1, 0) if let_in else (0, 1))
    assert Contact.objects.get().access == access


def test_the_allowlist_matches_ids_and_never_names(verbs: Verbs) -> None:
    verbs.rules = Rules(access="allowlist", allow=frozenset({"ada"}))
    assert verbs.take_in(inbound("1", user="u9", sender_name="ada")).denied == 1


def test_one_denied_sender_does_not_keep_out_the_others_of_a_batch(verbs: Verbs) -> None:
    Contact.objects.create(channel=CHANNEL, user_id="u2", access="blocked")
    result = verbs.take_in(in_group("1", "a", "u1"), in_group("2", "b", "u2"), in_group("3", "c"))
    assert texts() == ["a", "c"]
    assert (len(result.messages), result.denied) == (2, 1)


def test_with_an_operator_messages_are_handed_over_and_no_agent_is_asked(verbs: Verbs) -> None:
    """CW 11363: the bot answers after a human took over."""
    verbs.converse("1", "a")
    Session.objects.update(handler="operator")
    verbs.take_in(inbound("2", "b"))
    assert dispositions() == {"a": "answered", "b": "handed_over"}
    assert turns(state="queued") == []


# --- edits --------------------------------------------------------------------------------------


def test_an_edit_before_the_answer_changes_what_the_agent_sees(verbs: Verbs, clock: Clock) -> None:
    verbs.take_in(inbound("1", "teh"))
    verbs.take_in(inbound("1", "the", is_edit=True))
    assert texts() == ["the"]
    assert Message.objects.get().edited_at == clock()
    assert history_of(verbs.claim_one()) == [("user", "the")]
    assert Turn.objects.count() == 1


def test_an_edit_after_the_answer_shows_in_the_next_turn(verbs: Verbs) -> None:
    verbs.converse("1", "teh")
    verbs.take_in(inbound("1", "the", is_edit=True))
    assert turns(state="queued") == []
    assert Session.objects.get().revision == 1
    verbs.take_in(inbound("2", "b"))
    assert history_of(verbs.claim_one())[0] == ("user", "the")


def test_an_edit_in_the_same_batch_as_its_message_is_not_lost(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", "teh"), inbound("1", "the", is_edit=True))
    assert texts() == ["the"]


def test_only_who_wrote_a_message_may_edit_it(verbs: Verbs) -> None:
    verbs.take_in(in_group("1", "mine", "u1"))
    verbs.take_in(in_group("1", "stolen", "u2", is_edit=True))
    assert texts() == ["mine"]
    assert Session.objects.get().revision == 0


def test_an_edit_of_something_unknown_is_no_message(verbs: Verbs) -> None:
    result = verbs.take_in(inbound("1", "late", is_edit=True))
    assert result.messages == ()
    assert not Message.objects.exists()


def test_edits_pass_the_same_gate_as_messages(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", "polite"))
    Contact.objects.update(access="blocked")
    assert verbs.take_in(inbound("1", "rude", is_edit=True)).denied == 1
    assert texts() == ["polite"]


# --- what comes with a batch --------------------------------------------------------------------


def test_the_cursor_moves_also_where_nothing_is_for_us(verbs: Verbs) -> None:
    verbs.take_in(cursor="10")
    verbs.take_in(cursor="11")
    assert Cursor.objects.get().value == "11"


def test_messages_and_cursor_are_one_commit(verbs: Verbs) -> None:
    """NB 2652: an offset is never ahead of what it stands for."""
    bad = inbound("2", target={"quote": "\ud800"})  # cannot be written
    with pytest.raises(TypeError, match="UTF-8"), transaction.atomic():
        verbs.take_in(inbound("1"), bad, cursor="10")
    assert not Cursor.objects.exists()
    assert not Message.objects.exists()


def test_what_cannot_be_read_is_set_aside_once(verbs: Verbs) -> None:
    """python-telegram-bot's get_updates: one poisoned update blocks nobody."""
    bad = Rejected("9", "no sender", '{"update_id": 9}')
    for _ in range(2):
        verbs.take_in(inbound("1"), rejected=[bad, bad], cursor="10")
    assert SetAside.objects.get().payload == '{"update_id": 9}'
    assert texts() == ["hello"]


def test_files_come_with_their_message(verbs: Verbs) -> None:
    photo = Media("photo", "file-7", mime="image/jpeg", name="a.jpg", size=12)
    verbs.take_in(inbound("1", "look", media=[photo]))
    verbs.take_in(inbound("1", "look", media=[photo]))
    file = Attachment.objects.get()
    assert (file.kind, file.handle, file.mime, file.name, file.size) == (
        "photo",
        "file-7",
        "image/jpeg",
        "a.jpg",
        12,
    )


def test_a_name_follows_the_person_and_an_empty_one_erases_nothing(verbs: Verbs) -> None:
    for number, name in enumerate(["Ada", "", "Ada L."]):
        verbs.take_in(inbound(str(number), sender_name=name))
        assert Contact.objects.get().name == (name or "Ada")
