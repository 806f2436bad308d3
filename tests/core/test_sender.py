"""The sender: what each kind of error means for a part, its lane and its channel."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from adapters.base import (
    Capabilities,
    ChannelDown,
    Outbound,
    Rate,
    RateLimited,
    Receipt,
    Refused,
    Transient,
    Unformatted,
)
from gateway.models import Delivery
from sessions_app import clock as app_clock
from tests.core.house import House
from tests.core.kit import CHANNEL, TestChat, until
from tests.core.outbox import over, put, results, row_of, script

pytestmark = pytest.mark.usefixtures("agent")

# --- certain non-sends --------------------------------------------------------------------------


async def test_a_certain_non_send_is_tried_again_without_a_mark() -> None:
    async with House(chat=TestChat(script(Transient("refused"), Transient("no host")))) as house:
        await put(house, "a", "b")
        assert await house.said(4) == ["a", "a", "a", "b"]
        row = await over(house)
        assert (row.state, row.receipt, row.attempts, row.repeated) == ("sent", "ok", 3, False)
        assert results(row) == ["transient", "transient", "sent"]


async def test_a_refusal_is_a_dead_letter_at_once_and_frees_the_lane() -> None:
    """OC 33403, OC 74321: permanent errors retried for ever."""
    async with House(chat=TestChat(script(Refused("chat not found")))) as house:
        await put(house, "a", "b")
        assert await house.said(2) == ["a", "b"]
        row = await over(house)
        assert (row.state, row.error_code, row.error_detail) == (
            "failed",
            "refused",
            "chat not found",
        )
        assert row.receipt == ""


async def test_refused_formatting_goes_out_plain_once() -> None:
    async with House(chat=TestChat(script(Unformatted("entities")))) as house:
        await put(house, "a")
        await house.said(2)
        assert [outbound.plain for outbound in house.chat.sent] == [False, True]
        assert [outbound.text for outbound in house.chat.sent] == ["a", "a"]
        row = await over(house)
        assert (row.state, row.plain, row.repeated) == ("sent", True, False)


async def test_what_is_refused_plain_too_has_failed() -> None:
    async with House(chat=TestChat(script(Unformatted("x"), Unformatted("y")))) as house:
        await put(house, "a", "b")
        await house.said(3)
        assert (await over(house)).state == "failed"
        assert (await over(house, "b")).state == "sent"


async def test_a_send_that_keeps_failing_expires() -> None:
    """OC 16555: nothing is sent long after its time."""

    def refuse(outbound: Outbound) -> Receipt:
        raise Transient("refused")

    async with House(chat=TestChat(refuse)) as house:
        await put(house, "a")
        await until(lambda: len(house.chat.sent) >= 2)
        # it goes on: a try that was under way just now waits its pause by this clock, too
        with app_clock.reading(lambda: datetime.now(UTC) + timedelta(seconds=4000)):
            house.ledger.poke()
            assert (await over(house)).state == "expired"


# --- waits that the platform asks for -----------------------------------------------------------


async def test_a_rate_limit_holds_its_lane_to_the_letter_and_no_other() -> None:
    async with House(chat=TestChat(script(RateLimited("slow down", 7.0)))) as house:
        before = app_clock.now()
        await put(house, "a")
        await house.said(1)
        await house.settled(lambda: Delivery.objects.filter(state="queued").exists())
        row, after = await row_of(house), app_clock.now()
        assert (row.attempts, row.error_code) == (0, "ratelimited")
        assert before <= row.not_before - timedelta(seconds=7) <= after
        await put(house, "b", chat="c2")
        await put(house, "c", chat="c1")
        assert await house.said(2) == ["a", "b"]
        assert house.limiter.held_lanes() == [(CHANNEL, "c1")]
        later = after + timedelta(seconds=8)
        with app_clock.reading(lambda: later):
            house.now = 6.9
            house.ledger.poke()
            await house.read(lambda: None)
            assert house.chat.said == ["a", "b"]
            house.now = 7.0
            house.ledger.poke()
            assert await house.said(4) == ["a", "b", "a", "c"]


async def test_a_rate_limit_of_the_bot_holds_every_lane_and_keeps_their_order() -> None:
    async with House(chat=TestChat(script(RateLimited("slow down", 7.0, "bot")))) as house:
        await put(house, "a", "b")
        await house.said(1)
        await house.settled(lambda: Delivery.objects.filter(error_code="ratelimited").exists())
        assert house.limiter.open_channels() == []
        await put(house, "x", chat="c2")
        await house.read(lambda: None)
        assert house.chat.said == ["a"]
        later = app_clock.now() + timedelta(seconds=8)
        with app_clock.reading(lambda: later):
            house.now = 7.0
            house.ledger.poke()
            said = await house.said(4)
        assert sorted(said) == ["a", "a", "b", "x"]
        assert [text for text in said if text != "x"] == ["a", "a", "b"]


async def test_rate_limits_never_use_up_a_part() -> None:
    steps = [RateLimited("slow down", 0.0)] * 12
    async with House(chat=TestChat(script(*steps))) as house:
        await put(house, "a")
        await house.said(13)
        row = await over(house)
        assert (row.state, row.attempts) == ("sent", 1)


async def test_a_bucket_paces_the_sends_of_a_chat() -> None:
    class Paced(TestChat):
        capabilities = Capabilities(text_limit=200, chat_rate=Rate(1.0, 2))

    async with House(chat=Paced()) as house:
        await put(house, "a", "b", "c", "d")
        await put(house, "x", chat="c2")
        await until(lambda: len(house.chat.sent) == 3)
        await house.settled(lambda: Delivery.objects.filter(state="sent").count() == 3)
        assert sorted(house.chat.said) == ["a", "b", "x"]
        house.now = 0.99
        house.ledger.poke()
        await house.read(lambda: None)
        assert len(house.chat.sent) == 3
        house.now = 1.0
        house.ledger.poke()
        assert (await house.said(4))[-1] == "c"


async def test_an_earlier_permit_is_not_overslept_for_a_later_one() -> None:
    """OC 92270: a long pause of one lane must not become the pause of another."""
    steps = [RateLimited("slow down", 3600.0)]

    class Paced(TestChat):
        capabilities = Capabilities(text_limit=200, chat_rate=Rate(20.0, 1))

    async with House(chat=Paced(script(*steps))) as house:
        loop = asyncio.get_running_loop()
        house.limiter._monotonic = loop.time
        house.limiter.add_channel(CHANNEL, house.chat.capabilities, unlimited=False)
        await put(house, "held")
        await house.said(1)
        await until(lambda: (house.limiter.next_permit() or 0) > 1)
        house.sender.schedule()
        await put(house, "a", "b", "c", chat="c2")
        assert await house.said(4) == ["held", "a", "b", "c"]


# --- the channel --------------------------------------------------------------------------------


async def test_a_channel_that_is_down_stops_alone_and_keeps_its_parts() -> None:
    """OC 25595: a bad channel stops alone."""
    async with House(chat=TestChat(script(ChannelDown("token revoked")))) as house:
        house.limiter.add_channel("other", house.chat.capabilities, unlimited=True)
        await put(house, "a")
        await put(house, "b")
        await house.said(1)
        await put(house, "x", channel="other")
        assert await house.said(2) == ["a", "x"]
        assert house.down == [(CHANNEL, "token revoked")]
        rows = await house.read(
            lambda: list(Delivery.objects.filter(state="queued").values_list("text", "attempts"))
        )
        assert rows == [("a", 0), ("b", 0)]
        house.limiter.add_channel(CHANNEL, house.chat.capabilities, unlimited=True)
        house.ledger.poke()
        assert await house.said(4) == ["a", "x", "a", "b"]


async def test_an_end_that_cannot_be_written_does_not_hold_the_lane() -> None:
    """OC 92270: a stuck lane; NC 2995: what was sent stays sent."""
    chat = TestChat(script(Receipt("r\ud800"), Refused("\ud800")))
    async with House(chat=chat) as house:
        await put(house, "a", "b", "c")
        assert await house.said(3) == ["a", "b", "c"]
        assert (await over(house)).state == "sent"
        assert (await over(house, "b")).state == "failed"


async def test_a_moved_chat_takes_what_waits_along() -> None:
    async with House(chat=TestChat(script(Receipt("r1", chat_id="c9")))) as house:
        await put(house, "a", "b")
        await house.said(2)
        assert [outbound.chat_id for outbound in house.chat.sent] == ["c1", "c9"]


async def test_draining_waits_for_sends_under_way_and_begins_none() -> None:
    go = asyncio.Event()

    async def slow(outbound: Outbound) -> Receipt:
        await go.wait()
        return Receipt("ok")

    async with House(chat=TestChat(slow)) as house:
        await put(house, "a", "b")
        await until(lambda: house.chat.sent)
        draining = asyncio.create_task(house.sender.drain(5))
        await asyncio.sleep(0)
        go.set()
        await draining
        assert (await row_of(house)).state == "sent"
        assert (await row_of(house, "b")).state == "queued"
