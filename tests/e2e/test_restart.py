"""Stopping, killing and starting again: nothing is forgotten, nobody is bothered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.world import World, wait_until, world
from tests.process import Gateway


@pytest.fixture
def restarted_world(either_world: World) -> World:
    """A world whose gateway runs, whatever the test before has done to it."""
    if either_world.gateway.returncode is not None:
        either_world.gateway.restart()
    either_world.agent.behave()
    return either_world


@pytest.mark.parametrize("end", [Gateway.stop, Gateway.kill9], ids=["stop", "kill"])
def test_what_was_said_while_it_was_down_is_answered_and_nobody_else_is_written_to(
    restarted_world: World, end: Callable[[Gateway], object]
) -> None:
    for person in (51, 52, 53):
        restarted_world.say(person)
    restarted_world.settle()
    restarted_world.quiet()
    marked = restarted_world.tally.marked()
    end(restarted_world.gateway)
    written = len(restarted_world.telegram.sent)

    for _ in range(10):
        restarted_world.say(51)
        restarted_world.say(52)
    restarted_world.gateway.restart()
    restarted_world.settle()

    restarted_world.quiet()
    assert restarted_world.tally.problems() == {}
    assert restarted_world.tally.marked() == marked
    assert {sent.chat_id for sent in restarted_world.telegram.sent[written:]} == {51, 52}


def test_a_conversation_goes_on_after_a_restart(restarted_world: World) -> None:
    asked = []
    for _ in range(3):
        asked.append(restarted_world.say(54))
        restarted_world.settle()
    session = restarted_world.agent.calls[-1].session
    restarted_world.gateway.restart()

    asked.append(restarted_world.say(54))
    restarted_world.settle()

    call = restarted_world.agent.calls[-1]
    history = [(message["role"], message["content"]) for message in call.messages]
    assert history == [
        ("user", asked[0]),
        ("assistant", f"ack {asked[0]}"),
        ("user", asked[1]),
        ("assistant", f"ack {asked[1]}"),
        ("user", asked[2]),
        ("assistant", f"ack {asked[2]}"),
        ("user", asked[3]),
    ]
    assert call.session == session


def test_sigterm_lets_a_running_turn_end_and_its_answer_go_out(restarted_world: World) -> None:
    restarted_world.agent.behave(tokens=40, delay=0.025)
    before = len(restarted_world.agent.calls)
    running = [restarted_world.say(person) for person in (55, 56)]
    wait_until(lambda: len(restarted_world.agent.calls) == before + 2)

    status = restarted_world.gateway.stop()

    assert status == 0
    assert all(restarted_world.tally.answered(name) for name in running)
    assert all(call.finished for call in restarted_world.agent.calls)
    deliveries = restarted_world.probe.rows("gateway.Delivery", "state")
    assert {row["state"] for row in deliveries} == {"sent"}
    assert restarted_world.tally.problems() == {}


def test_a_turn_longer_than_the_drain_is_run_again_after_the_restart(tmp_path: Path) -> None:
    with world(tmp_path, OPENCLAW_DRAIN_SECONDS="0.5") as made:
        made.agent.behave(first=30.0)
        made.say(57)
        wait_until(lambda: made.agent.calls)
        assert made.gateway.stop() == 0
        made.agent.behave()

        made.gateway.restart()
        made.settle()

        first, second = made.agent.calls
        assert first.closed_early
        assert (first.turn, first.key) == (second.turn, second.key)
        made.quiet()
        assert made.tally.problems() == {}
        assert made.tally.marked() == 0
