"""iMessage on the Mac itself: a real SQLite file of Messages' schema and a stand-in program."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters import _imessage_db, _imessage_mac, _imessage_read
from adapters._imessage_place import Place, first_place, place_of
from adapters._imessage_text import person, target_of, text_of
from adapters.base import (
    ChannelDown,
    Cursor,
    File,
    Forbidden,
    Inbound,
    Media,
    Outbound,
    Quote,
    Refused,
    Request,
    SendError,
    Transient,
    Unsure,
)
from adapters.imessage import ImessageAdapter, ImessageConfig
from tests.adapters.test_contract import RecordingInlet
from tests.fakes._attributed import attributed
from tests.fakes.imessage import FakeMac

CHAT = "iMessage;-;+15550000005"
GROUP = "iMessage;+;chat123"


@pytest.fixture(params=[False, True], ids=["new", "old"])
def mac(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FakeMac]:
    """A Mac of today, and one before macOS 10.13 with fewer columns."""
    with FakeMac(tmp_path / "mac", old=request.param) as found:
        yield found


@pytest.fixture
def new_mac(tmp_path: Path) -> Iterator[FakeMac]:
    with FakeMac(tmp_path / "mac") as found:
        yield found


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_imessage_read, "IDLE_POLL_SECONDS", 0.01)
    monkeypatch.setattr(_imessage_read, "GRACE_SECONDS", 60.0)
    monkeypatch.setattr(_imessage_mac, "LOOK_AGAIN_SECONDS", 0.01)


@pytest.fixture
def impatient(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """For what never comes: what is waited for in vain takes no time."""
    monkeypatch.setattr(_imessage_read, "GRACE_SECONDS", 0.05)
    monkeypatch.setattr(_imessage_mac, "CONFIRM_SECONDS", 0.05)


def adapter_on(mac: FakeMac, **changes: str) -> ImessageAdapter:
    values = {
        "db": str(mac.db),
        "osascript": str(mac.osascript),
        "folder": str(mac.folder / "pictures"),
        "name": "Pi",
    }
    return ImessageAdapter(ImessageConfig(**{**values, **changes}), httpx.AsyncHTTPTransport())


def out(text: str = "", key: str = "key1", chat: str = CHAT, **more: Any) -> Outbound:
    return Outbound(key, chat, text, **more)


class Listening:
    """A listener that runs while the block lasts."""

    def __init__(self, adapter: ImessageAdapter, inlet: RecordingInlet) -> None:
        self.adapter, self.inlet = adapter, inlet

    async def __aenter__(self) -> Listening:
        self.task = asyncio.create_task(self.adapter.listen(self.inlet))
        await self.until(lambda: self.inlet.position)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def until(self, holds: Any, seconds: float = 20.0) -> None:
        async with asyncio.timeout(seconds):
            while not holds():
                if self.task.done():
                    self.task.result()
                await asyncio.sleep(0.01)

    async def got(self, count: int) -> list[Inbound]:
        await self.until(lambda: len(self.inlet.arrivals) >= count)
        await asyncio.sleep(0.1)
        found = [one for one in self.inlet.arrivals if isinstance(one, Inbound)]
        assert len(found) == count
        return found


# --- reading ------------------------------------------------------------------


async def test_the_very_first_start_begins_when_the_channel_is_opened(mac: FakeMac) -> None:
    mac.say(5, "before us")
    adapter = adapter_on(mac)
    await adapter.open(None)
    mac.say(5, "while the listener starts")
    async with Listening(adapter, RecordingInlet()) as line:
        assert [one.text for one in await line.got(1)] == ["while the listener starts"]


async def test_reads_what_comes_in_its_order_and_not_what_was_there(mac: FakeMac) -> None:
    mac.say(5, "before us")
    inlet = RecordingInlet()
    async with Listening(adapter_on(mac), inlet) as line:
        rows = [mac.say(5 + number % 2, f"m{number}") for number in range(5)]
        found = await line.got(5)
    assert [one.text for one in found] == ["m0", "m1", "m2", "m3", "m4"]
    first = found[0]
    assert first.external_id == mac.guid(rows[0])
    assert (first.user_id, first.chat_id) == ("+15550000005", CHAT)
    assert not first.is_group
    assert first.sent_at is not None
    assert abs(first.sent_at.timestamp() - time.time()) < 60


async def test_goes_on_where_it_was(mac: FakeMac) -> None:
    inlet = RecordingInlet()
    async with Listening(adapter_on(mac), inlet) as line:
        mac.say(5, "one")
        await line.got(1)
    mac.say(5, "while we were away")
    async with Listening(adapter_on(mac), inlet) as line:
        found = await line.got(2)
    assert found[1].text == "while we were away"


@pytest.mark.parametrize(
    "columns",
    [
        {"is_from_me": 1},
        {"item_type": 1},
        {"item_type": 2},
        {"item_type": 3},
        {"associated_message_type": 3000},
        {"associated_message_type": 2999},
        {"associated_message_type": 1},
    ],
    ids=str,
)
async def test_what_is_no_message_is_passed_over(mac: FakeMac, columns: dict[str, int]) -> None:
    inlet = RecordingInlet()
    async with Listening(adapter_on(mac), inlet) as line:
        mac.say(5, "not this", **columns)
        mac.say(5, "this")
        (found,) = await line.got(1)
    assert found.text == "this"


async def test_reactions_are_passive_and_name_what_they_are_about(new_mac: FakeMac) -> None:
    inlet = RecordingInlet()
    async with Listening(adapter_on(new_mac), inlet) as line:
        about = new_mac.say(5, "our dinner", is_from_me=1)
        target = f"p:0/{new_mac.guid(about)}"
        for kind in range(2000, 2006):
            new_mac.say(5, "Loved", associated_message_type=kind, associated_message_guid=target)
        new_mac.say(
            5, "x", associated_message_type=2006, associated_message_guid="bp:gone",
            associated_message_emoji="🦊",
        )  # fmt: skip
        found = await line.got(7)
    texts = [one.text for one in found]
    assert texts == [f"reacted {emoji}" for emoji in ("❤️", "👍", "👎", "😂", "‼️", "❓", "🦊")]
    assert all(one.passive and not one.addressed for one in found)
    assert found[0].quote == Quote("our dinner", "", new_mac.guid(about))
    assert found[6].quote is None


async def test_groups_are_for_us_when_named_or_answered(new_mac: FakeMac) -> None:
    inlet = RecordingInlet()
    async with Listening(adapter_on(new_mac), inlet) as line:
        ours = new_mac.say(5, "I am Pi", chat=GROUP, is_from_me=1)
        theirs = new_mac.say(6, "and I am not", chat=GROUP)
        new_mac.say(5, "what do you think, @pi?", chat=GROUP)
        new_mac.say(5, "pieces of it", chat=GROUP)
        new_mac.say(5, "why?", chat=GROUP, thread_originator_guid=new_mac.guid(ours))
        new_mac.say(5, "oh", chat=GROUP, thread_originator_guid=new_mac.guid(theirs))
        found = await line.got(5)
    assert [one.addressed for one in found] == [False, True, False, True, False]
    assert all(one.is_group and one.chat_id == GROUP for one in found)
    assert found[3].quote == Quote("I am Pi", "", new_mac.guid(ours))


async def test_in_groups_commands_are_for_us_with_our_name_or_without(new_mac: FakeMac) -> None:
    inlet = RecordingInlet()
    said = (
        "Pi /new",
        "@pi, /remind in 1 h tea",
        "/stop",
        "pi is round",
        "and/or",
        "/ no",
        "x /new",
    )
    async with Listening(adapter_on(new_mac), inlet) as line:
        for text in said:
            new_mac.say(5, text, chat=GROUP)
        found = await line.got(len(said))
    assert [(one.text, one.addressed) for one in found] == [
        ("/new", True),
        ("/remind in 1 h tea", True),
        ("/stop", True),
        ("pi is round", True),
        ("and/or", False),
        ("/ no", False),
        ("x /new", False),
    ]


async def test_a_sticker_is_a_message_unless_it_lies_on_one(new_mac: FakeMac) -> None:
    inlet = RecordingInlet()
    async with Listening(adapter_on(new_mac), inlet) as line:
        about = new_mac.say(5, "our dinner", is_from_me=1)
        for target in (f"p:0/{new_mac.guid(about)}", None):
            sticker = new_mac.attach("fox.heic", b"fox", "image/heic", is_sticker=1)
            new_mac.say(
                5, "\ufffc", files=[sticker], associated_message_type=1000,
                associated_message_guid=target,
            )  # fmt: skip
        lying, sent = await line.got(2)
    assert (lying.text, lying.passive, lying.addressed) == ("reacted with a sticker", True, False)
    assert lying.quote == Quote("our dinner", "", new_mac.guid(about))
    assert (sent.passive, sent.addressed, sent.media[0].kind) == (False, True, "sticker")


async def test_files_come_as_handles_and_are_read_from_messages_own_folder(mac: FakeMac) -> None:
    inlet, adapter = RecordingInlet(), adapter_on(mac)
    async with Listening(adapter, inlet) as line:
        picture = mac.attach("IMG 1.jpeg", b"picture" * 50_000, "image/jpeg")
        voice = mac.attach("Audio Message.caf", b"caff", "")
        mac.say(5, "\ufffclook\ufffc", files=[picture, voice])
        (found,) = await line.got(1)
    assert found.text == "look"
    assert [(one.kind, one.name) for one in found.media] == [
        ("image", "IMG 1.jpeg"),
        ("voice", "Audio Message.caf"),
    ]
    content = [piece async for piece in adapter.fetch(found.media[0])]
    assert b"".join(content) == b"picture" * 50_000


@pytest.mark.parametrize(
    "handle",
    ["/etc/passwd", "~/Library/Messages/chat.db", "~/Library/Messages/Attachments/../chat.db", ""],
)
async def test_no_other_file_is_read(new_mac: FakeMac, handle: str) -> None:
    with pytest.raises(Refused):
        _ = [piece async for piece in adapter_on(new_mac).fetch(Media("file", handle))]


async def test_a_file_that_is_still_on_its_way_is_worth_another_try(new_mac: FakeMac) -> None:
    handle = "~/Library/Messages/Attachments/ab/later.png"
    with pytest.raises(Transient):
        _ = [piece async for piece in adapter_on(new_mac).fetch(Media("file", handle))]


async def test_a_row_that_is_still_being_written_is_waited_for(mac: FakeMac) -> None:
    inlet = RecordingInlet()
    async with Listening(adapter_on(mac), inlet) as line:
        row = mac.say(5, None, joined=False)
        mac.say(6, "behind it")
        await asyncio.sleep(0.1)
        assert inlet.arrivals == []
        mac.change(row, attributedBody=attributed("here I am"))
        mac.join(row, CHAT)
        found = await line.got(2)
    assert [one.text for one in found] == ["here I am", "behind it"]


@pytest.mark.usefixtures("impatient")
async def test_a_row_that_never_gets_its_chat_blocks_nobody(mac: FakeMac) -> None:
    inlet = RecordingInlet()
    async with Listening(adapter_on(mac), inlet) as line:
        mac.say(5, "nowhere", joined=False)
        mac.say(6, "behind it")
        (found,) = await line.got(1)
    assert found.text == "behind it"


async def test_old_messages_of_another_device_are_not_answered(mac: FakeMac) -> None:
    inlet = RecordingInlet()
    async with Listening(adapter_on(mac), inlet) as line:
        mac.say(5, "from last year", date=mac.stamp(time.time() - 300 * 24 * 3600))
        mac.say(5, "from now")
        (found,) = await line.got(1)
    assert found.text == "from now"


class WallClock:
    """Time that a test moves; the listener's looks go on meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        monkeypatch.setattr(_imessage_read, "now", self)

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    return WallClock(monkeypatch)


async def test_what_was_sent_while_the_mac_slept_is_answered_in_any_order(
    new_mac: FakeMac, wall: WallClock
) -> None:
    inlet = RecordingInlet()
    async with Listening(adapter_on(new_mac), inlet) as line:
        began = time.time()
        wall.ahead = 8 * 3600.0  # it slept
        new_mac.say(5, "now", date=new_mac.stamp(wall()))
        await line.got(1)  # it looked after it woke up; the rest is still on its way
        new_mac.say(5, "in the night", date=new_mac.stamp(began + 3600))
        new_mac.say(5, "in the evening", date=new_mac.stamp(began + 60))
        new_mac.say(5, "from last year", date=new_mac.stamp(began - 300 * 24 * 3600))
        new_mac.say(5, "and now", date=new_mac.stamp(wall()))
        found = await line.got(4)
    assert [one.text for one in found] == ["now", "in the night", "in the evening", "and now"]


def looks(place: Place, start: float, seconds: float) -> float:
    """A reader that looks every second and finds nothing; when it last did."""
    for second in range(int(seconds)):
        place.oldest(start + second)
        place.looked(start + second, [])
    return start + seconds


def test_what_was_sent_while_the_network_was_away_is_answered() -> None:
    start = 1_700_000_000.0
    place = first_place(7, start)
    at = looks(place, start, 3 * 3600)  # looking all the time, and nothing comes
    assert place.oldest(at) < start
    place.looked(at, [at])
    assert place.oldest(at + 60) < start  # others that are older may follow
    at = looks(place, at, 1300)
    assert place.oldest(at) == pytest.approx(at - 1300 - 600, abs=2)


def test_after_a_quiet_month_nothing_older_than_a_day_is_answered() -> None:
    start = 1_700_000_000.0
    place = first_place(7, start)
    for day in range(31 * 24 * 60):
        place.oldest(start + 60 * day)
        place.looked(start + 60 * day, [])
    now = start + 31 * 24 * 3600
    assert place.oldest(now) == pytest.approx(now - 24 * 3600 - 600)


def test_a_break_is_made_good_for_an_hour_and_breaks_add_up() -> None:
    start = 1_700_000_000.0
    place = first_place(7, start)
    place.looked(start, [start])
    for at in (start + 3 * 24 * 3600, start + 3 * 24 * 3600 + 1800):
        assert place.oldest(at) == start - 600
        place.looked(at, [at])
    at = looks(place, start + 3 * 24 * 3600 + 1800, 5400)
    assert place.oldest(at) > start + 2 * 24 * 3600


def test_a_place_of_an_earlier_version_is_understood() -> None:
    place = place_of(Cursor('{"row": 7, "edited": 3, "seen": 1700000000.0}', 0.0))
    assert place is not None
    assert (place.row, place.edited) == (7, 3)
    assert place.oldest(1700000000.0 + 7200) == 1700000000.0 + 7200 - 24 * 3600 - 600


async def test_a_database_that_was_built_anew_is_read_from_its_beginning(mac: FakeMac) -> None:
    inlet = RecordingInlet()
    mac.say(5, "long before", date=mac.stamp(time.time() - 3600))
    mac.say(5, "just before")
    later = [mac.say(6, f"gone {number}") for number in range(5)]
    async with Listening(adapter_on(mac), inlet):
        pass
    for row in later:
        mac.forget(row)
    async with Listening(adapter_on(mac), inlet) as line:
        await line.got(1)
        mac.say(5, "after")
        found = await line.got(2)
    # "just before" may have been seen under another row: its guid tells
    assert [one.text for one in found] == ["just before", "after"]


async def test_edits_are_seen_although_they_make_no_row(new_mac: FakeMac) -> None:
    inlet = RecordingInlet()
    async with Listening(adapter_on(new_mac), inlet) as line:
        row = new_mac.say(5, "helo")
        await line.got(1)
        new_mac.change(row, attributedBody=attributed("hello"), date_edited=new_mac.stamp())
        found = await line.got(2)
        await asyncio.sleep(0.1)
    assert (found[1].text, found[1].is_edit) == ("hello", True)
    assert found[1].external_id == found[0].external_id
    assert len(inlet.arrivals) == 2


async def test_what_was_unsent_has_no_text_any_more(new_mac: FakeMac) -> None:
    inlet = RecordingInlet()
    async with Listening(adapter_on(new_mac), inlet) as line:
        row = new_mac.say(5, "too fast")
        await line.got(1)
        stamp = new_mac.stamp()
        new_mac.change(row, attributedBody=None, date_edited=stamp, date_retracted=stamp)
        found = await line.got(2)
    assert (found[1].text, found[1].is_edit) == ("", True)


async def test_a_cursor_that_cannot_be_read_starts_at_the_end(new_mac: FakeMac) -> None:
    new_mac.say(5, "before us")
    inlet = RecordingInlet()
    inlet.position = Cursor("12 monkeys", 0.0)
    async with Listening(adapter_on(new_mac), inlet) as line:
        await line.until(lambda: inlet.position and inlet.position.value.startswith("{"))
        assert inlet.arrivals == []


@pytest.mark.parametrize("blob", [b"", b"\x04\x0bstreamtyped", attributed("x" * 50)[:90], b"\0\1"])
def test_a_body_that_is_broken_is_no_text(blob: bytes) -> None:
    assert text_of(None, blob) == ""


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_body_breaks_the_reader(blob: bytes) -> None:
    assert isinstance(text_of(None, b"\x04\x0bstreamtyped\x81\xe8\x03" + blob), str)


@settings(deadline=None)
@given(st.text(max_size=400))
def test_any_text_comes_out_of_its_body(text: str) -> None:
    expected = text.replace("\0", "").replace("\ufffc", "").strip()
    assert text_of(None, attributed(text)) == expected


def test_ids_are_stable() -> None:
    assert person(" Ann@Example.COM ") == "ann@example.com"
    assert target_of("p:2/ABC-1") == target_of("bp:ABC-1") == target_of("ABC-1") == "ABC-1"
    assert target_of(None) == ""


# --- sending ------------------------------------------------------------------


async def test_a_send_counts_when_its_row_is_there(mac: FakeMac) -> None:
    receipt = await adapter_on(mac).send(out("hello **you**"))
    (sent,) = mac.sent
    assert (sent.text, sent.guid) == ("hello you", receipt.message_id)
    assert mac.scripts == [["person", "iMessage", "+15550000005", "text", "hello you"]]


async def test_groups_and_text_messages_are_reached_in_their_way(new_mac: FakeMac) -> None:
    new_mac.say(5, "hi", chat="any;+;chat123")
    adapter = adapter_on(new_mac)
    await adapter.send(out("to all", chat=GROUP))
    await adapter.send(out("by telephone", "key2", chat="SMS;-;+15550000005"))
    assert new_mac.scripts[0][:3] == ["group", "iMessage", ";chat123"]
    assert new_mac.scripts[1][:3] == ["person", "SMS", "+15550000005"]
    with pytest.raises(Refused, match="no such"):
        await adapter.send(out("x", "key3", chat="iMessage;+;nobody"))


@pytest.mark.parametrize(
    ("service", "account"),
    [("SMS", "SMS"), ("RCS", "SMS"), ("iMessage", "iMessage"), ("iMessageLite", "iMessage")],
)
async def test_an_answer_goes_back_by_the_service_that_the_message_came_by(
    new_mac: FakeMac, service: str, account: str
) -> None:
    inlet, adapter, chat = RecordingInlet(), adapter_on(new_mac), "any;-;+15550000005"
    async with Listening(adapter, inlet) as line:
        new_mac.say(5, "hi", chat=chat, service=service)
        (found,) = await line.got(1)
    await adapter.send(out("hello", chat=chat, target=found.target))
    assert new_mac.scripts[0][:3] == ["person", account, "+15550000005"]


@settings(max_examples=6, deadline=None)
@given(st.text(min_size=1, max_size=200).filter(lambda text: text.strip(" \t\n\r\0\ufffc")))
async def test_no_text_becomes_a_command(tmp_path_factory: Any, text: str) -> None:
    with FakeMac(tmp_path_factory.mktemp("m") / "mac") as mac:
        for words in (text, '" & (do shell script "touch /tmp/x") & "', "-e", "--", "\\"):
            await adapter_on(mac).send(Outbound("key", CHAT, words, plain=True))
            assert mac.scripts[-1][4] == words.replace("\0", "")


async def test_a_file_is_laid_where_messages_may_read_it(mac: FakeMac, tmp_path: Path) -> None:
    (tmp_path / "stored.png").write_bytes(b"picture")
    file = File("image", tmp_path / "stored.png", "image/png", "the cat.png", 7)
    receipt = await adapter_on(mac).send(out("(again)", file=file))
    assert [one.text for one in mac.sent] == ["(again)", ""]
    assert mac.sent[1].file == b"picture"
    assert receipt.message_id == mac.sent[1].guid
    laid = Path(mac.scripts[1][4])
    assert laid == mac.folder / "pictures" / "key1" / "file" / "the cat.png"


@pytest.mark.usefixtures("impatient")
async def test_a_file_named_like_our_note_takes_nothing_from_it(
    new_mac: FakeMac, tmp_path: Path
) -> None:
    (tmp_path / "stored").write_bytes(b"7")
    part = out(file=File("file", tmp_path / "stored", "application/json", "before.json", 1))
    adapter = adapter_on(new_mac)
    new_mac.say(6, "something before it")
    await adapter.send(part)
    assert new_mac.sent[0].file == b"7"
    receipt = await adapter.settle(part)
    assert receipt is not None
    assert receipt.message_id == new_mac.sent[0].guid


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ({"number": -1743}, ChannelDown, "Automation, allow"),
        ({"number": -1728}, Refused, "no such person"),
        ({"number": -1700}, Refused, "no such person"),
        ({"number": -600}, Transient, "not running"),
        ({"number": -1712, "sent": True}, Unsure, "failed"),
        ({"number": -9999}, Unsure, "failed"),
        ({"silent": True}, Unsure, "has not sent it"),
        ({"error": 22}, Refused, "error 22"),
    ],
    ids=str,
)
async def test_each_failed_send_says_what_kind_it_is(
    new_mac: FakeMac, fault: dict[str, Any], error: type[SendError], words: str
) -> None:
    new_mac.fail(**fault)
    with pytest.raises(error, match=words) as caught:
        await adapter_on(new_mac).send(out("private words"))
    assert type(caught.value) is error
    assert "private" not in caught.value.detail


async def test_messages_that_does_not_answer_is_unsure_and_its_script_is_ended(
    new_mac: FakeMac, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_imessage_mac, "SCRIPT_SECONDS", 0.3)
    new_mac.fail(seconds=2.0)
    with pytest.raises(Unsure, match="does not answer"):
        await adapter_on(new_mac).send(out("hello"))


async def test_without_the_program_or_the_permission_it_says_so(
    new_mac: FakeMac, tmp_path: Path
) -> None:
    with pytest.raises(ChannelDown, match="cannot be started"):
        await adapter_on(new_mac, osascript=str(tmp_path / "none")).send(out("hello"))
    with pytest.raises(ChannelDown, match="is this a Mac"):
        await adapter_on(new_mac, osascript=str(tmp_path / "none")).probe()
    adapter = adapter_on(new_mac, db=str(tmp_path / "none.db"))
    for work in (adapter.open(None), adapter.probe(), adapter.send(out("hello"))):
        with pytest.raises(ChannelDown, match="Full Disk Access, allow"):
            await work
    new_mac.fail(number=-1743)
    with pytest.raises(ChannelDown, match="Automation"):
        await adapter_on(new_mac).probe()
    assert await adapter_on(new_mac).probe() == (
        "chat.db has 0 messages; Messages answers as bot@example.com"
    )


# --- after a crash ------------------------------------------------------------


async def test_what_was_sent_is_found_by_its_row(new_mac: FakeMac) -> None:
    adapter = adapter_on(new_mac)
    assert await adapter.settle(out("hello")) is None  # the script was never started
    earlier = await adapter.send(out("hello", "key0"))
    new_mac.fail(number=-1712, sent=True)
    with pytest.raises(Unsure):
        await adapter.send(out("hello", "key1"))
    found = await adapter_on(new_mac).settle(out("hello", "key1"))
    assert found is not None
    assert found.message_id == new_mac.sent[1].guid != earlier.message_id


@pytest.mark.usefixtures("impatient")
async def test_the_same_words_of_an_earlier_part_are_not_taken_for_this_one(
    new_mac: FakeMac,
) -> None:
    adapter = adapter_on(new_mac)
    await adapter.send(out("ok", "key0"))
    new_mac.fail(silent=True)
    with pytest.raises(Unsure):
        await adapter.send(out("ok", "key1"))
    assert await adapter.settle(out("ok", "key1")) is None


@pytest.mark.usefixtures("impatient")
async def test_what_hangs_in_messages_may_be_sent_yet(new_mac: FakeMac) -> None:
    adapter = adapter_on(new_mac)
    new_mac.fail(number=-1712, times=2)
    with pytest.raises(Unsure):
        await adapter.send(out("hello"))
    with pytest.raises(Unsure, match="-1712"):
        await adapter.settle(out("hello"))
    assert await adapter.settle(out("hello")) is None  # now it answers, and has not sent it


@pytest.mark.usefixtures("impatient")
async def test_without_a_look_at_the_database_nothing_is_settled(
    new_mac: FakeMac, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = adapter_on(new_mac)
    new_mac.fail(silent=True)
    with pytest.raises(Unsure):
        await adapter.send(out("hello"))
    monkeypatch.setattr(_imessage_db, "BUSY_SECONDS", 0.0)
    with closing(sqlite3.connect(new_mac.db)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Unsure, match="busy"):
            await adapter.settle(out("hello"))
    assert await adapter.settle(out("hello")) is None


async def test_a_script_that_is_still_at_work_is_waited_for(new_mac: FakeMac) -> None:
    adapter = adapter_on(new_mac)
    adapter._mac._note("key1", 0)
    settling = asyncio.create_task(adapter.settle(out("late")))
    await asyncio.sleep(0.1)
    await asyncio.to_thread(
        new_mac._deliver, "person", "iMessage", "+15550000005", "text", "late", error=0
    )
    assert (await settling) is not None


async def test_what_messages_could_not_deliver_is_refused_when_it_is_settled(
    new_mac: FakeMac,
) -> None:
    adapter = adapter_on(new_mac)
    new_mac.fail(error=22)
    with pytest.raises(Refused):
        await adapter.send(out("hello"))
    with pytest.raises(Refused, match="22"):
        await adapter.settle(out("hello"))


async def test_notes_of_old_sends_go(new_mac: FakeMac) -> None:
    adapter = adapter_on(new_mac)
    await adapter.send(out("hello", "old"))
    await adapter.send(out("hello", "new"))
    folder = new_mac.folder / "pictures"
    (folder / "holiday.jpg").write_bytes(b"not ours")
    past = time.time() - 61 * 24 * 3600
    for name in ("old", "holiday.jpg"):
        os.utime(folder / name, (past, past))
    await adapter.open(None)
    assert sorted(path.name for path in folder.iterdir()) == ["holiday.jpg", "new"]


async def test_after_a_weekend_a_file_is_gone_and_the_note_still_tells_that_it_was_sent(
    new_mac: FakeMac, tmp_path: Path
) -> None:
    (tmp_path / "stored").write_bytes(b"content")
    part = out(file=File("file", tmp_path / "stored", "text/plain", "plan.txt", 7))
    new_mac.fail(number=-1712, sent=True)
    with pytest.raises(Unsure):
        await adapter_on(new_mac).send(part)
    place = new_mac.folder / "pictures" / "key1"
    past = time.time() - 3 * 24 * 3600
    os.utime(place, (past, past))
    adapter = adapter_on(new_mac)
    await adapter.open(None)
    assert [path.name for path in place.iterdir()] == ["before.json"]
    found = await adapter.settle(part)
    assert found is not None
    assert found.message_id == new_mac.sent[0].guid


def test_there_is_no_webhook_on_a_mac(new_mac: FakeMac) -> None:
    with pytest.raises(Forbidden):
        adapter_on(new_mac).verify(Request("POST", {}, {"secret": ""}, b"{}"))


def test_times_are_read_in_both_units() -> None:
    assert _imessage_db.unix(0) == 0.0
    assert _imessage_db.unix(721_692_800) == 1_700_000_000.0
    assert _imessage_db.unix(721_692_800 * 10**9) == 1_700_000_000.0
