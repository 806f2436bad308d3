"""Discord's own: every kind of event, opening, sending, edits, files both ways."""

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
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters import _discord_rest
from adapters._discord_event import Me, moment, read_event, snowflake_at
from adapters._discord_listen import Listening
from adapters._discord_text import render
from adapters.base import (
    Button,
    ChannelDown,
    File,
    Inbound,
    Media,
    Outbound,
    PayloadError,
    RateLimited,
    Refused,
    Rejected,
    Transient,
    Unsupported,
)
from adapters.discord import CDN, DISCORD, DiscordAdapter, DiscordConfig
from tests.adapters.discord_harness import TOKEN
from tests.fakes._discord_parts import BOT_ID, direct_chat
from tests.fakes.discord import FakeDiscord

FIXTURES = sorted((Path(__file__).parent.parent / "fixtures" / "discord").glob("*.json"))
CASES = {file.stem: json.loads(file.read_text()) for file in FIXTURES}
ME = Me(BOT_ID, {"500000000000000001": "510000000000000001"})
CHAT = direct_chat(5)


@pytest.fixture
async def fake() -> AsyncIterator[FakeDiscord]:
    async with FakeDiscord(token=TOKEN) as running:
        running.direct(5)
        yield running


@pytest.fixture
def adapter(fake: FakeDiscord, transport: httpx.AsyncBaseTransport) -> DiscordAdapter:
    return made(fake, transport)


def made(fake: FakeDiscord, transport: httpx.AsyncBaseTransport, **more: str) -> DiscordAdapter:
    mine = {"token": TOKEN, "api_url": fake.url, "gateway_url": fake.gateway_url}
    return DiscordAdapter(DiscordConfig(**{**mine, **more}), transport)


# --- every kind of event ------------------------------------------------------


def reader() -> Any:
    """Reads events as a listener does."""
    return Listening(None, ME, None, {})  # type: ignore[arg-type]  # reading needs neither


@pytest.mark.parametrize("name", CASES)
async def test_reads_each_kind_of_event(name: str) -> None:
    case = CASES[name]
    found = reader()._read([(case["event"], case["data"])])
    if "inbound" in case:
        (inbound,) = found
        shown = asdict(inbound)
        shown["sent_at"] = inbound.sent_at and inbound.sent_at.isoformat()
        expected = {"by_hand": False, **case["inbound"]}
        assert {**shown, "media": list(shown["media"])} == expected
    elif "set_aside" in case:
        (rejected,) = found
        assert isinstance(rejected, Rejected)
        assert rejected.external_id == case["set_aside"]
        assert rejected.reason
        assert "interaction-token" not in rejected.payload
    else:
        assert found == []


def test_every_sort_of_fixture_is_there() -> None:
    for sort, least in {"inbound": 35, "ignored": 20, "set_aside": 25}.items():
        assert sum(sort in case for case in CASES.values()) >= least


async def test_a_payload_set_aside_is_bounded() -> None:
    (found,) = reader()._read([("MESSAGE_CREATE", {"id": "5", "content": "x" * 1_000_000})])
    assert isinstance(found, Rejected)
    assert found.external_id == "5"
    assert len(found.payload) <= 64 * 1024


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(CASES)), st.data())
def test_no_shape_of_an_event_breaks_reading(name: str, data: st.DataObject) -> None:
    event = json.loads(json.dumps(CASES[name]["data"]))
    if not isinstance(event, dict):
        return
    inside: Any = event
    for _ in range(data.draw(st.integers(1, 3))):
        key = data.draw(st.sampled_from(sorted(inside)))
        value = inside[key]
        if isinstance(value, list) and value:
            value = value[0]
        if not isinstance(value, dict) or not value:
            break
        inside = value
    inside[data.draw(st.sampled_from(sorted(inside)))] = data.draw(ANYTHING)
    try:
        found = read_event(CASES[name]["event"], event, ME)
    except PayloadError:
        return
    assert isinstance(found, Inbound)
    assert found.external_id
    assert json.dumps(found.target)


def test_ids_are_moments() -> None:
    assert moment(snowflake_at(1_700_000_000.5)).timestamp() == 1_700_000_000.5
    assert moment(175928847299117063).isoformat() == "2016-04-30T11:18:25.796000+00:00"


# --- texts --------------------------------------------------------------------

TABLE = "| a | b |\n|---|:-:|\n| 1 | 2 |"


@pytest.mark.parametrize(
    ("markdown", "sent"),
    [
        ("**bold** _it_ `c` [t](https://example.com)", None),
        (TABLE, f"```\n{TABLE}\n```"),
        (f"before\n{TABLE}\n\nafter", f"before\n```\n{TABLE}\n```\n\nafter"),
        (f"```\n{TABLE}\n```", None),
        (f"~~~\n{TABLE}\n~~~\n{TABLE}", f"~~~\n{TABLE}\n~~~\n```\n{TABLE}\n```"),
        ("a | b\nnot a table", None),
        ("| a |", None),
        ("a | b\n---|---\nx ``` | y", None),
        ("x" * 1980 + "\n" + TABLE, None),
    ],
)
def test_tables_become_code_blocks(markdown: str, sent: str | None) -> None:
    assert render(markdown, 2000) == (markdown if sent is None else sent)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["| a | b |", "|---|---|", "```", "~~~~", "x | y", "", "hé😀"])))
def test_a_rendered_text_fits_and_holds_every_line(lines: list[str]) -> None:
    text = "\n".join(lines)
    shown = render(text, 60)
    assert len(shown) <= max(60, len(text))
    rest = iter(shown.split("\n"))
    assert all(line in rest for line in lines)


# --- opening ------------------------------------------------------------------


async def test_says_who_it_is(adapter: DiscordAdapter) -> None:
    assert await adapter.probe() == f"@fake_bot ({BOT_ID})"


@pytest.mark.parametrize(("flags", "may"), [(1 << 18, True), (1 << 19, True), (1 << 12, False)])
async def test_probe_says_whether_it_may_read_messages(
    adapter: DiscordAdapter, fake: FakeDiscord, flags: int, may: bool
) -> None:
    fake.application_flags = flags
    if may:
        assert await adapter.probe()
        return
    with pytest.raises(ChannelDown, match="enable Message Content Intent"):
        await adapter.probe()


async def test_opening_fails_in_kind(adapter: DiscordAdapter, fake: FakeDiscord) -> None:
    for fault in ({"status": 500}, {"drop": "after"}, {"status": 200, "body": b"{}"}):
        fake.fail("me", **fault, times=3 if "drop" in fault else 1)
        with pytest.raises(Transient):
            await adapter.open(None)
        fake.mend()
    fake.fail("me", status=401)
    with pytest.raises(ChannelDown):
        await adapter.open(None)
    await adapter.open(None)


@pytest.mark.parametrize(
    ("changes", "slugs"),
    [
        ({}, set()),
        ({"token": "no-dots"}, {"token"}),
        ({"token": "Bot a.b.c"}, {"token"}),
        ({"api_url": "discord.com"}, {"api_url"}),
        ({"api_url": "ftp://example.com"}, {"api_url"}),
        ({"gateway_url": "https://example.com"}, {"gateway_url"}),
        ({"gateway_url": "wss://gateway.example.com/"}, set()),
        ({"api_url": "https://[bad"}, {"api_url"}),
    ],
)
def test_names_each_misconfiguration(changes: dict[str, str], slugs: set[str]) -> None:
    found = DiscordAdapter.problems(DiscordConfig(**{"token": TOKEN, **changes}), "")
    assert {problem.slug for problem in found} == slugs
    assert "no-dots" not in str(found)


# --- sending ------------------------------------------------------------------


async def test_a_repeated_send_comes_out_once_within_the_window(
    adapter: DiscordAdapter, fake: FakeDiscord
) -> None:
    first = await adapter.send(Outbound("key1", CHAT, "hello"))
    assert await adapter.send(Outbound("key1", CHAT, "hello")) == first
    assert fake.texts(CHAT) == ["hello"]
    fake.dedupe_seconds = 0.0
    assert await adapter.send(Outbound("key1", CHAT, "hello")) != first
    assert fake.texts(CHAT) == ["hello", "hello"]
    # a repeat that is begun in time may wait inside discord.py, and must still be dropped
    latest = adapter.capabilities.dedupe_seconds + _discord_rest.CALL_SECONDS
    assert latest <= FakeDiscord().dedupe_seconds


async def test_nobody_is_notified_and_an_answer_quotes(
    adapter: DiscordAdapter, fake: FakeDiscord
) -> None:
    channel = fake.add_guild()
    await adapter.send(Outbound("k", channel, "@everyone", {"reply_to": "12", "chat_id": "x"}))
    body = fake.sent[0].body
    assert body["allowed_mentions"] == {"parse": []}
    assert body["message_reference"] == {"message_id": "12", "fail_if_not_exists": False}
    assert (body["nonce"], body["enforce_nonce"]) == ("k", True)


async def test_buttons_stand_in_rows_of_five(adapter: DiscordAdapter, fake: FakeDiscord) -> None:
    buttons = [Button(f"B{n}", f"v{n}") for n in range(22)]
    buttons += [Button("x" * 99, "y" * 150), Button("again", "v1"), Button("", "empty")]
    await adapter.send(Outbound("k", CHAT, "Which?", buttons=buttons))
    rows = [row["components"] for row in fake.sent[0].body["components"]]
    assert [len(row) for row in rows] == [5, 5, 5, 5, 4]
    assert rows[0][0] == {"type": 2, "style": 2, "label": "B0", "custom_id": "v0"}
    assert rows[4][3]["label"] == "empty"


async def test_a_file_goes_out_with_its_caption(
    adapter: DiscordAdapter, fake: FakeDiscord, tmp_path: Path
) -> None:
    data = bytes(range(256)) * 4096
    (tmp_path / "x").write_bytes(data)
    file = File("image", tmp_path / "x", "image/png", 'a "cat" ü.png', len(data))
    await adapter.send(Outbound("k", CHAT, "look", file=file))
    (sent,) = fake.sent
    assert sent.files == {'a "cat" ü.png': data}
    assert (sent.text, sent.body["nonce"]) == ("look", "k")
    await adapter.send(Outbound("k2", CHAT, "", file=file))
    assert fake.texts(CHAT) == ["look", ""]


async def test_a_file_that_is_too_large_is_refused(
    adapter: DiscordAdapter, fake: FakeDiscord, tmp_path: Path
) -> None:
    size = adapter.capabilities.media["file"] + 1
    with (tmp_path / "x").open("wb") as file:
        file.truncate(size)
    large = File("file", tmp_path / "x", "application/octet-stream", "x.bin", size)
    with pytest.raises(Refused):
        await adapter.send(Outbound("k", CHAT, "", file=large))


async def test_the_text_limit_is_discords(adapter: DiscordAdapter, fake: FakeDiscord) -> None:
    await adapter.send(Outbound("k1", CHAT, "😀" * 2000))
    with pytest.raises(Refused):
        await adapter.send(Outbound("k2", CHAT, "😀" * 2001))


async def test_an_answer_grows_by_edits(adapter: DiscordAdapter, fake: FakeDiscord) -> None:
    receipt = await adapter.send(Outbound("k", CHAT, "One"))
    for text in ("One two", "One two", "One two three"):
        await adapter.edit(Outbound("k", CHAT, text), receipt.message_id)
    assert fake.texts(CHAT) == ["One two three"]
    with pytest.raises(Refused):
        await adapter.edit(Outbound("k", CHAT, "x"), "12")
    fake.fail("edit", status=500)
    with pytest.raises(Transient):
        await adapter.edit(Outbound("k", CHAT, "x"), receipt.message_id)


async def test_typing_is_shown(adapter: DiscordAdapter, fake: FakeDiscord) -> None:
    await adapter.typing(CHAT, {})
    assert len(fake.called("typing")) == 1


async def test_a_short_wait_is_obeyed_and_the_message_comes_once(
    adapter: DiscordAdapter, fake: FakeDiscord
) -> None:
    fake.fail("send", retry_after=0.3)
    started = time.monotonic()
    await adapter.send(Outbound("k", CHAT, "hello"))
    assert time.monotonic() - started >= 0.3
    assert fake.texts(CHAT) == ["hello"]
    assert {call.body["nonce"] for call in fake.called("send")} == {"k"}


@pytest.mark.parametrize(
    "how",
    [
        {"retry_after": 45.5},
        {"retry_after": 45.5, "is_global": True},
        {"retry_after": 7.25, "banned": True},
    ],
)
async def test_a_long_wait_is_told_to_the_core(
    how: dict[str, Any], adapter: DiscordAdapter, fake: FakeDiscord
) -> None:
    fake.fail("send", **how)
    with pytest.raises(RateLimited) as caught:
        await adapter.send(Outbound("k", CHAT, "hello"))
    assert caught.value.retry_after == how["retry_after"]
    assert caught.value.scope == ("bot" if how.get("is_global") else "lane")
    await adapter.send(Outbound("k", CHAT, "hello"))
    assert fake.texts() == ["hello"]


async def test_a_bucket_that_is_empty_is_waited_for_without_a_429(
    adapter: DiscordAdapter, fake: FakeDiscord
) -> None:
    fake.bucket = (2, 0.25)
    started = time.monotonic()
    for number in range(5):
        await adapter.send(Outbound(f"k{number}", CHAT, f"{number}"))
    assert fake.texts(CHAT) == ["0", "1", "2", "3", "4"]
    assert time.monotonic() - started >= 0.4
    assert len(fake.called("send")) == 5


async def test_a_server_that_never_answers_is_given_up_on(
    adapter: DiscordAdapter, fake: FakeDiscord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters._discord_rest.CALL_SECONDS", 0.2)
    fake.fail("typing", hang=True)
    with pytest.raises(Transient):
        await adapter.typing(CHAT, {})


async def test_many_lanes_send_at_once(adapter: DiscordAdapter, fake: FakeDiscord) -> None:
    for person in range(1, 50):
        fake.direct(person)
    sends = (adapter.send(Outbound(f"k{n}", direct_chat(n), "hi")) for n in range(1, 50))
    await asyncio.gather(*sends)
    assert len(fake.sent) == 49


# --- files that people send ---------------------------------------------------


async def fetched(adapter: DiscordAdapter, handle: str) -> bytes:
    return b"".join([piece async for piece in adapter.fetch(Media("file", handle))])


async def test_an_attachment_is_fetched(adapter: DiscordAdapter, fake: FakeDiscord) -> None:
    data = b"x" * 3_000_000
    found = fake.attach("a.bin", data, "application/octet-stream")
    assert await fetched(adapter, found["url"]) == data


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"status": 404}, Refused),
        ({"status": 403}, Refused),
        ({"status": 302}, Refused),
        ({"status": 503}, Transient),
        ({"drop": "before", "times": 3}, Transient),
        ({"retry_after": 3}, RateLimited),
    ],
)
async def test_a_fetch_fails_in_kind(
    how: dict[str, Any], expected: Any, adapter: DiscordAdapter, fake: FakeDiscord
) -> None:
    found = fake.attach("a.bin", b"data", "text/plain")
    fake.fail("file", **how)
    with pytest.raises(expected):
        await fetched(adapter, found["url"])


@pytest.mark.parametrize(
    "handle",
    [
        "http://127.0.0.1:1/attachments/1/a",
        "http://cdn.discordapp.com/attachments/1/2/a",
        "https://cdn.discordapp.com.example.com/a",
        "https://cdn.discordapp.com@127.0.0.1/a",
        "https://cdn.discordapp.com:8443/a",
        "https://127.0.0.1\\@cdn.discordapp.com/a",
        "file:///etc/passwd",
        "//cdn.discordapp.com/a",
        "https://[bad",
        "",
    ],
)
async def test_no_other_host_is_ever_asked(handle: str) -> None:
    class Untouched(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise AssertionError(f"asked {request.url}")

    adapter = DiscordAdapter(DiscordConfig(token=TOKEN), Untouched())
    with pytest.raises(Refused):
        await fetched(adapter, handle)


async def test_discords_own_file_servers_are_asked() -> None:
    asked: list[str] = []

    class Recording(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            asked.append(str(request.url))
            assert "Authorization" not in request.headers
            return httpx.Response(200, content=b"data")

    adapter = DiscordAdapter(DiscordConfig(token=TOKEN, api_url=DISCORD + "/"), Recording())
    for host in CDN:
        assert await fetched(adapter, f"{host}/attachments/1/2/a?ex=1") == b"data"
    assert len(asked) == 2


def test_an_unknown_event_is_unsupported() -> None:
    with pytest.raises(Unsupported):
        read_event("SOMETHING_NEW", {}, ME)
