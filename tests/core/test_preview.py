"""Answers that grow on the platform while they are written, and what a crash leaves of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from adapters.base import (
    Capabilities,
    Outbound,
    Rate,
    RateLimited,
    Receipt,
    Refused,
    SendError,
    Transient,
    Unsure,
)
from gateway import preview
from gateway.agents.base import Event, Final, Question, Token
from gateway.ledger import operate
from gateway.ledger.previews import open_previews
from gateway.ledger.records import Preview
from gateway.ledger.recovery import take_over
from gateway.models import Delivery, Turn
from tests.core.house import House
from tests.core.kit import TestChat, Verbs, in_thread, inbound, sent, until

pytestmark = pytest.mark.usefixtures("agent")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "FIRST_SECONDS", 0.01)


class Board(TestChat):
    """A platform with messages that can be edited: what stands there now is `board`."""

    capabilities = Capabilities(text_limit=40, edits=True, edit_seconds=0.01)

    def __init__(self) -> None:
        super().__init__()
        self.board: dict[str, str] = {}
        self.edits: list[str] = []
        self.send_errors: list[SendError] = []
        self.edit_errors: list[SendError] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def send(self, outbound: Outbound) -> Receipt:
        await self.gate.wait()
        self.sent.append(outbound)
        if self.send_errors:
            raise self.send_errors.pop(0)
        receipt = f"m{len(self.sent)}"
        self.board[receipt] = outbound.text
        return Receipt(receipt)

    async def edit(self, outbound: Outbound, receipt: str) -> None:
        self.edits.append(outbound.text)
        if self.edit_errors:
            raise self.edit_errors.pop(0)
        self.board[receipt] = outbound.text


class Easel(TestChat):
    """A platform with drafts, in chats whose name does not begin with "group"."""

    capabilities = Capabilities(text_limit=200, edit_seconds=0.01)

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[tuple[str, str]] = []

    def drafts(self, chat_id: str, target: Mapping[str, Any]) -> bool:
        return not chat_id.startswith("group")

    async def draft(self, outbound: Outbound) -> None:
        self.drawn.append((outbound.key, outbound.text))


class Told:
    """An agent whose words the test gives it one by one."""

    def __init__(self) -> None:
        self.words: asyncio.Queue[str | Event | Exception] = asyncio.Queue()
        self.said = ""

    async def __call__(self, question: Question) -> AsyncIterator[Event]:
        while True:
            word = await self.words.get()
            if isinstance(word, Exception):
                raise word
            if not isinstance(word, str):
                yield word
                return
            yield Token(word)

    def say(self, word: str) -> None:
        self.said += word
        self.words.put_nowait(word)

    def finish(self, text: str | None = None) -> None:
        self.words.put_nowait(Final(self.said if text is None else text))


async def over(house: House) -> list[Delivery]:
    """Every delivery, once all work is done."""

    def idle() -> bool:
        running = Turn.objects.filter(state__in=["queued", "running"]).exists()
        return not running and not Delivery.objects.filter(state__in=["queued", "sending"]).exists()

    await house.settled(idle)
    found: list[Delivery] = await house.read(lambda: list(Delivery.objects.order_by("id")))
    return found


def growing(chat: Board, text: str) -> Callable[[], bool]:
    return lambda: text in chat.board.values()


async def test_an_answer_grows_in_one_message_and_ends_as_it_was_meant() -> None:
    agent, chat = Told(), Board()
    async with House(agent, chat=chat) as house:
        await house.write(inbound("1", "hi"))
        agent.say("One")
        await until(growing(chat, "One"))
        agent.say(" two")
        await until(growing(chat, "One two"))
        agent.finish("One, two.")
        (row,) = await over(house)
    assert chat.board == {"m1": "One, two."}
    assert (row.state, row.receipt, row.text, row.repeated) == ("sent", "m1", "One, two.", False)
    assert row.message_id is not None


async def test_a_long_answer_goes_on_in_further_messages() -> None:
    agent, chat = Told(), Board()
    async with House(agent, chat=chat) as house:
        await house.write(inbound("1", "hi"))
        agent.say("word " * 30)
        await until(lambda: chat.board)
        shown = dict(chat.board)
        agent.finish()
        rows = await over(house)
    assert len(rows) > 2
    assert [row.part for row in rows] == list(range(len(rows)))
    assert " ".join(chat.board.values()).split() == ["word"] * 30
    assert chat.board["m1"] == shown["m1"]


async def test_an_answer_that_is_quickly_there_is_sent_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preview, "FIRST_SECONDS", 5.0)
    agent, chat = Told(), Board()
    async with House(agent, chat=chat) as house:
        await house.write(inbound("1", "hi"))
        agent.say("fine")
        agent.finish()
        await over(house)
    assert (chat.said, chat.edits) == (["fine"], [])


async def test_the_turn_ends_while_the_first_part_is_still_being_sent() -> None:
    agent, chat = Told(), Board()
    chat.gate.clear()
    async with House(agent, chat=chat) as house:
        await house.write(inbound("1", "hi"))
        agent.say("Half")
        await house.settled(lambda: Delivery.objects.filter(state="sending").exists())
        agent.finish("Half and half")
        await house.settled(lambda: Turn.objects.filter(state="done").exists())
        chat.gate.set()
        (row,) = await over(house)
    assert chat.board == {"m1": "Half and half"}
    assert row.state == "sent"


@pytest.mark.parametrize("error", [Unsure("cut"), Transient("no way")])
async def test_an_edit_that_fails_is_made_again_and_carries_no_mark(error: SendError) -> None:
    agent, chat = Told(), Board()
    async with House(agent, chat=chat) as house:
        await house.write(inbound("1", "hi"))
        agent.say("Half")
        await until(growing(chat, "Half"))
        chat.edit_errors += [error]
        agent.finish("Half and half")
        (row,) = await over(house)
    assert chat.board == {"m1": "Half and half"}
    assert (row.state, row.repeated) == ("sent", False)


async def test_a_message_that_is_gone_is_sent_as_a_new_one() -> None:
    agent, chat = Told(), Board()
    async with House(agent, chat=chat) as house:
        await house.write(inbound("1", "hi"))
        agent.say("Half")
        await until(growing(chat, "Half"))
        chat.edit_errors += [Refused("message not found")]
        agent.finish("Half and half")
        (row,) = await over(house)
    assert chat.said == ["Half", "Half and half"]
    assert (row.state, row.receipt) == ("sent", "m2")


async def test_a_beginning_that_may_have_arrived_is_marked_to_the_end() -> None:
    agent, chat = Told(), Board()
    chat.send_errors += [Unsure("cut")]
    async with House(agent, chat=chat) as house:
        await house.write(inbound("1", "hi"))
        agent.say("Half")
        await until(growing(chat, "Half\n(again)"))
        agent.finish("Half and half")
        (row,) = await over(house)
    assert chat.board == {"m2": "Half and half\n(again)"}
    assert row.repeated


async def test_a_wait_that_is_asked_for_ends_the_preview_and_holds_the_lane() -> None:
    agent, chat = Told(), Board()
    async with House(agent, chat=chat) as house:
        await house.write(inbound("1", "hi"))
        agent.say("Half")
        await until(growing(chat, "Half"))
        chat.edit_errors += [RateLimited("slow down", 0.3)]
        agent.say(" and")
        await until(lambda: not chat.edit_errors)
        edits = len(chat.edits)
        assert [lane[1] for lane in house.limiter.held_lanes()] == ["chat-u1"]
        agent.finish("Half and half")
        await house.settled(lambda: Turn.objects.filter(state="done").exists())
        assert len(chat.edits) == edits  # the last one waits, too
        house.now += 1.0
        house.ledger.poke()
        await over(house)
    assert chat.board == {"m1": "Half and half"}


async def test_what_was_shown_of_a_failed_answer_stays_and_the_notice_follows() -> None:
    agent, chat = Told(), Board()
    async with House(agent, chat=chat) as house:
        await house.write(inbound("1", "hi"))
        agent.say("Half")
        await until(growing(chat, "Half"))
        agent.words.put_nowait(ZeroDivisionError("bug"))
        await over(house)
    assert list(chat.board.values()) == ["Half", "oh no"]


async def test_a_cancelled_turn_does_not_send_what_nobody_saw_yet() -> None:
    agent, chat = Told(), Board()
    async with House(agent, chat=chat) as house:
        house.limiter.hold("testchat", "chat-u1", 60.0)
        await house.write(inbound("1", "hi"))
        agent.say("Half")
        await house.settled(Delivery.objects.exists)
        (turn,) = house.runner.running()
        house.runner.cancel(turn)
        await house.settled(lambda: not Delivery.objects.exists())
    assert chat.sent == []


async def test_after_a_crash_the_new_attempt_goes_on_in_the_old_message() -> None:
    agent, chat = Told(), Board()
    async with House(agent, chat=chat) as house:
        await house.write(inbound("1", "hi"))
        agent.say("Half")
        await until(growing(chat, "Half"))
        await house.settled(lambda: Delivery.objects.filter(state="sent").exists())
    await in_thread(take_over, "main/another")
    again = Told()
    async with House(again, chat=chat) as house:
        again.say("Whole")
        again.finish("Whole answer")
        (row,) = await over(house)
    assert chat.board == {"m1": "Whole answer"}
    assert (row.state, row.repeated) == ("sent", False)


async def test_a_crash_while_the_last_edit_is_made_repeats_the_edit_only() -> None:
    agent, chat = Told(), Board()
    async with House(agent, chat=chat) as house:
        await house.write(inbound("1", "hi"))
        agent.say("Half")
        await until(growing(chat, "Half"))
        agent.finish("Half and half")
        await over(house)
        await house.read(
            lambda: Delivery.objects.update(state="sending", lease_owner="main/dead", sent_at=None)
        )
    await in_thread(take_over, "main/another")
    async with House(agent, chat=chat) as house:
        (row,) = await over(house)
    assert chat.board == {"m1": "Half and half"}
    assert (row.state, row.repeated) == ("sent", False)


async def test_drafts_grow_and_the_answer_is_sent_once() -> None:
    agent, chat = Told(), Easel()
    async with House(agent, chat=chat) as house:
        await house.write(inbound("1", "hi"))
        agent.say("One")
        await until(lambda: chat.drawn)
        agent.say(" two")
        await until(lambda: len(chat.drawn) == 2)
        agent.finish()
        (row,) = await over(house)
    assert [text for _, text in chat.drawn] == ["One", "One two"]
    assert len({key for key, _ in chat.drawn}) == 1
    assert all(0 < len(key) <= 25 for key, _ in chat.drawn)
    assert chat.said == ["One two"]
    assert row.turn == ""


async def test_a_draft_is_shown_again_before_it_fades() -> None:
    class Fading(Easel):
        capabilities = Capabilities(text_limit=200, edit_seconds=0.01, draft_seconds=0.15)

    agent, chat = Told(), Fading()
    async with House(agent, chat=chat) as house:
        await house.write(inbound("1", "hi"))
        agent.say("One")
        await until(lambda: len(chat.drawn) >= 3)  # the agent thinks for longer than it lasts
        agent.finish()
        await over(house)
    assert {text for _, text in chat.drawn} == {"One"}
    assert chat.said == ["One"]


async def test_drafts_keep_the_pace_of_the_bot() -> None:
    """What is only a courtesy must not bring the platform's wrath on the messages."""

    class Paced(Easel):
        capabilities = Capabilities(
            text_limit=200, edit_seconds=0.01, bot_rate=Rate(per_second=1.0, burst=2)
        )

    agent, chat = Told(), Paced()
    async with House(agent, chat=chat) as house:
        await house.write(inbound("1", "hi"))
        for count, word in enumerate(("One", " two"), 1):
            agent.say(word)
            await until(lambda count=count: len(chat.drawn) == count)
        agent.say(" three")
        await asyncio.sleep(0.05)
        assert [text for _, text in chat.drawn] == ["One", "One two"]
        house.now += 10.0
        agent.finish()
        await over(house)
    assert chat.said == ["One two three"]


async def test_without_drafts_or_edits_nothing_is_shown_early() -> None:
    agent, chat = Told(), Easel()
    async with House(agent, chat=chat) as house:
        await house.write(inbound("1", "hi", chat_id="group-1", is_group=True))
        agent.say("One")
        await asyncio.sleep(0.05)
        agent.finish()
        await over(house)
    assert (chat.drawn, chat.said) == ([], ["One"])


@pytest.mark.parametrize("seen", [False, True])
def test_an_operators_stop_takes_back_a_beginning_that_nobody_has_seen(
    verbs: Verbs, seen: bool
) -> None:
    """It waited for its permit, and was sent although the answer had been stopped."""
    verbs.take_in(inbound("1", "hi"))
    turn = verbs.claim_one()
    open_previews([Preview(turn, "Half")])
    if seen:
        verbs.finish_deliveries([sent(claim) for claim in verbs.send()])
    assert operate.cancel_turns("ada", [turn.id]) == 1
    assert list(Delivery.objects.values_list("state", flat=True)) == (["sent"] if seen else [])
