"""When the agent fails: a clear error on the turn, a word to the person, no trouble for others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.tally import NOTICE
from tests.e2e.world import World, wait_until, world

FAULTS = {  # what the agent is told to do: (the error on the turn, calls made)
    "#status=500": ("status_5xx", 3),
    "#status=404": ("status_4xx", 1),
    "#fault=hang_middle": ("timeout_between", 1),
    "#fault=close": ("interrupted", 3),
    "#fault=close_middle": ("interrupted", 1),
    "#fault=reset_middle": ("interrupted", 1),
    "#fault=no_final": ("interrupted", 1),
    "#fault=error": ("reported", 1),
    "#fault=huge": ("too_large", 1),
    "#fault=huge_line": ("too_large", 1),
    "#fault=garbage": ("malformed", 1),
    "#fault=garbage_body": ("malformed", 1),
    "#fault=wrong_type": ("malformed", 1),
}
SLOW_FAULTS = {  # the same, where little time is given
    "#fault=hang": ("timeout_first", 2),
    "#fault=hang_headers": ("timeout_first", 2),
    "#fault=keepalive": ("timeout_first", 2),
    "#fault=endless": ("timeout_total", 1),
}


ALWAYS = {"OPENCLAW_AGENT_CIRCUIT_FAILURES": "0"}  # here each turn is to meet its fault


@pytest.fixture(scope="module")
def faulty_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A gateway that waits for an agent as long as a busy machine may take."""
    limits = {
        "OPENCLAW_AGENT_FIRST_TOKEN_SECONDS": "30",
        "OPENCLAW_AGENT_BETWEEN_TOKENS_SECONDS": "4",
        "OPENCLAW_AGENT_MAX_BYTES": str(1024 * 1024),
        "OPENCLAW_AGENT_ATTEMPTS": "3",
        "OPENCLAW_AGENT_RETRY_SECONDS": "1",  # within which one that was away comes back
    }
    with world(tmp_path_factory.mktemp("faults"), **ALWAYS, **limits) as made:
        yield made


def test_each_fault_is_a_clear_error_and_touches_nobody_else(faulty_world: World) -> None:
    meets(faulty_world, FAULTS, 60)


def test_each_slow_fault_is_one_too(tmp_path: Path) -> None:
    limits = {
        "OPENCLAW_AGENT_FIRST_TOKEN_SECONDS": "2.5",
        "OPENCLAW_AGENT_BETWEEN_TOKENS_SECONDS": "30",
        "OPENCLAW_AGENT_TOTAL_SECONDS": "5",
        "OPENCLAW_AGENT_ATTEMPTS": "2",
    }
    with world(tmp_path, **ALWAYS, **limits) as made:
        meets(made, SLOW_FAULTS, 10)


def meets(made: World, faults: dict[str, tuple[str, int]], others_count: int) -> None:
    """One person meets each fault, with others beside them."""
    people = {8001 + number: fault for number, fault in enumerate(faults)}
    for person, fault in people.items():
        made.say(person, fault)
    others = [made.say(8101 + number % 20) for number in range(others_count)]

    wait_until(lambda: all(made.tally.answered(name) for name in others), 60)
    wait_until(lambda: all(made.telegram.texts(person) for person in people), 60)
    made.quiet()

    found = {
        people[int(row["session__chat_id"])]: (row["state"], row["error_code"], row["attempts"])
        for row in made.probe.rows(
            "gateway.Turn", "session__chat_id", "state", "error_code", "attempts"
        )
        if int(row["session__chat_id"]) in people
    }
    assert found == {fault: ("failed", *expected) for fault, expected in faults.items()}
    assert {person: made.telegram.texts(person) for person in people} == {
        person: [NOTICE] for person in people
    }
    assert set(made.tally.problems()) == {"lost"}  # the faulty ones; each failed, and said so
    assert made.memory_mib() < 250
    dispositions = made.probe.rows(
        "sessions_app.Message", "disposition", session__chat_id__in=[str(p) for p in people],
        role="user",
    )  # fmt: skip
    assert {row["disposition"] for row in dispositions} == {"failed"}


def test_the_next_message_after_a_fault_is_answered_and_the_one_that_failed_is_known(
    faulty_world: World,
) -> None:
    faulty_world.agent.behave(fault="garbage")
    failed = faulty_world.say(8201)
    wait_until(lambda: faulty_world.telegram.texts(8201))
    faulty_world.agent.behave()

    name = faulty_world.say(8201)
    wait_until(lambda: faulty_world.tally.answered(name))

    assert faulty_world.telegram.texts(8201) == [NOTICE, f"ack {name}"]
    said = [message["content"] for message in faulty_world.agent.calls[-1].messages]
    assert said[-2:] == [failed, name]


def test_what_an_agent_said_before_it_broke_off_is_kept(faulty_world: World) -> None:
    faulty_world.say(8202, "#fault=close_middle #tokens=20")
    wait_until(lambda: faulty_world.telegram.texts(8202))
    faulty_world.quiet()

    (turn,) = faulty_world.probe.rows(
        "gateway.Turn", "partial_text", "error_detail", session__chat_id="8202"
    )
    assert turn["partial_text"].startswith("ack m")
    assert turn["error_detail"]


def test_an_agent_that_is_away_or_overloaded_for_a_moment_is_asked_again(
    faulty_world: World,
) -> None:
    made = faulty_world
    made.agent.behave(status=500)
    calls = len(made.agent.calls)
    overloaded = made.say(8203)
    wait_until(lambda: len(made.agent.calls) > calls)
    made.agent.behave()
    wait_until(lambda: made.tally.answered(overloaded))

    made.agent.do(made.agent.refuse())
    away = made.say(8204)
    tried = {"session__chat_id": "8204", "attempts__gte": 1, "error_code": "unreachable"}
    wait_until(lambda: made.probe.rows("gateway.Turn", "pk", **tried))
    made.agent.do(made.agent.listen())
    wait_until(lambda: made.tally.answered(away))

    assert made.telegram.texts(8203) == [f"ack {overloaded}"]
    assert made.telegram.texts(8204) == [f"ack {away}"]


def test_an_agent_that_stays_away_is_an_error_and_a_word_to_the_person(
    faulty_world: World,
) -> None:
    made = faulty_world
    made.agent.do(made.agent.refuse())
    try:
        made.say(8205)
        wait_until(lambda: made.telegram.texts(8205))
        made.quiet()
    finally:
        made.agent.do(made.agent.listen())

    (turn,) = made.probe.rows("gateway.Turn", "state", "error_code", session__chat_id="8205")
    assert turn == {"state": "failed", "error_code": "unreachable"}
    assert made.telegram.texts(8205) == [NOTICE]
