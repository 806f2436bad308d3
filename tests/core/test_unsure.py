"""What may have been sent: settled, plainly repeated, repeated with the mark, or held."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from adapters.base import (
    Capabilities,
    Outbound,
    Receipt,
    SendError,
    Transient,
    Unsure,
)
from gateway import delivery as delivery_module
from gateway.delivery import MAX_UNSURE_TRIES, SenderSettings
from gateway.ledger.recovery import take_over
from sessions_app import clock as app_clock
from tests.core.house import House
from tests.core.kit import Behaviour, TestChat, queue
from tests.core.outbox import Step, over, put, results, script

pytestmark = pytest.mark.usefixtures("agent")


class AskableChat(TestChat):
    """A platform that can be asked whether a part has arrived."""

    def __init__(self, answers: Sequence[Step | None], behaviour: Behaviour | None = None) -> None:
        super().__init__(behaviour)
        self.answers = list(answers)
        self.questions: list[str] = []
        self.hangs = False

    async def settle(self, outbound: Outbound) -> Receipt | None:
        self.questions.append(outbound.text)
        if self.hangs:
            await asyncio.Event().wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class ForgivingChat(TestChat):
    """A platform that drops a repeated send for a minute."""

    capabilities = Capabilities(text_limit=200, dedupe_seconds=60.0)


async def test_what_may_have_arrived_is_repeated_with_the_mark() -> None:
    """OC 71577, HE 70700: duplicates out, unlabelled, after a time-out."""
    async with House(chat=TestChat(script(Unsure("no answer")))) as house:
        await put(house, "a", "b")
        assert await house.said(3) == ["a", "a\n(again)", "b"]
        row = await over(house)
        assert (row.state, row.repeated, row.text) == ("sent", True, "a")
        assert results(row) == ["unsure", "sent"]


async def test_a_fault_of_the_adapter_is_unsure_and_stops_nobody() -> None:
    chat = TestChat(script(ZeroDivisionError("bug"), TimeoutError(), SendError("odd")))
    async with House(chat=chat) as house:
        await put(house, "a")
        await house.said(4)
        assert house.chat.said == ["a"] + ["a\n(again)"] * 3
        assert results(await over(house)) == ["unsure", "unsure", "senderror", "sent"]


async def test_a_send_that_hangs_is_unsure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_module, "SEND_SECONDS", 0.02)
    calls = 0

    async def hang(outbound: Outbound) -> Receipt:
        nonlocal calls
        calls += 1
        if calls == 1:
            await asyncio.Event().wait()
        return Receipt("ok")

    async with House(chat=TestChat(hang)) as house:
        await put(house, "a")
        assert await house.said(2) == ["a", "a\n(again)"]


@pytest.mark.parametrize("answer", [Receipt("seen-1"), None, Unsure("cannot tell")])
async def test_the_platform_is_asked_first_where_it_can_be(answer: Step | None) -> None:
    chat = AskableChat([answer], script(Unsure("no answer")))
    async with House(chat=chat) as house:
        await put(house, "a")
        row = await over(house)
        assert row.state == "sent"
        assert chat.questions == ["a"]
        if isinstance(answer, Receipt):
            assert (chat.said, row.receipt) == (["a"], "seen-1")
        elif answer is None:  # certainly not sent: the same again needs no mark
            assert chat.said == ["a", "a"]
        else:
            assert chat.said == ["a", "a\n(again)"]


async def test_a_part_settled_as_not_sent_carries_no_mark_later() -> None:
    """Nothing says it was repeated where the platform has said that it was not."""
    chat = AskableChat([None, None], script(Unsure("no answer"), Transient("refused")))
    async with House(chat=chat) as house:
        await put(house, "a")
        assert (await over(house)).state == "sent"
        assert chat.said == ["a", "a", "a"]


async def test_a_platform_that_does_not_say_does_not_hold_up_the_lane(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """OC 92270: a stuck lane."""
    monkeypatch.setattr(delivery_module, "SEND_SECONDS", 0.05)
    chat = AskableChat([], script(Unsure("no answer")))
    chat.hangs = True
    async with House(chat=chat) as house:
        await put(house, "a", "b")
        assert await house.said(3) == ["a", "a\n(again)", "b"]


async def test_errors_while_asking_count_like_errors_of_sends() -> None:
    chat = AskableChat([Transient("no host"), Receipt("seen")], script(Unsure("no answer")))
    async with House(chat=chat) as house:
        await put(house, "a")
        row = await over(house)
        assert (row.receipt, results(row)) == ("seen", ["unsure", "transient", "sent"])
        assert chat.said == ["a"]


async def test_a_platform_that_drops_repeats_gets_a_plain_one() -> None:
    async with House(chat=ForgivingChat(script(Unsure("no answer")))) as house:
        await put(house, "a")
        assert await house.said(2) == ["a", "a"]
        assert len({outbound.key for outbound in house.chat.sent}) == 1


async def test_but_not_for_longer_than_it_drops_them() -> None:
    async with House(chat=ForgivingChat(script(Unsure("no answer")))) as house:
        await put(house, "a", created_at=app_clock.now() - timedelta(seconds=61))
        assert await house.said(2) == ["a", "a\n(again)"]


async def test_without_a_mark_the_same_text_is_repeated() -> None:
    settings = SenderSettings(mark="", retry_seconds=0.001)
    async with House(chat=TestChat(script(Unsure("?"))), sender=settings) as house:
        await put(house, "a")
        assert await house.said(2) == ["a", "a"]


async def test_hold_leaves_it_to_the_operator() -> None:
    settings = SenderSettings("hold", mark="(again)", retry_seconds=0.001)
    async with House(chat=TestChat(script(Unsure("?"))), sender=settings) as house:
        await put(house, "a", "b")
        assert await house.said(2) == ["a", "b"]
        row = await over(house)
        assert (row.state, row.error_code, row.repeated) == ("unsure", "unsure", True)


async def test_repeats_are_bounded() -> None:
    """HE 45682: no part is repeated for ever."""

    def never(outbound: Outbound) -> Receipt:
        if outbound.text.startswith("a"):
            raise Unsure("no answer")
        return Receipt("ok")

    async with House(chat=TestChat(never)) as house:
        await put(house, "a", "b")
        row = await over(house)
        assert row.state == "unsure"
        assert house.chat.said.count("a\n(again)") == MAX_UNSURE_TRIES - 1
        assert (await over(house, "b")).state == "sent"


async def test_tries_that_certainly_did_not_send_do_not_use_up_the_repeats() -> None:
    steps = [*[Transient("refused")] * (MAX_UNSURE_TRIES + 1), Unsure("no answer")]
    async with House(chat=TestChat(script(*steps))) as house:
        await put(house, "a")
        assert (await over(house)).state == "sent"
        assert house.chat.said[-1] == "a\n(again)"


async def test_a_crash_in_mid_sending_is_treated_alike() -> None:
    async with House() as house:
        await house.read(lambda: queue("a", state="sending", attempts=1, lease_owner="main/0-dead"))
        await house.read(lambda: take_over(house.verbs.owner))
        house.ledger.poke()
        assert await house.said(1) == ["a\n(again)"]


async def test_a_sent_part_is_not_sent_again_by_its_neighbours_trouble() -> None:
    """Chunks: a receipt per part."""
    async with House(chat=TestChat(script(Receipt("r1"), Unsure("?"), Receipt("r2")))) as house:
        await put(house, "a", "b", "c")
        assert await house.said(4) == ["a", "b", "b\n(again)", "c"]
        assert (await over(house)).receipt == "r1"
        assert (await over(house, "b")).receipt == "r2"
