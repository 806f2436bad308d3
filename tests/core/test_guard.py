"""Floods and loops: answered once, then quiet; everybody else goes on."""

from __future__ import annotations

from gateway import guard
from gateway.channels import Rules
from gateway.guard import LOOP_TURNS, MAX_PEOPLE, PAUSE_SECONDS, SLOW_DOWN, Guard
from gateway.ingest import sift
from gateway.lines import Line
from tests.core.kit import CHANNEL, TestChat, in_group, inbound


class Watch:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_flood_is_answered_once_and_ends_when_it_ends() -> None:
    watch = Watch()
    made = Guard(60.0, watch)
    verdicts = [made.judge("u1") for _ in range(63)]
    assert [v.admitted for v in verdicts] == [True] * 60 + [False] * 3
    assert [v.notice for v in verdicts[60:]] == [SLOW_DOWN, "", ""]
    assert made.judge("u2").admitted
    watch.now += 5
    assert [made.judge("u1").admitted for _ in range(6)] == [True] * 5 + [False]
    watch.now += 60
    assert all(made.judge("u1").admitted for _ in range(60))
    assert made.judge("u1").notice == SLOW_DOWN


def test_without_a_limit_everything_goes_through() -> None:
    made = Guard(None, Watch())
    assert all(made.judge("u1").admitted for _ in range(1000))


def test_another_bot_is_noticed_by_its_quick_answers() -> None:
    watch = Watch()
    made = Guard(600.0, watch)
    admitted = 0
    while made.judge("bot").admitted:
        admitted += 1
        made.replied("bot")
        watch.now += 1.0
    assert admitted == LOOP_TURNS
    assert not made.judge("bot").admitted
    watch.now += PAUSE_SECONDS
    assert made.judge("bot").admitted


def test_a_person_who_thinks_now_and_then_is_no_bot() -> None:
    watch = Watch()
    made = Guard(600.0, watch)
    for number in range(100):
        assert made.judge("person").admitted
        made.replied("person")
        watch.now += 1.0 if number % 5 else guard.LOOP_SECONDS + 1


def test_memory_is_bounded() -> None:
    made = Guard(60.0, Watch())
    for number in range(MAX_PEOPLE + 100):
        made.judge(f"u{number}")
    assert len(made._people) == MAX_PEOPLE


def line(**rules: object) -> Line:
    return Line(CHANNEL, TestChat(), Rules(access="open", **rules))  # type: ignore[arg-type]  # fields of Rules


def test_flooding_costs_others_nothing_and_is_counted() -> None:
    made = line(flood=2)
    messages = [inbound(str(n)) for n in range(5)] + [inbound("9", user="u2")]
    arrival = sift(made, messages, None)
    assert [one.external_id for one in arrival.inbounds] == ["0", "1", "9"]
    assert [(one.external_id, text) for one, text in arrival.notes] == [("2", SLOW_DOWN)]
    assert made.report()["flood"] == 3


def test_edits_are_no_flood() -> None:
    arrival = sift(line(flood=1), [inbound(str(n), is_edit=True) for n in range(5)], None)
    assert len(arrival.inbounds) == 5


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
