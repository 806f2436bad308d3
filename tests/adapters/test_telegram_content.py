"""What Telegram takes and gives beyond texts: files, places, buttons, drafts, edits, presses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters._telegram_content import contents
from adapters._telegram_update import Me, read_update
from adapters._text import clean
from adapters.base import (
    Button,
    File,
    Inbound,
    Location,
    Media,
    Outbound,
    RateLimited,
    Refused,
    Transient,
    Unreadable,
    Unsupported,
    Unsure,
)
from adapters.telegram import TelegramAdapter
from tests.adapters.junk import broken
from tests.adapters.telegram_harness import TOKEN, TelegramHarness
from tests.fakes.telegram import FakeTelegram

FIXTURES = Path(__file__).parent.parent / "fixtures" / "telegram"


def out(text: str = "", chat: str = "5", **more: Any) -> Outbound:
    return Outbound("key1", chat, text, **more)


def stored(folder: Path, kind: str, content: bytes = b"content", name: str = "x.bin") -> File:
    path = folder / "stored"
    path.write_bytes(content)
    return File(kind, path, "application/octet-stream", name, len(content))


# --- files out ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("image", "sendPhoto"),
        ("video", "sendVideo"),
        ("audio", "sendAudio"),
        ("voice", "sendVoice"),
        ("animation", "sendAnimation"),
        ("file", "sendDocument"),
    ],
)
async def test_each_kind_goes_out_by_its_method(
    adapter: TelegramAdapter, fake: FakeTelegram, tmp_path: Path, kind: str, method: str
) -> None:
    receipt = await adapter.send(out("(again)", file=stored(tmp_path, kind)))
    (sent,) = fake.sent
    assert fake.calls[-1].method == method
    assert (sent.file, sent.text) == (b"content", "(again)")
    assert receipt.message_id == str(sent.message_id)


@pytest.mark.parametrize(
    ("mime", "text", "method"),
    [
        ("image/webp", "", "sendSticker"),
        ("video/webm", "", "sendSticker"),
        ("image/webp", "(again)", "sendDocument"),  # a sticker has no caption
        ("image/png", "", "sendDocument"),
    ],
)
async def test_a_sticker_is_one_where_it_can_be(
    adapter: TelegramAdapter, fake: FakeTelegram, tmp_path: Path, mime: str, text: str, method: str
) -> None:
    await adapter.send(out(text, file=replace(stored(tmp_path, "sticker"), mime=mime)))
    assert fake.calls[-1].method == method
    assert fake.sent[0].file == b"content"


async def test_a_large_file_arrives_whole_in_its_thread(
    adapter: TelegramAdapter, fake: FakeTelegram, tmp_path: Path
) -> None:
    content = bytes(range(256)) * 20_000
    file = stored(tmp_path, "file", content, 'an "odd"\r\nname.pdf')
    await adapter.send(out(file=file, target={"thread": 3, "reply_to": 7}, chat="-9"))
    (sent,) = fake.sent
    assert sent.file == content
    assert sent.params["message_thread_id"] == "3"
    assert sent.params["reply_parameters"]["message_id"] == 7


async def test_a_picture_that_is_none_for_telegram_goes_as_a_document(
    adapter: TelegramAdapter, fake: FakeTelegram, tmp_path: Path
) -> None:
    refusal = {"status": 400, "description": "Bad Request: PHOTO_INVALID_DIMENSIONS"}
    fake.fail("sendPhoto", **refusal)
    await adapter.send(out(file=stored(tmp_path, "image")))
    assert [call.method for call in fake.calls] == ["sendPhoto", "sendDocument"]
    assert len(fake.sent) == 1


async def test_who_blocked_the_bot_is_sent_no_file_a_second_time(
    adapter: TelegramAdapter, fake: FakeTelegram, tmp_path: Path
) -> None:
    fake.block(5)
    with pytest.raises(Refused, match="blocked"):
        await adapter.send(out(file=stored(tmp_path, "voice")))
    assert [call.method for call in fake.calls] == ["sendVoice"]


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ({"drop": "after"}, Unsure),
        ({"status": 502}, Unsure),
        ({"retry_after": 3}, RateLimited),
        ({"migrate_to": -1009}, None),
    ],
)
async def test_an_upload_fails_as_a_text_does(
    adapter: TelegramAdapter,
    fake: FakeTelegram,
    tmp_path: Path,
    what: dict[str, Any],
    error: type[Exception] | None,
) -> None:
    fake.fail("sendDocument", **what)
    message = out(file=stored(tmp_path, "file"), chat="-9")
    if error is None:
        assert (await adapter.send(message)).chat_id == "-1009"
        assert fake.sent[0].file == b"content"
        return
    with pytest.raises(error) as caught:
        await adapter.send(message)
    assert TOKEN not in str(caught.value)


# --- places and buttons -------------------------------------------------------


async def test_a_place_is_a_place_and_text_beside_it_is_not_lost(
    adapter: TelegramAdapter, fake: FakeTelegram
) -> None:
    await adapter.send(out(location=Location(52.5, 13.4)))
    await adapter.send(out(location=Location(52.5, 13.4, "here")))
    await adapter.send(out("(again)", location=Location(52.5, 13.4, "here")))
    methods = [call.method for call in fake.calls]
    assert methods == ["sendLocation", "sendVenue", "sendMessage"]
    assert fake.sent[0].params["latitude"] == "52.5"
    assert fake.texts() == ["", "here", "here: 52.5, 13.4\n(again)"]


async def test_a_button_comes_back_as_its_value_and_stops_to_wait(
    adapter: TelegramAdapter, fake: FakeTelegram
) -> None:
    await adapter.send(out("Which?", buttons=[Button("A", "first"), Button("B", "second")]))
    rows = fake.sent[0].params["reply_markup"]["inline_keyboard"]
    assert [[one["text"] for one in row] for row in rows] == [["A"], ["B"]]
    update = fake.press(5, fake.sent[0], "second")
    (found,) = adapter.parse(TelegramHarness().signed(json.dumps(update).encode()))
    assert isinstance(found, Inbound)
    assert (found.text, found.chat_id, found.user_id) == ("second", "5", "5")
    await adapter.acknowledge(found)
    assert fake.answered == fake.presses
    fake.forget_presses()
    with pytest.raises(Refused, match="too old"):
        await adapter.acknowledge(found)


async def test_other_messages_need_no_word_back(
    adapter: TelegramAdapter, fake: FakeTelegram
) -> None:
    await adapter.acknowledge(Inbound("5:1", "5", "5", "hi"))
    assert not fake.calls


@given(st.text(min_size=1, max_size=100))
def test_a_value_is_cut_to_what_telegram_takes(value: str) -> None:
    (row,) = contents(out("Which?", buttons=[Button("A", value)]), 4096).fields["reply_markup"][
        "inline_keyboard"
    ]
    cut = row[0]["callback_data"]
    assert len(cut.encode()) <= 64
    assert clean(value).startswith(cut)


# --- drafts and edits ---------------------------------------------------------


async def test_a_draft_grows_in_a_private_chat(
    adapter: TelegramAdapter, fake: FakeTelegram
) -> None:
    assert adapter.drafts("5", {})
    assert not adapter.drafts("-9", {})
    await adapter.draft(out("Hel"))
    await adapter.draft(out("Hello **you**"))
    ((_, shown),) = fake.drafts.items()
    assert shown == ["Hel", "Hello you"]
    await adapter.draft(Outbound("key2", "5", "another"))
    assert len(fake.drafts) == 2
    assert not fake.sent


async def test_an_edit_replaces_the_text_and_the_same_text_is_no_error(
    adapter: TelegramAdapter, fake: FakeTelegram
) -> None:
    receipt = await adapter.send(out("Hel", chat="-9"))
    for _ in range(2):
        await adapter.edit(out("Hello **you**", chat="-9"), receipt.message_id)
    assert fake.texts() == ["Hello you"]
    with pytest.raises(Refused, match="not found"):
        await adapter.edit(out("x", chat="-9"), "12345")
    fake.fail("editMessageText", retry_after=9)
    with pytest.raises(RateLimited):
        await adapter.edit(out("y", chat="-9"), receipt.message_id)


# --- files in -----------------------------------------------------------------


async def fetched(adapter: TelegramAdapter, handle: str) -> bytes:
    return b"".join([piece async for piece in adapter.fetch(Media("image", handle))])


async def test_a_file_is_fetched_in_two_steps(adapter: TelegramAdapter, fake: FakeTelegram) -> None:
    fake.files["F-1"] = b"png" * 100_000
    assert await fetched(adapter, "F-1") == fake.files["F-1"]


async def test_what_cannot_be_fetched_says_whether_to_try_again(
    adapter: TelegramAdapter, fake: FakeTelegram
) -> None:
    fake.files["F-1"] = b"x"
    fake.files["F-2"] = bytes(20 * 1024 * 1024 + 1)
    for handle, words in (("F-0", "file_id"), ("F-2", "too big")):
        with pytest.raises(Refused, match=words):
            await fetched(adapter, handle)
    for what in ({"status": 500}, {"drop": "before"}):
        fake.fail("getFile", **what)
        with pytest.raises(Transient):
            await fetched(adapter, "F-1")
    fake.fail("getFile", status=200, body=b'{"ok": true, "result": {"file_path": 7}}')
    with pytest.raises(Refused):
        await fetched(adapter, "F-1")


async def test_a_file_that_is_gone_is_refused_without_naming_the_token(
    adapter: TelegramAdapter, fake: FakeTelegram
) -> None:
    fake.fail("getFile", status=200, body=b'{"ok": true, "result": {"file_path": "a b/gone"}}')
    with pytest.raises(Refused) as caught:
        await fetched(adapter, "F-1")
    assert TOKEN not in repr(caught.value)


# --- anything at all ----------------------------------------------------------

UPDATES = [json.loads(path.read_text())["update"] for path in sorted(FIXTURES.glob("*.json"))]


@given(broken(UPDATES))
def test_no_update_breaks_the_reader(update: Any) -> None:
    if not isinstance(update, dict):
        return
    try:
        found = read_update(update, Me(7000000001, "fake_bot"))
    except (Unreadable, Unsupported):
        return
    assert found.user_id
