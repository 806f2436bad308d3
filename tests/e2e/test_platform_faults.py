"""When the platform refuses, delays or fails: the right thing for each, and for that chat alone."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.e2e.tally import MARK
from tests.e2e.world import TOKEN, World, wait_until, world
from tests.fakes.telegram import Call


def delivery(world: World, chat: int) -> dict[str, object]:
    """The one delivery of a chat."""
    fields = ("state", "attempts", "error_code", "plain", "repeated", "trace")
    (row,) = world.probe.rows("gateway.Delivery", *fields, chat_id=str(chat))
    return row


def calls_into(world: World, chat: int) -> list[Call]:
    """Every try to send into a chat."""
    sends = world.telegram.called("sendMessage")
    return [call for call in sends if call.params["chat_id"] == str(chat)]


def test_a_wait_that_was_asked_for_is_kept_and_holds_up_that_chat_alone(
    webhook_world: World,
) -> None:
    webhook_world.telegram.fail("sendMessage", retry_after=3, chat=71)
    held = [webhook_world.say(71)]
    wait_until(lambda: calls_into(webhook_world, 71))
    held += [webhook_world.say(71) for _ in range(2)]
    others = [webhook_world.say(person) for person in (72, 73)]

    webhook_world.settle()

    refused, *later = (call.at for call in calls_into(webhook_world, 71))
    assert later
    assert all(at - refused >= 3.0 for at in later)
    for name in others:
        assert webhook_world.tally.said[name].replies[0].at < later[0]
    webhook_world.quiet()
    assert webhook_world.tally.problems() == {}
    assert not any(MARK in text for text in webhook_world.telegram.texts(71))  # surely not sent


def test_a_server_error_may_have_sent_it_so_what_comes_after_carries_the_mark(
    webhook_world: World,
) -> None:
    webhook_world.telegram.fail("sendMessage", times=2, status=500, chat=74)
    webhook_world.telegram.fail("sendMessage", drop="after", chat=75)
    webhook_world.telegram.fail("sendMessage", half=True, chat=76)
    failed, dropped, halved = (webhook_world.say(person) for person in (74, 75, 76))
    follow_up = webhook_world.say(74)

    webhook_world.settle()
    webhook_world.quiet()

    assert webhook_world.telegram.texts(74) == [f"ack {failed}\n{MARK}", f"ack {follow_up}"]
    assert webhook_world.telegram.texts(75) == [f"ack {dropped}", f"ack {dropped}\n{MARK}"]
    assert webhook_world.telegram.texts(76) == [f"ack {halved}", f"ack {halved}\n{MARK}"]
    assert webhook_world.tally.problems() == {}


def test_a_person_who_blocked_the_bot_is_a_dead_letter_at_once(webhook_world: World) -> None:
    webhook_world.telegram.block(77)
    update = webhook_world.update(77, "hello")

    assert webhook_world.post(update) == 200
    webhook_world.say(78)
    webhook_world.settle()
    webhook_world.quiet()

    row = delivery(webhook_world, 77)
    assert (row["state"], row["attempts"], row["error_code"]) == ("failed", 1, "refused")
    assert len(calls_into(webhook_world, 77)) == 1
    assert webhook_world.tally.problems() == {}


def test_formatting_that_is_refused_goes_out_plain(webhook_world: World) -> None:
    description = "Bad Request: can't parse entities: unsupported start tag"
    webhook_world.telegram.fail("sendMessage", status=400, description=description, chat=79)
    name = webhook_world.tally.new_id(79)
    webhook_world.telegram.say(79, f"**{name}**")

    webhook_world.settle()
    webhook_world.quiet()

    formatted, plain = (call.params for call in calls_into(webhook_world, 79))
    assert (formatted["text"], formatted["entities"][0]["type"]) == (f"ack {name}", "bold")
    assert (plain["text"], plain.get("entities")) == (f"ack **{name}**", None)
    row = delivery(webhook_world, 79)
    assert (row["state"], row["plain"], row["repeated"]) == ("sent", True, False)


def test_the_trace_of_a_delivery_tells_each_try(webhook_world: World) -> None:
    webhook_world.telegram.fail("sendMessage", times=1, status=502, chat=80)
    webhook_world.say(80)

    webhook_world.settle()
    webhook_world.quiet()

    row = delivery(webhook_world, 80)
    assert [entry["result"] for entry in row["trace"]] == ["unsure", "sent"]  # type: ignore[attr-defined]
    assert (row["state"], row["attempts"], row["repeated"]) == ("sent", 2, True)


def test_a_revoked_token_stops_the_channel_says_so_and_loses_nothing(tmp_path: Path) -> None:
    with world(tmp_path) as made:
        made.telegram.fail("sendMessage", status=401, description="Unauthorized")
        made.say(81)
        wait_until(lambda: "is down" in made.gateway.log_text())

        made.say(82)
        wait_until(lambda: not made.telegram.pending)  # accepted all the same
        wait_until(made.gateway.healthy)
        parts = readiness(made)
        assert parts["ready"] is False
        assert parts["channels"]["telegram"]["state"] == "down"
        assert TOKEN not in json.dumps(parts)
        assert made.telegram.sent == []

        made.gateway.restart()  # the operator has put it right
        made.settle()
        made.quiet()
        assert made.tally.problems() == {}
        assert made.tally.marked() == 0


def readiness(made: World) -> Any:
    """What /readyz says."""
    try:
        with urllib.request.urlopen(f"{made.gateway.url}/readyz", timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return json.load(refusal)
