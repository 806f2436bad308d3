"""Many people at once, the same message many times, messages in any order."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

from tests.e2e.world import World, wait_until

PEOPLE = range(5001, 5101)


def test_a_hundred_people_with_five_messages_each_are_answered_once_and_in_order(
    either_world: World,
) -> None:
    before = len(either_world.tally.said)
    for _ in range(5):
        for person in PEOPLE:
            either_world.say(person)

    either_world.settle()

    either_world.quiet()
    assert either_world.tally.problems() == {}
    assert either_world.tally.marked() == 0
    assert len(either_world.tally.said) - before == 500


def test_the_same_update_fifty_times_at_once_is_one_message_with_one_answer(
    webhook_world: World,
) -> None:
    name = webhook_world.tally.new_id(21)
    update = webhook_world.update(21, name)

    with ThreadPoolExecutor(50) as pool:
        statuses = list(pool.map(webhook_world.post, [update] * 50))

    assert statuses == [200] * 50
    webhook_world.settle()
    webhook_world.quiet()
    webhook_world.post(update)  # and once more when all is over
    webhook_world.say(22)
    webhook_world.settle()
    webhook_world.quiet()
    assert len(webhook_world.tally.said[name].replies) == 1
    rows = webhook_world.probe.rows("sessions_app.Message", "role", "text", session__chat_id="21")
    assert [row["role"] for row in rows] == ["user", "assistant"]
    assert sum(name in call.asked for call in webhook_world.agent.calls) == 1


def test_webhooks_out_of_order_and_side_by_side_are_each_answered_once(
    webhook_world: World,
) -> None:
    names = {webhook_world.tally.new_id(31): 31 for _ in range(10)}
    names |= {webhook_world.tally.new_id(32): 32 for _ in range(10)}
    updates = [webhook_world.update(chat, name) for name, chat in names.items()]
    random.Random(7).shuffle(updates)

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(webhook_world.post, updates * 2))

    assert statuses == [200] * 40
    webhook_world.settle()
    webhook_world.quiet()
    problems = webhook_world.tally.problems()
    problems.pop("out of order", None)  # they were handed over in disorder
    assert problems == {}
    for name in names:
        assert len(webhook_world.tally.said[name].replies) == 1


def test_what_arrives_in_mid_turn_waits_and_is_answered_together_in_the_next(
    webhook_world: World,
) -> None:
    calls = len(webhook_world.agent.calls)
    with webhook_world.agent.held():
        first = webhook_world.say(33)
        wait_until(lambda: len(webhook_world.agent.calls) > calls)
        later = [webhook_world.say(33) for _ in range(5)]
        wait_until(lambda: not webhook_world.telegram.pending)

    webhook_world.settle()
    webhook_world.quiet()

    assert webhook_world.telegram.texts(33) == [f"ack {first}", f"ack {' '.join(later)}"]
