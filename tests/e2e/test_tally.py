"""The tally sees every kind of broken promise: the other tests lean on it."""

from __future__ import annotations

from tests.e2e.tally import MARK, NOTICE, Tally
from tests.fakes.telegram import FakeTelegram, Sent


def tally(*said: int) -> tuple[Tally, list[Sent]]:
    telegram = FakeTelegram()
    made = Tally(telegram)
    for chat in said:
        made.new_id(chat)
    return made, telegram.sent


def sent(chat: int, text: str, at: float = 1.0) -> Sent:
    return Sent(chat, text, 1, at)


def test_kept_promises_are_no_problem() -> None:
    count, replies = tally(5, 5, 6)
    replies += [sent(5, "ack m000000 m000001"), sent(6, f"ack m000002\n{MARK}")]

    assert count.all_answered()
    assert count.problems() == {}
    assert count.marked() == 1


def test_a_repeat_with_the_mark_is_allowed_and_one_without_is_not() -> None:
    count, replies = tally(5, 6)
    replies += [sent(5, "ack m000000"), sent(5, f"ack m000000\n{MARK}")]
    replies += [sent(6, f"ack m000001\n{MARK}"), sent(6, "ack m000001")]

    assert count.problems() == {"doubled unlabelled": ["m000001"]}


def test_loss_wrong_chats_second_answers_disorder_and_strangers_are_seen() -> None:
    count, replies = tally(5, 5, 6, 7, 7)
    replies += [
        sent(5, "ack m000001", at=1.0),
        sent(5, "ack m000000", at=2.0),
        sent(5, f"ack m000000 again\n{MARK}", at=3.0),
        sent(7, "ack m000002", at=4.0),
        sent(8, "hello", at=5.0),
        sent(9, NOTICE, at=6.0),
    ]

    assert count.problems(reported={"m000004"}) == {
        "lost": ["m000003"],
        "answered twice": ["m000000"],
        "wrong chat": ["m000002"],
        "out of order": ["m000001"],
        "unasked": ["8: hello", "notice to 9"],
    }
