"""iMessage by BlueBubbles: every event, what a webhook missed, sends and what became of them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given

from adapters.base import (
    ChannelDown,
    Cursor,
    File,
    Inbound,
    Media,
    Outbound,
    Refused,
    Rejected,
    Transient,
    Unreadable,
    Unsupported,
    Unsure,
)
from adapters.imessage import ImessageAdapter, ImessageConfig
from tests.adapters.imessage_harness import ImessageHarness
from tests.adapters.junk import broken
from tests.adapters.test_contract import RecordingInlet
from tests.fakes.bluebubbles import PASSWORD, SECRET, FakeBlueBubbles

FIXTURES = sorted((Path(__file__).parent.parent / "fixtures" / "imessage").glob("*.json"))
CHAT = "iMessage;-;+15550000005"
GARDEN = {"guid": "iMessage;+;chat123456789", "style": 43, "displayName": "Garden"}


@pytest.fixture
async def at() -> AsyncIterator[ImessageHarness]:
    async with ImessageHarness() as found:
        yield found


@pytest.fixture
def fake(at: ImessageHarness) -> FakeBlueBubbles:
    return at.fake


@pytest.fixture
def adapter(at: ImessageHarness, transport: httpx.AsyncBaseTransport) -> ImessageAdapter:
    return ImessageAdapter(at.config(name="Pi"), transport)


def out(text: str = "", key: str = "key1", **more: Any) -> Outbound:
    return Outbound(key, CHAT, text, **more)


# --- what comes in ------------------------------------------------------------


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_reads_each_kind(path: Path, adapter: ImessageAdapter, at: ImessageHarness) -> None:
    case = json.loads(path.read_text())
    request = at.signed(json.dumps(case["event"]).encode())
    adapter.verify(request)
    if case.get("ignored"):
        with pytest.raises(Unsupported):
            adapter.parse(request)
        return
    (found,) = adapter.parse(request)
    if "set_aside" in case:
        assert isinstance(found, Rejected)
        assert found.external_id == case["set_aside"]
        assert json.loads(found.payload) == case["event"]["data"]
        return
    assert isinstance(found, Inbound)
    shown = json.loads(json.dumps(asdict(found), default=lambda value: value.isoformat()))
    assert {name: shown[name] for name in case["inbound"]} == case["inbound"]


EVENTS = [json.loads(path.read_text())["event"] for path in FIXTURES]


@given(broken(EVENTS))
def test_no_event_breaks_the_reader(event: Any) -> None:
    adapter = ImessageAdapter(ImessageConfig(mode="bluebubbles"), httpx.AsyncHTTPTransport())
    if not isinstance(event, dict) or not isinstance(event.get("data"), dict):
        return
    assert adapter._blue is not None
    try:
        found = adapter._blue.events.read(event["data"])
    except (Unreadable, Unsupported):
        return
    assert isinstance(found, Inbound)


async def test_the_webhook_is_registered_once_and_its_address_holds_the_secret(
    adapter: ImessageAdapter, fake: FakeBlueBubbles
) -> None:
    for _ in range(2):
        await adapter.open("http://127.0.0.1:1/webhooks/imessage")
    (hook,) = fake.webhooks
    assert hook["url"] == f"http://127.0.0.1:1/webhooks/imessage?secret={SECRET}"
    assert hook["events"] == ["new-message", "updated-message"]


async def test_without_a_secret_or_an_address_there_is_no_webhook(
    at: ImessageHarness, fake: FakeBlueBubbles, transport: httpx.AsyncBaseTransport
) -> None:
    await ImessageAdapter(at.without_secret(), transport).open("http://127.0.0.1:1/x")
    await ImessageAdapter(at.config(), transport).open(None)
    assert fake.webhooks == []


# --- what the webhook missed --------------------------------------------------


class Patient(RecordingInlet):
    """Keeps what was told to fail."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def failing(self, detail: str) -> None:
        self.told.append(detail)


async def listening(adapter: ImessageAdapter, inlet: RecordingInlet, holds: Any) -> None:
    task = asyncio.create_task(adapter.listen(inlet))
    try:
        async with asyncio.timeout(5):
            while not holds():
                await asyncio.sleep(0.01)
                assert not task.done() or task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_was_missed_is_asked_for_from_the_last_time_on(
    adapter: ImessageAdapter, fake: FakeBlueBubbles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters._imessage_blue.POLL_SECONDS", 0.01)
    monkeypatch.setattr("adapters._imessage_blue.PAGE", 100)
    fake.say(5, "long ago", dateCreated=1_700_000_000_000)
    inlet = RecordingInlet()
    await listening(adapter, inlet, lambda: inlet.position)
    assert inlet.arrivals == []  # at the very first start nothing is fetched
    for number in range(250):
        fake.say(5, f"m{number}", missed=True)
    await listening(adapter, inlet, lambda: len(inlet.arrivals) >= 250)
    texts = [one.text for one in inlet.arrivals if isinstance(one, Inbound)]
    assert texts[:250] == [f"m{number}" for number in range(250)]
    assert inlet.position is not None
    assert int(inlet.position.value) >= fake.messages[-1]["dateCreated"]


async def test_the_very_first_start_begins_when_the_channel_is_opened(
    adapter: ImessageAdapter,
    at: ImessageHarness,
    fake: FakeBlueBubbles,
    transport: httpx.AsyncBaseTransport,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("adapters._imessage_blue.POLL_SECONDS", 0.01)
    fake.say(5, "before us", dateCreated=int((time.time() - 60) * 1000))
    await adapter.open(None)
    fake.say(5, "while the listener starts", missed=True)
    await asyncio.sleep(0.01)  # the listener starts later than this was said
    inlet = RecordingInlet()
    again = ImessageAdapter(at.config(), transport)
    for started, looks in ((adapter, 3), (again, 6)):
        await listening(started, inlet, lambda looks=looks: len(fake.called("query")) >= looks)
        texts = {one.text for one in inlet.arrivals if isinstance(one, Inbound)}
        assert texts == {"while the listener starts"}


async def test_what_the_webhook_brings_first_waits_for_what_was_missed(
    adapter: ImessageAdapter, at: ImessageHarness, fake: FakeBlueBubbles
) -> None:
    await adapter.open("http://127.0.0.1:1/webhooks/imessage")
    inlet = RecordingInlet()
    inlet.position = Cursor("1700000000000", 0.0)
    fake.say(5, "missed", missed=True)
    seen = fake.say(5, "seen by both", missed=True)
    for message in (seen, {**seen, "guid": "BB-9", "text": "newest"}):
        with pytest.raises(Unsupported):
            event = {"type": "new-message", "data": message}
            adapter.parse(at.signed(json.dumps(event).encode()))
    await listening(adapter, inlet, lambda: len(inlet.arrivals) >= 3)
    texts = [one.text for one in inlet.arrivals if isinstance(one, Inbound)]
    assert texts == ["missed", "seen by both", "newest"]
    (found,) = adapter.parse(at.delivery("now at once"))
    assert isinstance(found, Inbound)


async def test_a_call_of_the_webhook_brings_a_look_and_what_it_missed_comes_first(
    adapter: ImessageAdapter,
    at: ImessageHarness,
    fake: FakeBlueBubbles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("adapters._imessage_blue.POLL_SECONDS", 3600.0)
    monkeypatch.setattr("adapters._imessage_blue.GATHER_SECONDS", 0.0)
    await adapter.open("http://127.0.0.1:1/webhooks/imessage")
    inlet = RecordingInlet()
    inlet.position = Cursor(str(int(time.time() * 1000)), 0.0)
    task = asyncio.create_task(adapter.listen(inlet))
    while not fake.called("query"):
        await asyncio.sleep(0.01)
    fake.say(5, "missed", missed=True)
    called = fake.say(5, "called for", missed=True)
    with pytest.raises(Unsupported, match="behind what was missed"):
        event = {"type": "new-message", "data": called}
        adapter.parse(at.signed(json.dumps(event).encode()))
    while len(inlet.arrivals) < 2:
        await asyncio.sleep(0.01)
    texts = [one.text for one in inlet.arrivals if isinstance(one, Inbound)]
    assert texts == ["missed", "called for"]
    (late,) = adapter.parse(at.delivery("written long ago"))  # no look would find it
    assert isinstance(late, Inbound)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_the_webhook_brings_does_not_wait_for_looks_that_fail(
    adapter: ImessageAdapter,
    at: ImessageHarness,
    fake: FakeBlueBubbles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("adapters._imessage_blue.PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr("adapters._imessage_blue.FIRST_PAUSE_SECONDS", 3600.0)
    monkeypatch.setattr("adapters._imessage_blue.GATHER_SECONDS", 0.0)
    fake.fail("query", status=500, times=1000)
    await adapter.open("http://127.0.0.1:1/webhooks/imessage")
    inlet = Patient()
    inlet.position = Cursor("1700000000000", 0.0)
    task = asyncio.create_task(adapter.listen(inlet))
    for text in ("one", "two"):
        until = len(inlet.told)
        while len(inlet.told) == until:
            await asyncio.sleep(0.01)
        with pytest.raises(Unsupported):
            event = {"type": "new-message", "data": fake.say(5, text, missed=True)}
            adapter.parse(at.signed(json.dumps(event).encode()))
    while len(inlet.arrivals) < 2:
        await asyncio.sleep(0.01)
    texts = [one.text for one in inlet.arrivals if isinstance(one, Inbound)]
    assert texts == ["one", "two"]
    assert inlet.position.value == "1700000000000"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_look_that_fails_for_a_moment_does_not_change_the_order(
    adapter: ImessageAdapter,
    at: ImessageHarness,
    fake: FakeBlueBubbles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("adapters._imessage_blue.GATHER_SECONDS", 0.0)
    monkeypatch.setattr("adapters._imessage_blue.FIRST_PAUSE_SECONDS", 0.01)
    await adapter.open("http://127.0.0.1:1/webhooks/imessage")
    fake.say(5, "the webhook missed this", missed=True)
    with pytest.raises(Unsupported):
        event = {"type": "new-message", "data": fake.say(5, "and brought this", missed=True)}
        adapter.parse(at.signed(json.dumps(event).encode()))
    fake.fail("query", status=500, times=2)
    inlet = Patient()
    await listening(adapter, inlet, lambda: len(inlet.arrivals) >= 2)
    texts = [one.text for one in inlet.arrivals if isinstance(one, Inbound)]
    assert texts == ["the webhook missed this", "and brought this"]


async def test_what_waits_for_a_look_is_handed_over_where_the_channel_goes_down(
    adapter: ImessageAdapter, at: ImessageHarness, fake: FakeBlueBubbles
) -> None:
    await adapter.open("http://127.0.0.1:1/webhooks/imessage")
    with pytest.raises(Unsupported):
        event = {"type": "new-message", "data": fake.say(5, "hello", missed=True)}
        adapter.parse(at.signed(json.dumps(event).encode()))
    error = {"status": 401, "message": "no", "error": {"message": "Unauthorized"}}
    fake.fail("query", status=401, body=json.dumps(error).encode())
    inlet = RecordingInlet()
    with pytest.raises(ChannelDown):
        await adapter.listen(inlet)
    assert [one.text for one in inlet.arrivals if isinstance(one, Inbound)] == ["hello"]


async def test_only_so_many_messages_of_the_webhook_wait(
    adapter: ImessageAdapter,
    at: ImessageHarness,
    fake: FakeBlueBubbles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("adapters._imessage_blue.MAX_BROUGHT", 2)
    await adapter.open("http://127.0.0.1:1/webhooks/imessage")
    events = [{"type": "new-message", "data": fake.say(5, text, missed=True)} for text in "abc"]
    one, two, three = (at.signed(json.dumps(event).encode()) for event in events)
    for request in (one, two):
        with pytest.raises(Unsupported):
            adapter.parse(request)
    (found,) = adapter.parse(three)
    assert isinstance(found, Inbound)


async def test_one_that_cannot_be_read_blocks_no_other(
    adapter: ImessageAdapter, fake: FakeBlueBubbles
) -> None:
    inlet = RecordingInlet()
    inlet.position = Cursor("1700000000000", 0.0)
    fake.say(5, "one", missed=True)
    fake.say(5, "bad", missed=True, handle={"address": 7})
    fake.say(5, "mine", missed=True, isFromMe=True)
    fake.say(5, "two", missed=True)
    await listening(adapter, inlet, lambda: len(inlet.arrivals) == 3)
    kinds = [type(one).__name__ for one in inlet.arrivals]
    assert kinds == ["Inbound", "Rejected", "Inbound"]


async def test_each_look_hands_over_only_what_is_new(
    adapter: ImessageAdapter, fake: FakeBlueBubbles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters._imessage_blue.POLL_SECONDS", 0.01)
    writes: list[int] = []

    class Counting(RecordingInlet):
        async def accept(self, arrivals: Any, cursor: str | None = None) -> None:
            writes.append(len(arrivals))
            await super().accept(arrivals, cursor)

    def looks(more: int) -> Any:
        until = len(fake.called("query")) + more
        return lambda: len(fake.called("query")) >= until

    inlet = Counting()
    inlet.position = Cursor("1700000000000", 0.0)
    remark = fake.say(5, "not for us", missed=True, chats=[GARDEN])
    halves = fake.say(5, "half written", missed=True, chats=[])
    await listening(adapter, inlet, looks(5))
    assert writes == [2]
    remark |= {"text": "really not for us", "dateEdited": 1_700_000_000_000}
    halves["chats"] = [GARDEN]
    await listening(adapter, inlet, looks(5))
    assert writes == [2, 2]
    texts = [one.text for one in inlet.arrivals if isinstance(one, Inbound)]
    assert texts == ["not for us", "really not for us", "half written"]


async def test_in_groups_a_reply_to_us_is_for_us(
    adapter: ImessageAdapter, at: ImessageHarness, fake: FakeBlueBubbles
) -> None:
    receipt = await adapter.send(out("I am Pi"))
    inlet = RecordingInlet()
    inlet.position = Cursor("1700000000000", 0.0)
    typed = fake.say(5, "typed on our own telephone", missed=True, isFromMe=True, chats=[GARDEN])
    theirs = fake.say(6, "somebody else", missed=True, chats=[GARDEN])
    for guid in (receipt.message_id, typed["guid"], theirs["guid"], None):
        fake.say(5, "why?", missed=True, threadOriginatorGuid=guid, chats=[GARDEN])
    await listening(adapter, inlet, lambda: len(inlet.arrivals) == 5)
    addressed = [one.addressed for one in inlet.arrivals if isinstance(one, Inbound)]
    assert addressed == [False, True, True, False, False]


async def test_a_server_that_is_away_is_asked_again(
    adapter: ImessageAdapter, fake: FakeBlueBubbles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters._imessage_blue.FIRST_PAUSE_SECONDS", 0.01)
    inlet = Patient()
    inlet.position = Cursor("1700000000000", 0.0)
    for what in ({"status": 500}, {"drop": "before"}, {"status": 200, "body": b'{"data": 7}'}):
        fake.fail("query", **what)
    fake.say(5, "hello", missed=True)
    await listening(adapter, inlet, lambda: inlet.arrivals)
    assert len(inlet.told) == 3
    assert not [one for one in inlet.told if PASSWORD in one]


async def test_a_wrong_password_ends_the_listener(
    at: ImessageHarness, transport: httpx.AsyncBaseTransport
) -> None:
    adapter = ImessageAdapter(at.config(password="FAKE wrong"), transport)
    for work in (adapter.listen(RecordingInlet()), adapter.open(None), adapter.probe()):
        with pytest.raises(ChannelDown, match="password"):
            await work


# --- sending ------------------------------------------------------------------


async def test_text_goes_out_without_marks(adapter: ImessageAdapter, fake: FakeBlueBubbles) -> None:
    receipt = await adapter.send(out("**bold** [a](https://example.com)"))
    await adapter.send(out("**bold**", plain=True))
    assert fake.texts() == ["bold a (https://example.com)", "**bold**"]
    assert receipt.message_id == fake.sent[0].guid
    assert fake.called("text")[0].data["tempGuid"] == "key1"


async def test_a_file_is_uploaded_and_a_text_beside_it_is_not_lost(
    adapter: ImessageAdapter, fake: FakeBlueBubbles, tmp_path: Path
) -> None:
    (tmp_path / "x").write_bytes(b"content" * 100_000)
    file = File("image", tmp_path / "x", "image/png", "cat.png", 700_000)
    await adapter.send(out("(again)", file=file))
    assert [one.text for one in fake.sent] == ["(again)", ""]
    assert fake.sent[1].file == b"content" * 100_000
    assert fake.called("file")[0].data["name"] == "cat.png"


async def test_an_unsure_send_is_told_apart_by_what_the_server_knows(
    adapter: ImessageAdapter, fake: FakeBlueBubbles
) -> None:
    assert await adapter.settle(out("hello")) is None
    fake.fail("text", drop="after")
    with pytest.raises(Unsure):
        await adapter.send(out("hello"))
    with pytest.raises(Unsure):
        await adapter.settle(out("hello"))
    assert await adapter.settle(out("something else")) is None
    assert await adapter.settle(Outbound("key1", "iMessage;-;+1999", "hello")) is None


async def test_files_are_fetched_by_their_guid(
    adapter: ImessageAdapter, fake: FakeBlueBubbles
) -> None:
    fake.files["AT/1"] = b"x" * 100_000
    found = [piece async for piece in adapter.fetch(Media("image", "AT/1"))]
    assert b"".join(found) == b"x" * 100_000
    with pytest.raises(Refused):
        _ = [piece async for piece in adapter.fetch(Media("image", "AT/2"))]
    fake.fail("download", status=500)
    with pytest.raises(Transient):
        _ = [piece async for piece in adapter.fetch(Media("image", "AT/1"))]


async def test_probe_says_who_is_signed_in(adapter: ImessageAdapter) -> None:
    line = await adapter.probe()
    assert line == "BlueBubbles 1.9.9 on macOS 15.5, signed in as bot@x.org"


@pytest.mark.parametrize(
    ("changes", "slugs"),
    [
        ({"mode": "pigeon"}, {"mode"}),
        ({"mode": "bluebubbles"}, {"api_url", "password"}),
        ({"mode": "bluebubbles", "api_url": "host:1234", "password": "x"}, {"api_url"}),
        ({"mode": "chatdb"}, set()),
    ],
)
def test_names_each_misconfiguration(changes: dict[str, str], slugs: set[str]) -> None:
    found = ImessageAdapter.problems(ImessageConfig(**changes), "")
    assert {problem.slug for problem in found} == slugs
