"""Verbs 4 and 5: parts leave in order on each lane, and every end is kept."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gateway.ledger.deliveries import MAX_TRACE, expire_deliveries
from gateway.ledger.records import FinishedDelivery, Part
from gateway.models import Delivery
from sessions_app.models import Session
from sessions_app.sql import dumps, run
from tests.conftest import Clock
from tests.core.kit import CHANNEL, Verbs, in_group, inbound, open_sessions, queue, sent, texts


def _texts(verbs: Verbs, limit: int = 100) -> list[str]:
    return [claim.outbound.text for claim in verbs.send(limit)]


def _states() -> dict[str, str]:
    return dict(Delivery.objects.values_list("text", "state"))


# --- start_deliveries ---------------------------------------------------------------------------


def test_parts_of_a_lane_leave_one_after_the_other(verbs: Verbs) -> None:
    """CW 3608: second message first."""
    for text in ("a", "b", "c"):
        queue(text)
    order = []
    while claims := verbs.send():
        (claim,) = claims
        assert verbs.send() == []
        order.append(claim.outbound.text)
        verbs.finish_deliveries([sent(claim)])
    assert order == ["a", "b", "c"]


def test_lanes_do_not_wait_for_each_other(verbs: Verbs) -> None:
    queue("a1", "a")
    queue("a2", "a")
    queue("b1", "b")
    verbs.gate.channels.append("other")
    queue("o1", "a", channel="other")
    assert _texts(verbs) == ["a1", "b1", "o1"]


@pytest.mark.parametrize("state", ["sent", "failed", "expired", "unsure"])
def test_what_has_ended_frees_its_lane(verbs: Verbs, state: str) -> None:
    """OC 33403, OC 74321: a dead letter does not block those behind it."""
    queue("a")
    queue("b")
    verbs.finish_deliveries([FinishedDelivery(verbs.send()[0], state)])
    assert _texts(verbs) == ["b"]


def test_a_part_that_waits_holds_back_its_lane_and_no_other(verbs: Verbs, clock: Clock) -> None:
    queue("a1", "a", not_before=clock() + timedelta(seconds=10))
    queue("a2", "a")
    queue("b1", "b")
    assert _texts(verbs) == ["b1"]
    clock.advance(10)
    assert _texts(verbs) == ["a1"]


def test_held_lanes_wait(verbs: Verbs) -> None:
    queue("a", "a")
    queue("b", "b")
    verbs.gate.held = [(CHANNEL, "a"), ("other", "b")]
    assert _texts(verbs) == ["b"]
    verbs.gate.held = []
    assert _texts(verbs) == ["a"]


def test_a_channel_that_is_down_keeps_its_parts(verbs: Verbs) -> None:
    queue("a")
    verbs.gate.channels = ["other"]
    assert verbs.send() == []
    verbs.gate.channels = []
    assert verbs.send() == []
    assert _states() == {"a": "queued"}


def test_without_a_permit_a_part_stays_queued_and_uncounted(verbs: Verbs) -> None:
    for lane in "abc":
        queue(lane, lane)
    verbs.gate.permits = {CHANNEL: 2}
    assert _texts(verbs) == ["a", "b"]
    assert list(Delivery.objects.filter(state="queued").values_list("text", "attempts")) == [
        ("c", 0)
    ]


def test_no_more_are_claimed_than_wanted(verbs: Verbs) -> None:
    for lane in "abcd":
        queue(lane, lane)
    assert _texts(verbs, 3) == ["a", "b", "c"]


def test_old_parts_expire_instead_of_flooding_a_chat(verbs: Verbs, clock: Clock) -> None:
    """OC 39138: 110 stale messages after a long outage."""
    verbs.gate.channels = []
    for number in range(110):
        queue(f"stale{number}", f"chat{number % 3}")
    clock.advance(3601)
    queue("fresh", "chat0")
    verbs.gate.channels = [CHANNEL]
    assert _texts(verbs) == ["fresh"]
    assert Delivery.objects.filter(state="expired", error_code="expired").count() == 110


def test_a_part_being_sent_does_not_expire(verbs: Verbs, clock: Clock) -> None:
    queue("a", "a")
    verbs.send()
    clock.advance(7200)
    queue("old", "b", created_at=clock() - timedelta(seconds=7000))
    verbs.send()
    assert _states() == {"a": "sending", "old": "expired"}


def test_a_claim_says_all_that_the_sender_needs(verbs: Verbs, clock: Clock) -> None:
    row = queue("a", "g1", is_group=True, target={"thread": 3}, plain=True, repeated=True)
    (claim,) = verbs.send()
    assert (claim.id, claim.attempt, claim.channel) == (row.pk, 1, CHANNEL)
    assert (claim.is_group, claim.repeated, claim.created_at) == (True, True, clock())
    assert (claim.outbound.key, claim.outbound.chat_id) == (row.key, "g1")
    assert (claim.outbound.target, claim.outbound.plain) == ({"thread": 3}, True)
    row.refresh_from_db()
    assert (row.state, row.attempts, row.lease_owner) == ("sending", 1, verbs.owner)


def test_two_gateways_never_claim_the_same_part(verbs: Verbs) -> None:
    queue("a", "a")
    queue("b", "b")
    other = Verbs("other/2")
    assert _texts(verbs, 1) + _texts(other) == ["a", "b"]


# --- finish_deliveries --------------------------------------------------------------------------


def test_a_receipt_is_kept(verbs: Verbs, clock: Clock) -> None:
    """NC 2995: "delivered" without a send; a receipt is the platform's own id."""
    queue("a")
    clock.advance(4)
    verbs.finish_deliveries([sent(verbs.send()[0], "m-77")])
    row = Delivery.objects.get()
    assert (row.state, row.receipt, row.sent_at, row.error_code) == ("sent", "m-77", clock(), "")
    assert (row.lease_owner, row.lease_until) == ("", None)
    assert [entry["result"] for entry in row.trace] == ["sent"]


def test_another_try_waits_for_its_time(verbs: Verbs, clock: Clock) -> None:
    queue("a")
    retry = FinishedDelivery(
        verbs.send()[0],
        "queued",
        not_before=clock() + timedelta(seconds=5),
        error_code="transient",
        error_detail="refused connection",
    )
    verbs.finish_deliveries([retry])
    assert verbs.send() == []
    clock.advance(5)
    (claim,) = verbs.send()
    assert claim.attempt == 2
    assert claim.trace[0]["detail"] == "refused connection"
    verbs.finish_deliveries([sent(claim)])
    assert [e["result"] for e in Delivery.objects.get().trace] == ["transient", "sent"]


def test_a_try_that_does_not_count_is_not_counted(verbs: Verbs) -> None:
    queue("a")
    for _ in range(3):
        (claim,) = verbs.send()
        assert claim.attempt == 1
        verbs.finish_deliveries([FinishedDelivery(claim, "queued", counts=False)])
    assert Delivery.objects.get().attempts == 0


def test_the_trace_of_a_part_is_bounded(verbs: Verbs) -> None:
    """OC 91588: memory; OC 77783: rows that grow without end."""
    queue("a")
    for number in range(MAX_TRACE + 5):
        (claim,) = verbs.send()
        end = FinishedDelivery(claim, "queued", error_code=f"e{number}")
        verbs.finish_deliveries([end])
    trace = Delivery.objects.get().trace
    assert [entry["result"] for entry in trace] == [f"e{n}" for n in range(5, MAX_TRACE + 5)]


def test_plain_and_repeated_stay_with_the_part(verbs: Verbs) -> None:
    queue("a")
    verbs.finish_deliveries(
        [FinishedDelivery(verbs.send()[0], "queued", plain=True, repeated=True)]
    )
    (claim,) = verbs.send()
    assert (claim.outbound.plain, claim.repeated) == (True, True)
    verbs.finish_deliveries([FinishedDelivery(claim, "queued", repeated=True)])
    assert verbs.send()[0].outbound.plain


@pytest.mark.parametrize("how", ["expired lease", "other owner", "ended", "next attempt"])
def test_a_stale_lease_writes_nothing(verbs: Verbs, how: str) -> None:
    """OC 71577: the late end of a send that was taken over changes nothing."""
    queue("a")
    (stale,) = verbs.send()
    if how == "expired lease":
        Delivery.objects.update(state="queued", lease_owner="", repeated=True)
    elif how == "other owner":
        Delivery.objects.update(lease_owner="other/2")
    elif how == "ended":
        Delivery.objects.update(state="failed", error_code="discarded")
    else:
        Delivery.objects.update(state="queued", lease_owner="")
        verbs.send()
    before = Delivery.objects.values().get()
    verbs.finish_deliveries([sent(stale, "late")])
    assert Delivery.objects.values().get() == before


def test_ends_of_one_batch_go_to_their_own_rows(verbs: Verbs) -> None:
    for lane in "abc":
        queue(lane, lane)
    a, b, c = verbs.send()
    verbs.finish_deliveries(
        [sent(c, "rc"), FinishedDelivery(b, "failed", error_code="refused"), sent(a, "ra")]
    )
    rows = Delivery.objects.order_by("text").values_list("text", "state", "receipt")
    assert list(rows) == [("a", "sent", "ra"), ("b", "failed", ""), ("c", "sent", "rc")]


# --- a chat that the platform moved -------------------------------------------------------------


def test_what_waits_for_a_moved_chat_follows_it(verbs: Verbs) -> None:
    verbs.take_in(in_group("1", "a"))
    verbs.answer(verbs.claim_one(), "xy", parts=[Part("x"), Part("y")])
    queue("elsewhere", "g10")
    first = next(claim for claim in verbs.send() if claim.outbound.text == "x")
    verbs.finish_deliveries([sent(first, moved_to="g2")])
    assert dict(Delivery.objects.values_list("text", "chat_id")) == {
        "x": "g1",
        "y": "g2",
        "elsewhere": "g10",
    }
    verbs.take_in(in_group("2", "b", chat_id="g2"))
    (session,) = open_sessions()
    assert session.chat_id == "g2"
    assert texts(session.pk) == ["a", "xy", "b"]


def test_the_sessions_of_members_move_with_their_chat(verbs: Verbs) -> None:
    verbs.take_in(in_group("1", "a"), group_per_member=True)
    verbs.answer(verbs.claim_one())
    verbs.finish_deliveries([sent(verbs.send()[0], moved_to="g2")])
    assert Session.objects.get().scope_key == "chat:g2:user:u1"


def test_people_who_already_write_in_the_new_chat_keep_their_session(verbs: Verbs) -> None:
    """OC 92270: a receipt must never fail on something else, or the lane is stuck."""
    verbs.take_in(in_group("1", "a"))
    verbs.answer(verbs.claim_one())
    verbs.take_in(in_group("2", "b", chat_id="g2"))
    verbs.finish_deliveries([sent(verbs.send()[0], "m1", moved_to="g2")])
    assert Delivery.objects.get().receipt == "m1"
    verbs.take_in(in_group("3", "c", chat_id="g2"))
    assert sorted(texts(session.pk) for session in open_sessions()) == [["a", "fine"], ["b", "c"]]


def test_a_moved_chat_leaves_direct_chats_alone(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", chat_id="c1"), inbound("2", user="u2", chat_id="c2"))
    for turn in verbs.claim():
        verbs.answer(turn)
    verbs.finish_deliveries([sent(claim) for claim in verbs.send()])
    assert sorted(s.scope_key for s in open_sessions()) == ["user:u1", "user:u2"]


# --- rows that cannot be read -------------------------------------------------------------------

UNSENDABLE = [
    {"location": {"lat": 1}},
    {"location": "here"},
    {"location": {"latitude": "north", "longitude": 2}},
    {"buttons": [{"text": "no value"}]},
    {"buttons": ["press"]},
    {"buttons": 7},
    {"file": "x"},
]


@pytest.mark.parametrize("extra", UNSENDABLE, ids=str)
def test_a_part_that_cannot_be_read_fails_alone(verbs: Verbs, extra: object) -> None:
    """OC 92270: one row of somebody's must not stop the sends to everybody else."""
    queue("bad", "a", extra=extra)
    queue("worse", "a", extra=extra)
    queue("behind them", "a")
    queue("elsewhere", "b")
    assert _texts(verbs) == ["behind them", "elsewhere"]
    bad, worse = Delivery.objects.filter(state="failed").order_by("id")
    assert (bad.text, bad.error_code, worse.text) == ("bad", "unreadable", "worse")
    assert bad.error_detail
    assert (bad.attempts, bad.lease_owner) == (0, "")


@pytest.mark.parametrize(
    "written", ['{"note": "\\ud83d"}', '{"number": 123456789012345678901234567890}']
)
def test_what_the_database_took_from_elsewhere_is_sent(verbs: Verbs, written: str) -> None:
    """The admin's forms keep half of an emoji, and any number, as JSON has them."""
    row = queue("a")
    run("UPDATE gateway_delivery SET target = %s WHERE id = %s", (written, row.pk))
    (claim,) = verbs.send()
    verbs.finish_deliveries([sent(claim)])
    assert _states() == {"a": "sent"}
    assert dumps(claim.outbound.target)


@pytest.mark.parametrize("trace", [{"result": "sent"}, "text", ["text", {"at": "then"}, 7]])
def test_a_trace_that_is_none_is_begun_anew(verbs: Verbs, trace: object) -> None:
    queue("a", trace=trace)
    (claim,) = verbs.send()
    verbs.finish_deliveries([sent(claim)])
    assert [entry["result"] for entry in Delivery.objects.get().trace] == ["sent"]


def test_parts_of_a_channel_that_is_gone_expire_too(verbs: Verbs, clock: Clock) -> None:
    """Nobody claims them any more; they must not keep their session open for ever."""
    queue("old", "a", channel="removed")
    verbs.send()
    clock.advance(3601)
    queue("fresh", "a", channel="removed")
    assert expire_deliveries(clock() - timedelta(seconds=3600)) == 1
    assert _states() == {"old": "expired", "fresh": "queued"}
