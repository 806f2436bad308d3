"""Every channel, end to end: through a restart, and through what platforms answer."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from adapters.base import Request
from gateway.guard import SLOW_DOWN
from tests.adapters.harness import Harness, harness
from tests.e2e.channels import WAYS
from tests.e2e.channels.base import BUSY_SECONDS, Trouble
from tests.e2e.channels.whatsapp import WhatsappChannel
from tests.e2e.town import Town, town
from tests.e2e.world import wait_until


@pytest.fixture(params=WAYS, scope="module")
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Town]:
    """One channel; each test has people of its own."""
    with town(tmp_path_factory.mktemp("town"), [request.param]) as made:
        yield made


def test_everyone_is_answered_once_also_after_a_kill(place: Town) -> None:
    for person in (1, 2, 3):
        place.say(person)
        place.say(person)
    place.settle()
    assert place.problems() == {}
    place.gateway.kill9()
    while_down = [place.say(person) for person in (1, 2)]
    place.gateway.spawn()
    place.settle()
    assert place.problems() == {}
    said = place.said()
    assert all(said[name].replies for name in while_down)


NEVER_ASKS_TO_WAIT = ("imessage",)


@pytest.mark.parametrize(
    "place", [name for name in WAYS if name not in NEVER_ASKS_TO_WAIT], indirect=True
)
def test_a_wait_that_is_asked_for_is_kept_in_order_and_nobody_else_waits(place: Town) -> None:
    (channel,) = place.channels.values()
    channel.fail(11, "busy")
    began = time.monotonic()
    first, *others = (place.say(person) for person in (11, 12, 13, 14))
    wait_until(lambda: place.probe.rows("gateway.Delivery", "pk", text__contains=first))
    second = place.say(11)
    place.settle()
    said = place.said()
    assert place.problems() == {}
    (held,), (behind,) = said[first].replies, said[second].replies
    assert held.text != behind.text  # two answers of two turns, one after the other
    assert began + BUSY_SECONDS <= held.at <= behind.at
    assert all(said[name].replies[0].at < held.at for name in others)


def test_answers_that_fail_on_their_way_arrive_once(place: Town) -> None:
    (channel,) = place.channels.values()
    troubles: dict[int, Trouble] = {21: "broken", 22: "dropped"}
    names = []
    for person, what in troubles.items():  # both at once: a platform may take long to settle
        channel.fail(person, what)
        names.append(place.say(person))
    place.settle(90)
    said = place.said()
    assert [len(said[name].replies) for name in names] == [1, 1]
    assert place.problems() == {}


def test_what_is_refused_is_a_dead_letter_at_once_that_shows_no_secret(place: Town) -> None:
    (channel,) = place.channels.values()
    channel.fail(31, "refused")
    channel.say(31, "nobody will read the answer to this")

    def dead() -> list[dict[str, object]]:
        fields = ("attempts", "error_code", "error_detail", "trace")
        return place.probe.rows("gateway.Delivery", *fields, state="failed")

    (letter,) = wait_until(dead)
    assert letter["attempts"] == 1
    assert letter["error_code"] == "refused"
    assert letter["error_detail"]
    assert letter["trace"]
    for secret in place.gateway.env.values():
        assert len(secret) < 16 or "/" in secret or secret not in str(letter)
    after = place.say(32)
    wait_until(lambda: place.said()[after].replies)


CALLED = ["whatsapp", "slack", "imessage_blue"]
"""Those that the platform calls, here; Telegram's webhook has a world of its own."""


def called(place: Town, request: Request) -> int:
    """The status that a call gets over real HTTP."""
    (name,) = place.channels
    url = f"{place.gateway.url}/webhooks/{name}?{urlencode(request.query)}"
    call = urllib.request.Request(url, request.body, dict(request.headers), method="POST")
    try:
        with urllib.request.urlopen(call, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return int(refusal.code)


@pytest.mark.parametrize("place", CALLED, indirect=True)
def test_a_kind_that_nobody_knows_is_200_and_ignored(place: Town) -> None:
    (name,) = place.channels
    at = harness(name)
    before = place.probe.rows("sessions_app.Message", "pk")
    assert called(place, at.signed(at.unsupported)) == 200
    assert place.probe.rows("sessions_app.Message", "pk") == before


@pytest.mark.parametrize("place", CALLED, indirect=True)
def test_a_call_that_is_replayed_is_taken_once_and_forged_ones_never(place: Town) -> None:
    (name,) = place.channels
    at = harness(name)
    text = place.expect({"whatsapp": 1111}.get(name, 5), name)
    for _ in range(3):
        assert called(place, at.delivery(text, 4711)) == 200
    assert {called(place, request) for request in forged(at)} == {403}
    assert len(place.probe.rows("sessions_app.Message", "pk", text=text, role="user")) == 1
    place.settle()
    assert place.problems() == {}


def forged(at: Harness) -> list[Request]:
    """What HTTP can carry of it."""
    return [
        request
        for request in at.forged().values()
        if all(value.isascii() for value in (*request.headers.values(), *request.query.values()))
    ]


REDELIVERIES = 12


def test_redeliveries_are_no_flood(tmp_path: Path) -> None:
    """With the limit at its default: twelve messages, each handed over twelve times."""
    with town(tmp_path, ["whatsapp"], OPENCLAW_WHATSAPP_FLOOD="60") as made:
        channel = made.channels["whatsapp"]
        assert isinstance(channel, WhatsappChannel)
        names = [made.say(1) for _ in range(REDELIVERIES)]
        made.settle()
        channel.again(REDELIVERIES)
        after = made.say(1)
        made.settle()
        assert made.problems() == {}
        assert {*names, after} == set(made.said())
        assert not [reply for reply in channel.replies() if SLOW_DOWN in reply.text]
