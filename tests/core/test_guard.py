"""Floods and loops: answered once, then quiet; everybody else goes on."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any

from gateway import guard
from gateway.channels import Rules
from gateway.guard import (
    LIKE_A_MACHINE,
    LOOP_INSTANTS,
    LOOP_QUICK,
    LOOP_REPEATS,
    MAX_JUDGED,
    MAX_PEOPLE,
    PAUSE_SECONDS,
    SLOW_DOWN,
    Guard,
    Verdict,
)
from gateway.ingest import sift
from gateway.ledger.ingest import Ingest
from gateway.lines import Line
from gateway.models import Delivery
from sessions_app import clock as time_now
from sessions_app.models import Message
from tests.conftest import Clock
from tests.core.kit import (
    CHANNEL,
    TestChat,
    Verbs,
    arrival,
    history_of,
    in_group,
    inbound,
    texts,
)

NUMBERS = count(1)


class Watch:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def judged(made: Guard, user: str = "u1", text: str = "hello", **changes: Any) -> Verdict:
    """What is said of one new message."""
    return made.judge(inbound(f"new-{next(NUMBERS)}", text, user, **changes))


def test_a_flood_is_answered_once_and_ends_when_it_ends() -> None:
    watch = Watch()
    made = Guard(60.0, watch)
    verdicts = [judged(made) for _ in range(63)]
    assert [v.admitted for v in verdicts] == [True] * 60 + [False] * 3
    assert [v.notice for v in verdicts[60:]] == [SLOW_DOWN, "", ""]
    assert judged(made, "u2").admitted
    watch.now += 5
    assert [judged(made).admitted for _ in range(6)] == [True] * 5 + [False]
    watch.now += 60
    assert all(judged(made).admitted for _ in range(60))
    assert judged(made).notice == SLOW_DOWN


def test_without_a_limit_no_flood_is_one_but_a_machine_is() -> None:
    watch = Watch()
    made = Guard(None, watch)
    assert all(judged(made).admitted for _ in range(1000))
    assert conversation(made, watch, 1.0, lambda number: f"answer {number}") == LOOP_INSTANTS
    assert judged(made) == Verdict(False, why="loop")
    free = Guard(None, watch, loops=False)
    assert conversation(free, watch, 1.0, lambda number: "ok") == 200


def test_only_a_channel_without_any_pace_listens_to_machines() -> None:
    for rules, loops in (
        ({"flood": 0}, True),
        ({"flood": 0, "rate": "unlimited"}, False),
        ({"flood": 60, "rate": "unlimited"}, True),
        ({}, True),
    ):
        assert line(**rules).guard.loops is loops


def test_a_message_that_is_handed_over_again_counts_once() -> None:
    made = Guard(2.0, Watch())
    first = inbound("1")
    assert all(made.judge(first).admitted for _ in range(100))
    assert made.judge(inbound("2")).admitted
    assert made.judge(inbound("3")) == Verdict(False, SLOW_DOWN, "flood")
    assert [made.judge(inbound("3")) for _ in range(2)] == [Verdict(False)] * 2


def test_what_piled_up_while_we_were_down_is_no_flood(clock: Clock) -> None:
    made = Guard(10.0, Watch())
    now = time_now.now()
    backlog = [now - timedelta(minutes=40 - number) for number in range(40)]
    assert all(judged(made, sent_at=at).admitted for at in reversed(backlog))
    assert all(judged(made, sent_at=now).admitted for _ in range(10))
    assert not judged(made, sent_at=now).admitted


def test_a_flood_of_then_is_a_flood(clock: Clock) -> None:
    made = Guard(10.0, Watch())
    at = time_now.now() - timedelta(hours=3)
    verdicts = [judged(made, sent_at=at) for _ in range(12)]
    assert [v.admitted for v in verdicts] == [True] * 10 + [False] * 2
    assert [v.notice for v in verdicts[10:]] == [SLOW_DOWN, ""]
    assert judged(made).admitted


def conversation(made: Guard, watch: Watch, gap: float, say: Any, most: int = 200) -> int:
    """How many answers `gap` seconds after each of ours are taken."""
    for taken in range(most):
        if not judged(made, text=say(taken)).admitted:
            return taken
        made.replied("u1")
        watch.now += gap
    return most


def test_another_bot_is_noticed_by_its_quick_answers_and_told_once() -> None:
    for gap, say, most in (
        (4.0, lambda number: f" Thanks {number % 2}", 2 + LOOP_REPEATS - 1),
        (1.0, lambda number: f"answer {number}", LOOP_INSTANTS),
        (4.0, lambda number: f"answer {number}", LOOP_QUICK),
    ):
        watch = Watch()
        made = Guard(600.0, watch)
        assert conversation(made, watch, gap, say) == most
        assert judged(made) == Verdict(False, why="loop")
        watch.now += PAUSE_SECONDS
        assert judged(made).admitted


def test_the_last_quick_answer_is_told_why() -> None:
    watch = Watch()
    made = Guard(600.0, watch)
    said = []
    for _ in range(20):
        said.append(judged(made).notice)
        made.replied("u1")
        watch.now += 1.0
    assert [notice for notice in said if notice] == [LIKE_A_MACHINE]


def test_a_person_is_no_bot() -> None:
    """Twelve quick answers in a row, thinking now and then, pressing buttons."""
    watch = Watch()
    made = Guard(600.0, watch)
    assert conversation(made, watch, 2.0, lambda number: f"answer {number}", 60) == 60
    for number in range(100):
        assert judged(made, text="yes").admitted
        made.replied("u1")
        watch.now += 1.0 if number % 5 else guard.LOOP_SECONDS + 1
    for _ in range(100):
        assert judged(made, text="next", by_hand=True).admitted
        made.replied("u1")
        watch.now += 1.0


def test_memory_is_bounded() -> None:
    made = Guard(60.0, Watch())
    for number in range(MAX_JUDGED + 100):
        judged(made, f"u{number}")
    assert len(made._people) == MAX_PEOPLE
    assert len(made._judged) == MAX_JUDGED


# --- where it stands: behind dedupe and admission -------------------------------------------------


def guarded(verbs: Verbs, per_minute: float) -> Ingest:
    made = Guard(per_minute, Watch())
    return Ingest(verbs.sessions, lambda channel: verbs.rules, lambda _, one: made.judge(one))


def notices() -> list[str]:
    return list(Delivery.objects.filter(turn="").values_list("text", flat=True))


def test_flooding_costs_others_nothing_and_is_counted(verbs: Verbs) -> None:
    verbs.ingest = guarded(verbs, 2)
    messages = [inbound(str(n), f"t{n}") for n in range(5)] + [inbound("9", "t9", user="u2")]
    ingested = verbs.take_in(*messages)
    assert sorted(texts()) == [SLOW_DOWN, "t0", "t1", "t9"]
    assert notices() == [SLOW_DOWN]
    assert (list(ingested.kept_out), ingested.duplicates) == (["flood"] * 3, 0)
    assert ingested.refused == {"2", "3", "4"}


def test_what_is_kept_out_is_told_to_its_own_arrival_only(verbs: Verbs) -> None:
    """One commit holds what came from many: nobody is told that another's word was refused."""
    verbs.ingest = guarded(verbs, 2)
    flooded, calm = verbs.ingest(
        [
            arrival(*(inbound(str(n), f"t{n}") for n in range(4))),
            arrival(inbound("9", "hello", "u2")),
        ]
    )
    assert (flooded.refused, calm.refused) == ({"2", "3"}, set())


def test_what_they_are_told_stands_in_the_conversation_and_is_not_the_agents(verbs: Verbs) -> None:
    """On a page of ours a conversation is all that people see."""
    verbs.ingest = guarded(verbs, 2)
    ingested = verbs.take_in(*(inbound(str(n), f"t{n}") for n in range(3)))
    assert texts() == ["t0", "t1", SLOW_DOWN]
    notice = Message.objects.get(text=SLOW_DOWN)
    assert (notice.session_id, notice.pk) in ingested.messages
    assert Delivery.objects.get().message == notice
    turn = verbs.claim_one()
    assert history_of(turn) == [("user", "t0"), ("user", "t1")]
    verbs.answer(turn, "both")
    verbs.ingest = Verbs().ingest
    verbs.take_in(inbound("9", "t9"))
    assert texts() == ["t0", "t1", "both", SLOW_DOWN, "t9"]


def test_redeliveries_never_use_up_what_a_person_may_say(verbs: Verbs) -> None:
    """A webhook's retries, and an overlap that is asked for every few seconds."""
    verbs.ingest = guarded(verbs, 3)
    for _ in range(50):
        verbs.take_in(inbound("1", "a"), inbound("2", "b"))
    ingested = verbs.take_in(inbound("1", "a"), inbound("3", "c"))
    assert texts() == ["a", "b", "c"]
    assert (list(ingested.kept_out), ingested.duplicates) == ([], 1)


def test_strangers_are_not_told_to_slow_down(verbs: Verbs) -> None:
    verbs.ingest = guarded(verbs, 1)
    verbs.rules = Rules(access="allowlist")
    ingested = verbs.take_in(*(inbound(str(n)) for n in range(5)))
    assert (ingested.denied, list(ingested.kept_out), notices()) == (5, [], [])
    assert ingested.refused == {str(n) for n in range(5)}


def test_edits_are_no_flood(verbs: Verbs) -> None:
    verbs.ingest = guarded(verbs, 1)
    verbs.take_in(inbound("1", "a"))
    for number in range(5):
        assert not verbs.take_in(inbound("1", f"edit {number}", is_edit=True)).kept_out
    assert texts() == ["edit 4"]


def line(**rules: object) -> Line:
    return Line(CHANNEL, TestChat(), Rules(access="open", **rules))  # type: ignore[arg-type]  # fields of Rules


def test_unaddressed_messages_and_reactions_are_overheard() -> None:
    messages = [
        in_group("1", addressed=False),
        in_group("2", addressed=True),
        inbound("3", passive=True),
    ]
    for groups, heard, overheard in (
        ("mention", ["2"], ["1", "3"]),
        ("all", ["1", "2"], ["3"]),
        ("off", [], ["3"]),
    ):
        arrival = sift(line(groups=groups), messages, None)
        assert [one.external_id for one in arrival.inbounds] == heard
        assert [one.external_id for one in arrival.overheard] == overheard
    assert sift(line(group_context=0), messages, None).overheard == []
