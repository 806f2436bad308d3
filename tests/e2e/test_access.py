"""Who is let in: nobody unknown by default, and those on the list by their id."""

from __future__ import annotations

import re
from pathlib import Path

from tests.e2e.world import World, world
from tests.process import manage


def nothing_is_kept_of(made: World, person: int) -> None:
    chat = str(person)
    assert made.probe.rows("sessions_app.Message", "pk", session__chat_id=chat) == []
    assert made.probe.rows("gateway.Turn", "pk", session__chat_id=chat) == []


def test_by_default_a_stranger_gets_one_code_and_no_agent_until_it_is_approved(
    tmp_path: Path,
) -> None:
    with world(tmp_path, OPENCLAW_TELEGRAM_ACCESS="") as made:
        statuses = [made.post(made.update(61, "let me in")) for _ in range(3)]
        made.telegram.wait_for(lambda: made.telegram.texts(61))
        made.quiet()
        assert statuses == [200, 200, 200]
        assert made.agent.calls == []
        (told,) = made.telegram.texts(61)
        nothing_is_kept_of(made, 61)
        assert "let me in" not in made.gateway.log_text()

        code = re.search(r"[A-Z2-9]{4}-[A-Z2-9]{4}", told)
        assert code
        told = manage("pair", code[0], data_dir=made.gateway.data_dir, env=made.gateway.env)
        assert "is in" in told
        made.telegram.wait_for(lambda: len(made.telegram.texts(61)) == 2)
        made.telegram.wait_for(lambda: made.telegram.menu)
        assert made.post(made.update(61, "/start")) == 200
        made.telegram.wait_for(lambda: len(made.telegram.texts(61)) == 3)
        assert all(one["command"] in made.telegram.texts(61)[2] for one in made.telegram.menu)
        made.say(61)
        made.settle()
        assert len(made.agent.calls) == 1


def test_the_allowlist_lets_in_by_id_and_by_nothing_else(tmp_path: Path) -> None:
    listed = {"OPENCLAW_TELEGRAM_ACCESS": "allowlist", "OPENCLAW_TELEGRAM_ALLOW": "62, 63"}
    with world(tmp_path, **listed) as made:
        made.say(62)
        made.say(63)
        stranger = made.update(64, "I am 62")
        stranger["message"]["from"] |= {"first_name": "62", "username": "62"}

        assert made.post(stranger) == 200
        made.settle()

        assert made.gateway.stop() == 0
        assert made.tally.problems() == {}
        assert len(made.agent.calls) == 2
        assert made.telegram.texts(64) == []
        nothing_is_kept_of(made, 64)


def test_a_blocked_contact_is_not_heard_even_where_everybody_is(webhook_world: World) -> None:
    made = webhook_world
    made.say(65)
    made.settle()
    made.quiet()
    made.probe.update("sessions_app.Contact", {"user_id": "65"}, access="blocked")

    assert made.post(made.update(65, "hello?")) == 200
    made.say(66)
    made.settle()

    made.quiet()
    assert made.tally.problems() == {}
    assert len(made.agent.calls) == 2
    assert len(made.telegram.texts(65)) == 1
