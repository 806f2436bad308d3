"""WhatsApp's own: every kind of message and status, files, templates, buttons, read marks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters._text import length
from adapters._whatsapp_update import read_webhook
from adapters.base import (
    Button,
    ChannelDown,
    File,
    Forbidden,
    Inbound,
    Location,
    Media,
    Outbound,
    RateLimited,
    Refused,
    Rejected,
    Request,
    Status,
    Transient,
    Unsupported,
)
from adapters.whatsapp import WhatsappAdapter
from tests.adapters.junk import broken
from tests.adapters.whatsapp_harness import WhatsappHarness
from tests.fakes.whatsapp import PNID, TOKEN, VERIFY_TOKEN, FakeWhatsapp, envelope

FIXTURES = sorted((Path(__file__).parent.parent / "fixtures" / "whatsapp").glob("*.json"))
PERSON = "15550001111"


@pytest.fixture
async def at() -> AsyncIterator[WhatsappHarness]:
    async with WhatsappHarness() as harness:
        yield harness


@pytest.fixture
def fake(at: WhatsappHarness) -> FakeWhatsapp:
    return at.fake


@pytest.fixture
def adapter(at: WhatsappHarness, transport: httpx.AsyncBaseTransport) -> WhatsappAdapter:
    return WhatsappAdapter(at.config(), transport)


def body_of(case: dict[str, Any]) -> bytes:
    whole = json.loads(envelope(case["value"]))
    whole["entry"][0]["changes"][0]["field"] = case["field"]
    return json.dumps(whole).encode()


def out(text: str = "", **more: Any) -> Outbound:
    return Outbound("key1", PERSON, text, **more)


# --- what comes in ------------------------------------------------------------


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_reads_each_kind(path: Path, adapter: WhatsappAdapter, at: WhatsappHarness) -> None:
    case = json.loads(path.read_text())
    request = at.signed(body_of(case))
    if case.get("ignored"):
        with pytest.raises(Unsupported):
            adapter.parse(request)
        return
    found = adapter.parse(request)
    if "set_aside" in case:
        (rejected,) = found
        assert isinstance(rejected, Rejected)
        assert rejected.external_id == case["set_aside"]
        assert json.loads(rejected.payload) == case["value"]["messages"][0]
        return
    assert len(found) == len(case["expected"])
    for item, expected in zip(found, case["expected"], strict=True):
        shown = json.loads(json.dumps(asdict(item), default=lambda value: value.isoformat()))
        shown["type"] = type(item).__name__
        assert {name: shown[name] for name in expected} == expected


def test_messages_to_another_number_are_not_ours(
    adapter: WhatsappAdapter, at: WhatsappHarness
) -> None:
    message = {"from": PERSON, "id": "wamid.1", "timestamp": "1", "type": "text"}
    body = envelope({"messages": [{**message, "text": {"body": "hi"}}]}, pnid="999")
    with pytest.raises(Unsupported):
        adapter.parse(at.signed(body))


WHOLE = json.loads(envelope({}))["entry"][0]["changes"][0]["value"]
VALUES = [{**WHOLE, **json.loads(path.read_text())["value"]} for path in FIXTURES]


@given(broken(VALUES))
def test_no_payload_breaks_the_reader(value: Any) -> None:
    body = json.loads(envelope({}))
    body["entry"][0]["changes"][0]["value"] = value
    for item in read_webhook(body, PNID):
        assert not isinstance(item, Inbound) or item.user_id


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ({"hub.verify_token": VERIFY_TOKEN, "hub.challenge": "115"}, b"115"),
        ({"hub.verify_token": VERIFY_TOKEN[:-1], "hub.challenge": "115"}, None),
        ({"hub.challenge": "115"}, None),
        ({"hub.verify_token": VERIFY_TOKEN, "hub.challenge": "1", "hub.mode": "unsubscribe"}, None),
        ({"hub.verify_token": VERIFY_TOKEN, "hub.challenge": "1", "hub.mode": ""}, None),
    ],
)
def test_metas_first_call_gets_its_challenge_back(
    adapter: WhatsappAdapter, query: dict[str, str], answer: bytes | None
) -> None:
    request = Request("GET", {}, {"hub.mode": "subscribe", **query}, b"")
    if answer is None:
        with pytest.raises(Forbidden):
            adapter.handshake(request)
        return
    reply = adapter.handshake(request)
    assert reply is not None
    assert (reply.status, reply.body) == (200, answer)


def test_a_signed_call_is_no_handshake(adapter: WhatsappAdapter, at: WhatsappHarness) -> None:
    assert adapter.handshake(at.delivery("hi")) is None


# --- what goes out ------------------------------------------------------------


async def test_text_goes_out_in_whatsapps_marks_with_our_id(
    adapter: WhatsappAdapter, fake: FakeWhatsapp
) -> None:
    receipt = await adapter.send(out("**bold** [a](https://example.com)"))
    (sent,) = fake.sent
    assert sent.text == "*bold* a (https://example.com)"
    assert sent.message["biz_opaque_callback_data"] == "key1"
    assert sent.receipt == receipt.message_id
    assert (await adapter.send(out("**bold**", plain=True))).message_id
    assert fake.sent[1].text == "**bold**"


@pytest.mark.parametrize(
    ("chat", "target", "field"),
    [
        ("15550001111", {}, {"to": "15550001111", "recipient_type": "individual"}),
        ("US.134912", {}, {"recipient": "US.134912", "recipient_type": "individual"}),
        ("Y2FwaV9n", {"is_group": True}, {"to": "Y2FwaV9n", "recipient_type": "group"}),
    ],
)
async def test_people_and_groups_are_reached_by_the_id_there_is(
    adapter: WhatsappAdapter, fake: FakeWhatsapp, chat: str, target: Any, field: Any
) -> None:
    await adapter.send(Outbound("key1", chat, "hi", target))
    assert field.items() <= fake.sent[0].message.items()


async def test_after_a_day_of_silence_the_template_carries_the_text(
    at: WhatsappHarness, fake: FakeWhatsapp, transport: httpx.AsyncBaseTransport
) -> None:
    fake.close_window(PERSON)
    with pytest.raises(Refused, match="24-hour") as caught:
        await WhatsappAdapter(at.config(), transport).send(out("hi"))
    assert type(caught.value) is Refused  # its name is the code that operators look up
    adapter = WhatsappAdapter(at.config(template="note", template_language="de"), transport)
    await adapter.send(out("two\nlines"))
    assert fake.texts() == ["[note] two lines"]
    assert fake.sent[0].message["template"]["language"] == {"code": "de"}


@pytest.mark.parametrize(
    ("code", "scope"),
    [(4, "bot"), (80007, "bot"), (130429, "bot"), (131056, "lane"), (131048, "lane")],
)
async def test_a_limit_of_the_number_is_for_everybody_one_of_the_chat_is_not(
    adapter: WhatsappAdapter, fake: FakeWhatsapp, code: int, scope: str
) -> None:
    body = json.dumps({"error": {"code": code, "message": "limit"}}).encode()
    fake.fail("send", status=400, body=body, headers={"Retry-After": "7"})
    with pytest.raises(RateLimited) as caught:
        await adapter.send(out("hi"))
    assert (caught.value.scope, caught.value.retry_after) == (scope, 7.0)


def late_failure(code: int) -> bytes:
    error = {"code": code, "title": "Re-engagement message"}
    status = {"id": "wamid.1", "status": "failed", "timestamp": "1", "errors": [error]}
    return envelope({"statuses": [{**status, "biz_opaque_callback_data": "key1"}]})


@pytest.mark.parametrize(
    ("template", "code", "fallback"),
    [("note", 131047, True), ("note", 131026, False), ("", 131047, False)],
)
async def test_a_window_that_is_found_closed_later_is_answered_with_the_template(
    at: WhatsappHarness,
    fake: FakeWhatsapp,
    transport: httpx.AsyncBaseTransport,
    template: str,
    code: int,
    fallback: bool,
) -> None:
    adapter = WhatsappAdapter(at.config(template=template), transport)
    (status,) = adapter.parse(at.signed(late_failure(code)))
    assert isinstance(status, Status)
    assert (status.key, status.state, status.fallback) == ("key1", "failed", fallback)
    await adapter.send(out("hi", fallback=True))
    assert fake.texts() == ["[note] hi" if template else "hi"]


async def test_the_template_carries_all_of_a_text_or_nothing(
    at: WhatsappHarness, fake: FakeWhatsapp, transport: httpx.AsyncBaseTransport
) -> None:
    adapter = WhatsappAdapter(at.config(template="note"), transport)
    fake.close_window(PERSON)
    await adapter.send(out("a" * 1024))
    for more in ({}, {"fallback": True}):
        with pytest.raises(Refused, match="longer than the 1,024 characters"):
            await adapter.send(out("a" * 1025, **more))
    assert fake.texts() == ["[note] " + "a" * 1024]


async def test_the_template_never_stands_for_a_file(
    at: WhatsappHarness,
    fake: FakeWhatsapp,
    transport: httpx.AsyncBaseTransport,
    tmp_path: Path,
) -> None:
    """Its mark of a repeat alone would count as the file."""
    (tmp_path / "x").write_bytes(b"x")
    file = File("image", tmp_path / "x", "image/png", "x.png", 1)
    fake.close_window(PERSON)
    with pytest.raises(Refused, match="24-hour"):
        await WhatsappAdapter(at.config(template="note"), transport).send(out("(again)", file=file))
    assert fake.sent == []


async def test_buttons_come_back_as_their_value(
    adapter: WhatsappAdapter, fake: FakeWhatsapp
) -> None:
    await adapter.send(out("Which?", buttons=[Button("A" * 20, "a"), Button("B", "b")]))
    buttons = fake.sent[0].message["interactive"]["action"]["buttons"]
    assert [one["reply"] for one in buttons] == [
        {"id": "a", "title": "A" * 20},
        {"id": "b", "title": "B"},
    ]


@pytest.mark.parametrize(
    "buttons",
    [
        [Button("A" * 20 + "1", "a"), Button("B", "b")],
        [Button("Yes", "y"), Button("Yes", "n")],
        [Button("Yes", "y"), Button("No", "y")],
        [Button("Yes", "y" * 257)],
    ],
    ids=["a long title", "two titles alike", "two values alike", "a long value"],
)
async def test_buttons_that_whatsapp_would_not_take_are_lines_of_the_text(
    adapter: WhatsappAdapter, fake: FakeWhatsapp, buttons: list[Button]
) -> None:
    await adapter.send(out("Which?", buttons=buttons))
    assert fake.texts() == ["\n".join(["Which?", *(f"• {one.text}" for one in buttons)])]


async def test_buttons_under_a_text_too_long_for_them_are_lines_of_it(
    adapter: WhatsappAdapter, fake: FakeWhatsapp
) -> None:
    """The core keeps the text short; what was queued otherwise must not lose its buttons."""
    buttons = [Button("Yes", "y"), Button("No", "n")]
    await adapter.send(out("😀" * 512, buttons=buttons))
    await adapter.send(out("😀" * 513, buttons=buttons))
    assert [one.message["type"] for one in fake.sent] == ["interactive", "text"]
    assert fake.texts()[1].endswith("\n• Yes\n• No")


async def test_a_caption_is_cut_in_whatsapps_own_unit(
    adapter: WhatsappAdapter, fake: FakeWhatsapp, tmp_path: Path
) -> None:
    (tmp_path / "x").write_bytes(b"x")
    file = File("image", tmp_path / "x", "image/png", "x.png", 1)
    await adapter.send(out("a" + "😀" * 600, file=file))
    assert fake.texts() == ["a" + "😀" * 511]


async def test_a_place_is_a_place_and_text_beside_it_is_not_lost(
    adapter: WhatsappAdapter, fake: FakeWhatsapp
) -> None:
    place = Location(52.5, 13.4, "here")
    await adapter.send(out(location=place))
    assert fake.sent[0].message["location"] == {"latitude": 52.5, "longitude": 13.4, "name": "here"}
    await adapter.send(out("(again)", location=place))
    assert fake.texts()[1] == "here: 52.5, 13.4\n(again)"


@pytest.mark.parametrize(
    ("kind", "mime", "caption", "sent_as"),
    [
        ("image", "image/png", "", "image"),
        ("image", "image/jpeg", "(again)", "image"),
        ("image", "image/webp", "", "document"),
        ("animation", "video/mp4", "", "video"),
        ("video", "video/3gpp", "", "video"),
        ("animation", "video/mp4", "(again)", "video"),
        ("voice", "audio/ogg; codecs=opus", "", "audio"),
        ("voice", "audio/ogg", "(again)", "document"),
        ("audio", "audio/mpeg", "", "audio"),
        ("sticker", "image/webp", "", "sticker"),
        ("sticker", "image/png", "", "image"),
        ("file", "image/png", "(again)", "document"),
        ("file", "application/pdf", "", "document"),
    ],
)
async def test_files_are_uploaded_and_then_sent(
    adapter: WhatsappAdapter,
    fake: FakeWhatsapp,
    tmp_path: Path,
    kind: str,
    mime: str,
    caption: str,
    sent_as: str,
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"content" * 100_000)
    file = File(kind, path, mime, 'a "quoted"\r\nname.png', 700_000)
    await adapter.send(out(caption, file=file))
    (upload,) = fake.uploads.values()
    assert upload[1] == path.read_bytes()
    assert upload[2] == mime
    message = fake.sent[0].message
    assert message["type"] == sent_as
    assert message[sent_as].get("caption", "") == caption
    assert fake.called("upload")[0].headers["content-type"].startswith("multipart/form-data")


@pytest.mark.parametrize("mime", ["text/csv", "text/markdown", "text/plain; charset=utf-8"])
async def test_every_text_is_uploaded_as_plain_text_under_its_name(
    adapter: WhatsappAdapter, fake: FakeWhatsapp, tmp_path: Path, mime: str
) -> None:
    (tmp_path / "x").write_bytes(b"a,b")
    await adapter.send(out(file=File("file", tmp_path / "x", mime, "table.csv", 3)))
    (upload,) = fake.uploads.values()
    assert upload == ("table.csv", b"a,b", "text/plain")
    assert fake.sent[0].message["document"]["filename"] == "table.csv"


@pytest.mark.parametrize(
    ("kind", "mime"),
    [
        ("file", "application/octet-stream"),
        ("file", "application/json"),
        ("file", "application/zip"),
        ("animation", "image/gif"),
        ("image", "image/heif"),
        ("video", "video/webm"),
        ("audio", "audio/wav"),
    ],
)
async def test_a_file_that_whatsapp_does_not_take_goes_out_as_a_link(
    adapter: WhatsappAdapter, fake: FakeWhatsapp, tmp_path: Path, kind: str, mime: str
) -> None:
    (tmp_path / "x").write_bytes(b"x")
    file = File(kind, tmp_path / "x", mime, "a.zip", 1, "https://example.com/media/1/a.zip")
    await adapter.send(out(file=file))
    await adapter.send(out("(again)", file=file))
    link = "a.zip: https://example.com/media/1/a.zip"
    assert fake.texts() == [link, f"(again)\n{link}"]
    assert not fake.uploads
    with pytest.raises(Refused, match=mime):
        await adapter.send(out(file=replace(file, url="")))


@pytest.mark.parametrize("code", [10, 200, 299, 131005])
async def test_a_permission_that_is_missing_for_uploads_stops_no_texts(
    adapter: WhatsappAdapter, fake: FakeWhatsapp, tmp_path: Path, code: int
) -> None:
    (tmp_path / "x").write_bytes(b"x")
    file = File("image", tmp_path / "x", "image/png", "x.png", 1)
    body = json.dumps({"error": {"code": code, "message": "permission denied"}}).encode()
    fake.fail("upload", status=403, body=body)
    with pytest.raises(Refused, match="whatsapp_business_messaging"):
        await adapter.send(out(file=file))
    fake.fail("send", status=403, body=body)
    with pytest.raises(ChannelDown):
        await adapter.send(out("hi"))


async def test_an_upload_that_fails_has_sent_nothing(
    adapter: WhatsappAdapter, fake: FakeWhatsapp, tmp_path: Path
) -> None:
    (tmp_path / "x").write_bytes(b"x")
    file = File("image", tmp_path / "x", "image/png", "x.png", 1)
    for what in ({"status": 500}, {"drop": "after"}):
        fake.fail("upload", **what)
        with pytest.raises(Transient):
            await adapter.send(out(file=file))
    assert not fake.sent


async def test_reading_and_typing_are_one_call(
    adapter: WhatsappAdapter, fake: FakeWhatsapp, at: WhatsappHarness
) -> None:
    (inbound,) = adapter.parse(at.delivery("hi", 5))
    assert isinstance(inbound, Inbound)
    await adapter.acknowledge(inbound)
    await adapter.typing(PERSON, inbound.target)
    await adapter.typing(PERSON, {})
    assert [read["message_id"] for read in fake.reads] == ["wamid.5", "wamid.5"]
    assert "typing_indicator" in fake.reads[1]


# --- files in -----------------------------------------------------------------


async def fetched(adapter: WhatsappAdapter, handle: str) -> bytes:
    return b"".join([piece async for piece in adapter.fetch(Media("image", handle))])


async def test_a_file_is_fetched_in_two_steps(adapter: WhatsappAdapter, fake: FakeWhatsapp) -> None:
    fake.files["77"] = ("image/png", b"png" * 1000)
    assert await fetched(adapter, "77") == b"png" * 1000


async def test_what_cannot_be_fetched_says_whether_to_try_again(
    adapter: WhatsappAdapter, fake: FakeWhatsapp
) -> None:
    fake.files["77"] = ("image/png", b"png")
    with pytest.raises(Refused):
        await fetched(adapter, "78")
    for name in ("node", "file"):
        for what in ({"status": 500}, {"drop": "before"}):
            fake.fail(name, times=3, **what)  # a GET that is cut off is made again by aiohttp
            with pytest.raises(Transient):
                await fetched(adapter, "77")
            fake.mend()


async def test_the_token_goes_only_where_it_is_safe(
    adapter: WhatsappAdapter, fake: FakeWhatsapp
) -> None:
    fake.fail("node", status=200, body=b'{"url": "http://example.com/steal"}')
    with pytest.raises(Refused):
        await fetched(adapter, "77")


async def test_probe_names_the_number(adapter: WhatsappAdapter) -> None:
    line = await adapter.probe()
    assert line == "+1 555 010 0000 (Fake)"
    assert TOKEN not in line


@given(st.text(min_size=1, max_size=300))
def test_marks_never_lengthen_past_the_limit(text: str) -> None:
    from adapters._dialect import render
    from adapters.whatsapp import MARKS

    assert length(render(text, MARKS, length(text, "utf16"), "utf16"), "utf16") <= length(
        text, "utf16"
    )
