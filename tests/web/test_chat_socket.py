"""/ws/chat/ on a real gateway: messages in, the conversation out, nothing missing."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.guard import SLOW_DOWN
from tests.process import manage
from tests.web.house import House, Visitor


async def test_answer_arrives_in_pieces_and_then_as_history(house: House) -> None:
    async with house.guest().page() as page:
        await page.say("hello")
        call = await house.agent.call()
        assert call.asked == "hello"
        for token in ("One ", "two ", "three"):
            call.say(token)
            await page.until(lambda: page.live.get(call.turn) == call.text)
        call.finish()
        await page.until(lambda: ("assistant", "One two three") in page.shown)
        answer = next(m for m in page.messages.values() if m["role"] == "assistant")
        assert answer["turn"] == call.turn
        await page.until(lambda: page.states[call.turn] == "done")
        assert page.shown == [("user", "hello"), ("assistant", "One two three")]


async def test_accepted_means_stored(house: House) -> None:
    guest = house.guest()
    async with guest.page() as page:
        client_id = await page.say("keep this")
        rows = house.sql(
            "SELECT text FROM sessions_app_message WHERE external_id = ?",
            f"{guest.user_id}:{client_id}",
        )
        assert rows == [("keep this",)]


async def test_message_sent_again_is_stored_once(house: House) -> None:
    guest = house.guest()
    client_id = uuid.uuid4().hex
    async with guest.page() as page:
        await page.say("once", client_id)
    async with guest.page() as page:
        await page.say("once", client_id)
        assert page.shown == [("user", "once")]


async def test_reload_in_mid_answer_shows_all_of_it(house: House) -> None:
    guest = house.guest()
    async with guest.page() as page:
        await page.say("go on")
        call = await house.agent.call()
        call.say("Before the reload, ")
        await page.until(lambda: page.live.get(call.turn) == call.text)
    async with guest.page() as page:
        await page.until(lambda: page.live.get(call.turn) == call.text)
        call.say("and after.")
        await page.until(lambda: page.live.get(call.turn) == call.text)
        question = next(iter(page.messages.values()))
        snapshot = next(f for f in page.frames if f["type"] == "live")
        assert snapshot["offset"] == 0
        assert snapshot["seq"] > question["seq"]
        call.finish()
        await page.until(lambda: ("assistant", call.text) in page.shown)


async def test_long_answers_arrive_whole_live_and_as_history(house: House) -> None:
    guest = house.guest()
    wide = "\U0001f99e" * 60_000  # four bytes each, more than one frame
    async with guest.page() as page:
        for number in range(5):
            await page.say(f"number {number}")
            call = await house.agent.call()
            await page.until(lambda call=call: call.turn in page.live)  # the page watches it
            call.say(wide)
            call.finish()
            await page.until(lambda call=call: page.states.get(call.turn) == "done")
            assert page.live[call.turn] == wide
    for after in (0, min(page.messages)):
        async with guest.page(after) as page:
            while after == 0 and len(page.messages) < 10:
                await page.send(type="earlier", before=min(page.messages))
                await page.heard("history")
            await page.until(lambda page=page: len(page.messages) == 10)
            assert [text for role, text in page.shown if role == "assistant"] == [wide] * 5


async def test_reconnect_brings_what_was_missed_and_nothing_twice(house: House) -> None:
    guest = house.guest()
    async with guest.page() as page:
        await page.say("first")
        (await house.agent.call()).finish("answer one")
        await page.until(lambda: ("assistant", "answer one") in page.shown)
        newest = max(page.messages)
        await page.say("second")
    call = await house.agent.call()
    call.finish("answer two")
    async with guest.page(after=newest) as page:
        await page.until(lambda: ("assistant", "answer two") in page.shown)
        texts = [text for _, text in page.shown]
        assert texts == ["answer one", "second", "answer two"]  # the known one marks the place


async def test_reply_stands_behind_its_question_when_more_was_written(house: House) -> None:
    async with house.guest().page() as page:
        await page.say("question one")
        call = await house.agent.call()
        call.say("answer")
        await page.say("question two")
        call.finish("answer one")
        await page.until(lambda: len(page.shown) == 3)
        assert [text for _, text in page.shown] == ["question one", "answer one", "question two"]


async def test_text_before_a_failure_stays_and_is_there_after_a_reload(house: House) -> None:
    guest = house.guest()
    async with guest.page() as page:
        await page.say("break")
        call = await house.agent.call()
        call.say("As far as this")
        await page.until(lambda: page.live.get(call.turn) == call.text)
        call.break_off()
        await page.until(lambda: any(role == "system" for role, _ in page.shown))
        await page.until(lambda: page.states[call.turn] == "failed")
        assert page.live[call.turn] == "As far as this"
    async with guest.page() as page:
        roles = [role for role, _ in page.shown]
        assert roles == ["user", "assistant", "system"]
        partial = page.partial[call.turn]
        assert (partial["text"], partial["state"]) == ("As far as this", "failed")
    newest = max(page.messages)
    async with guest.page(after=newest) as page:
        assert call.turn in page.partial


async def test_both_pages_of_one_person_show_the_same(house: House) -> None:
    guest = house.guest()
    async with guest.page() as one, guest.page() as two:
        await one.say("seen everywhere")
        call = await house.agent.call()
        call.say("yes")
        await two.until(lambda: two.live.get(call.turn) == "yes")
        call.finish()
        for page in (one, two):
            await page.until(lambda page=page: ("assistant", "yes") in page.shown)
        assert one.shown == two.shown


async def test_one_person_sees_nothing_of_another(house: House) -> None:
    async with house.guest("Ada").page() as ada, house.guest("Bob").page() as bob:
        await ada.say("my secret")
        call = await house.agent.call()
        call.say("told to Ada")
        await ada.until(lambda: ada.live.get(call.turn) == "told to Ada")
        call.finish()
        await ada.until(lambda: ("assistant", "told to Ada") in ada.shown)
        await bob.send(type="earlier", before=max(ada.messages))
        await bob.send(type="resync", turn=call.turn)
        await bob.send(type="ping")
        await bob.heard("pong")
        assert bob.shown == []
        assert bob.live == {}


async def test_thoughts_of_the_agent_are_not_for_the_person(house: House) -> None:
    async with house.guest().page() as page:
        await page.say("think")
        call = await house.agent.call()
        call.think("hidden reasoning")
        call.say("Visible")
        call.finish()
        await page.until(lambda: ("assistant", "Visible") in page.shown)
        assert "hidden reasoning" not in str(page.frames)
        assert all("trace" not in frame for frame in page.frames)


async def test_a_new_conversation_is_followed(house: House) -> None:
    guest = house.guest()
    async with guest.page() as page:
        await page.say("old times")
        (await house.agent.call()).finish("old answer")
        await page.until(lambda: ("assistant", "old answer") in page.shown)
        house.sql(
            "UPDATE sessions_app_session SET state = 'terminated' WHERE chat_id = ?", guest.user_id
        )
        await page.say("new times")
        call = await house.agent.call()
        call.say("new ")
        await page.until(lambda: page.live.get(call.turn) == "new ")
        call.finish("new answer")
        await page.until(lambda: ("assistant", "new answer") in page.shown)
        sessions = {message["session"] for message in page.messages.values()}
        assert len(sessions) == 2
    async with guest.page() as page:
        texts = [text for _, text in page.shown]
        assert texts == ["old times", "old answer", "new times", "new answer"]


async def test_earlier_messages_can_be_paged_back_to_the_first(house: House) -> None:
    guest = house.guest()
    async with guest.page() as page:
        await page.say("number 0")
        (await house.agent.call()).finish("-")
        await page.until(lambda: ("assistant", "-") in page.shown)
    session = next(iter(page.messages.values()))["session"]
    for number in range(1, 130):
        house.sql(
            "INSERT INTO sessions_app_message (session_id, seq, role, origin, text, channel,"
            " sender, target, disposition, created_at)"
            " VALUES (?, ?, 'user', 'user', ?, 'webchat', '', '{}', '', '2026-01-02 03:04:05')",
            session, 1_000_000 + number, f"number {number}",
        )  # fmt: skip
    async with guest.page() as page:
        assert page.frames[0]["kind"] == "latest"
        more = page.frames[0]["more"]
        while more:
            known = len(page.messages)
            oldest = min(page.messages.values(), key=lambda message: message["seq"])
            await page.send(type="earlier", before=oldest["id"])
            more = (await page.heard("history"))["more"]
            assert len(page.messages) > known
        texts = [text for role, text in page.shown if role == "user"]
        assert texts == [f"number {number}" for number in range(130)]


@pytest.mark.parametrize(
    "frame",
    [
        "not json", "[]", "7", "null", '"text"', "{}", '{"type": "say"}', "[" * 60_000,
        '{"type": "say", "id": 7, "text": "x"}', '{"type": "say", "id": "a b", "text": "x"}',
        '{"type": "say", "id": "ok", "text": ["x"]}', '{"type": "hello", "after": "0"}',
        '{"type": "hello", "after": -1}', '{"type": "hello", "after": true}',
        '{"type": "earlier", "before": 1e400}', f'{{"type": "earlier", "before": {2**70}}}',
        '{"type": ["say"]}', '{"type": "unheard of"}',
    ],
)  # fmt: skip
async def test_bad_frames_are_answered_and_the_line_stays_up(house: House, frame: str) -> None:
    async with house.guest().page() as page:
        await page.socket.send(frame)
        assert (await page.heard("error"))["reason"]
        await page.send(type="ping")
        await page.heard("pong")


async def test_binary_frame_is_answered(house: House) -> None:
    async with house.guest().page() as page:
        await page.socket.send(b"\x00\xff")
        await page.heard("error")


@pytest.mark.parametrize(("text", "reason"), [("  \n ", "empty"), ("x" * 40_000, "longer than")])
async def test_messages_that_cannot_be_taken_are_refused_for_good(
    house: House, text: str, reason: str
) -> None:
    async with house.guest().page() as page:
        await page.send(type="say", id="a1", text=text)
        refused = await page.heard("refused")
        assert refused["id"] == "a1"
        assert reason in refused["reason"]
        assert refused["retry"] is False


async def test_what_a_database_cannot_keep_is_replaced(house: House) -> None:
    async with house.guest().page() as page:
        await page.socket.send(
            '{"type": "say", "id": "odd", "text": "a\\u0000b\\ud800c \\ud83e\\udd9e"}'
        )
        await page.until(lambda: bool(page.messages))
        assert page.shown == [("user", "a�b�c \U0001f99e")]


async def test_huge_frame_ends_only_this_connection(house: House) -> None:
    async with house.guest().page() as page:
        await page.socket.send("x" * 70_000)
        with pytest.raises(ConnectionClosed) as closed:
            await page.until(lambda: False)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
    async with house.guest().page():
        pass


def _refusals(page: Any) -> list[Any]:
    return [frame for frame in page.frames if frame["type"] == "refused"]


async def test_flood_is_slowed_then_cut_off(house: House) -> None:
    async with house.guest().page() as page:
        for number in range(40):
            await page.send(type="say", id=f"m{number}", text="again")
        refused: list[Any] = []
        await page.until(lambda: refused.extend(_refusals(page)) or refused)
        assert all(frame["retry"] for frame in refused)
        # who does not read meanwhile, may find the line cut before the reason was read
        flooding = asyncio.create_task(_flood(page))
        with pytest.raises(ConnectionClosed) as closed:
            await page.until(lambda: False)
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4429


async def _flood(page: Any) -> None:
    for _ in range(2_000):
        await page.send(type="ping")


async def test_anonymous_is_refused(house: House) -> None:
    for cookie in ("", "sessionid=nobody", "openclaw_guest=forged:signature"):
        with pytest.raises(InvalidStatus) as refused:
            async with Visitor(house, "", cookie).connect("/ws/chat/"):
                pass
        assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example.com", "http://127.0.0.1:1", "file://"]
)
@pytest.mark.parametrize("path", ["/ws/chat/", "/ws/live/"])
async def test_foreign_origin_is_refused(house: House, path: str, origin: str | None) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with house.login("staff").connect(path, origin=origin):
            pass
    assert refused.value.response.status_code == 403


async def test_unknown_socket_is_refused_quietly(house: House) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with house.login("staff").connect("/ws/nothing/"):
            pass
    assert refused.value.response.status_code == 403
    assert "nothing" not in house.gateway.log_text()


async def test_blocked_person_is_put_out_and_stays_out(house: House) -> None:
    guest = house.guest()
    async with guest.page() as page:
        await page.say("still here")
        house.sql(
            "UPDATE sessions_app_contact SET access = 'blocked' WHERE user_id = ?", guest.user_id
        )
        with pytest.raises(ConnectionClosed) as closed:
            await page.until(lambda: False)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4403
    with pytest.raises(InvalidStatus):
        async with guest.connect("/ws/chat/"):
            pass


async def test_account_without_staff_rights_may_chat(house: House) -> None:
    async with house.login("person").page() as page:
        await page.say("hi")
        await page.until(lambda: page.shown == [("user", "hi")])


async def test_closed_account_is_put_out(house: House) -> None:
    async with house.login("closed").page() as page:
        house.sql("UPDATE auth_user SET is_active = 0 WHERE username = 'closed'")
        with pytest.raises(ConnectionClosed) as closed:
            await page.until(lambda: False)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4403


async def test_one_person_has_a_bounded_number_of_pages(house: House) -> None:
    guest = house.guest()
    async with asyncio.timeout(20):
        pages = [await guest.connect("/ws/chat/") for _ in range(20)]
    with pytest.raises(InvalidStatus):
        await guest.connect("/ws/chat/")
    await asyncio.gather(*(page.close() for page in pages))
    async with guest.page():
        pass


async def test_who_is_not_let_in_or_writes_too_much_is_told_on_the_page() -> None:
    """A page that says "sent" of what nobody keeps would leave them waiting for ever."""
    with House.open(OPENCLAW_WEBCHAT_ACCESS="pairing", OPENCLAW_WEBCHAT_FLOOD="1") as strict:
        guest = strict.guest()
        async with guest.page() as page:
            await page.send(type="say", id="one", text="let me in")
            refused = await page.heard("refused")
            assert (refused["id"], refused["retry"]) == ("one", False)
            ((code,),) = strict.sql("SELECT code FROM gateway_pairingcode")
            assert f"{code[:4]}-{code[4:]}" in refused["reason"]
            manage("pair", code, data_dir=strict.gateway.data_dir)
            await page.say("first")
            await page.send(type="say", id="two", text="second")
            refused = await page.heard("refused")
            assert (refused["id"], refused["retry"]) == ("two", False)
            await page.until(lambda: ("system", SLOW_DOWN) in page.shown)
        assert strict.sql("SELECT text FROM sessions_app_message WHERE role = 'user'") == [
            ("first",)
        ]
