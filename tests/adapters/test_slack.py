"""Slack's own: every kind of event, the handshake, files, threads, buttons, edits."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import _names, slack
from adapters._dialect import render
from adapters._mrkdwn import MARKS, readable
from adapters._text import length
from adapters.base import (
    Button,
    ChannelDown,
    File,
    Forbidden,
    Inbound,
    Malformed,
    Media,
    Outbound,
    PayloadError,
    RateLimited,
    Refused,
    Rejected,
    Request,
    SendError,
    Transient,
    Unsupported,
    Unsure,
)
from adapters.slack import SlackAdapter
from tests.adapters.slack_harness import SlackHarness
from tests.fakes.slack import BOT, TOKEN, FakeSlack, callback, form, signed

FIXTURES = sorted((Path(__file__).parent.parent / "fixtures" / "slack").glob("*.json"))
CASES = {path.stem: json.loads(path.read_text()) for path in FIXTURES}


@pytest.fixture
async def at() -> AsyncIterator[SlackHarness]:
    async with SlackHarness() as harness:
        yield harness


@pytest.fixture
def fake(at: SlackHarness) -> FakeSlack:
    return at.fake


@pytest.fixture
async def adapter(at: SlackHarness, transport: httpx.AsyncBaseTransport) -> SlackAdapter:
    made = SlackAdapter(at.config(), transport)
    await made.open(None)
    return made


def out(text: str = "", **more: Any) -> Outbound:
    return Outbound("key1", "C7", text, **more)


# --- what comes in ------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_reads_each_kind(name: str, adapter: SlackAdapter, at: SlackHarness) -> None:
    case = CASES[name]
    body = form(case["form"]) if "form" in case else callback(case["event"])
    request = at.signed(body)
    adapter.verify(request)
    if case.get("ignored"):
        with pytest.raises(Unsupported):
            adapter.parse(request)
        return
    (found,) = adapter.parse(request)
    if case.get("set_aside"):
        assert isinstance(found, Rejected)
        assert found.external_id == ("event:Ev1" if "event" in case else "")
        return
    assert isinstance(found, Inbound)
    shown = json.loads(json.dumps(asdict(found), default=lambda value: value.isoformat()))
    assert {field: shown[field] for field in case["expected"]} == case["expected"]


def test_a_mention_comes_as_two_events_and_is_one_message(
    adapter: SlackAdapter, at: SlackHarness
) -> None:
    two = [CASES["mention"]["event"], CASES["mention_as_message"]["event"]]
    (first,), (second,) = (adapter.parse(at.signed(callback(event))) for event in two)
    assert first.external_id == second.external_id  # type: ignore[union-attr]  # messages


def test_a_repeated_call_is_the_same_message(adapter: SlackAdapter, at: SlackHarness) -> None:
    body = callback(CASES["direct"]["event"])
    assert adapter.parse(at.signed(body)) == adapter.parse(at.signed(body, retry=2))


@pytest.mark.parametrize("body", [b"payload=", b"payload=%7B", b"payload=5", b"payload"])
def test_a_form_without_a_payload_is_refused(
    adapter: SlackAdapter, at: SlackHarness, body: bytes
) -> None:
    with pytest.raises((Malformed, Unsupported)):
        adapter.parse(at.signed(body))


def test_the_first_call_gets_its_challenge_back_if_it_is_signed(
    adapter: SlackAdapter, at: SlackHarness
) -> None:
    body = json.dumps({"type": "url_verification", "challenge": "3eZbrw1aB"}).encode()
    reply = adapter.handshake(at.signed(body))
    assert reply is not None
    assert (reply.status, reply.body) == (200, b"3eZbrw1aB")
    with pytest.raises(Forbidden):
        adapter.handshake(Request("POST", {}, {}, body))
    quoted = callback({**CASES["direct"]["event"], "text": "url_verification"})
    assert adapter.handshake(at.signed(quoted)) is None


def test_time_is_what_makes_a_signature_stale(
    adapter: SlackAdapter, at: SlackHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = at.delivery("hello")
    for moved, fresh in ((299, True), (-299, True), (302, False), (-302, False)):
        monkeypatch.setattr(slack, "now", lambda moved=moved: time.time() + moved)
        if fresh:
            adapter.verify(request)
        else:
            with pytest.raises(Forbidden):
                adapter.verify(request)


JUNK = st.one_of(st.none(), st.integers(), st.text(max_size=5), st.just([]), st.just({}))
BODIES = [case.get("form") or case["event"] for case in CASES.values()]


@given(st.sampled_from(BODIES), st.data())
def test_no_payload_breaks_the_reader(event: Any, data: st.DataObject) -> None:
    adapter = SlackAdapter(SlackHarness().config(), httpx.MockTransport(lambda request: None))  # type: ignore[arg-type, return-value]  # never called
    if isinstance(event, dict):
        key = data.draw(st.sampled_from(sorted(event)))
        event = {**event, key: data.draw(JUNK)}
    for body in (callback(event), form(event)):
        try:
            found = adapter.parse(Request("POST", signed(body), {}, body))
        except PayloadError:
            continue
        assert all(isinstance(item, Inbound | Rejected) for item in found)


def arrived(adapter: SlackAdapter, at: SlackHarness, **fields: Any) -> Inbound:
    """A message in a channel as the gateway reads it."""
    event = {"type": "message", "channel": "C7", "channel_type": "channel", "user": "U5"}
    (found,) = adapter.parse(at.signed(callback({**event, "text": "hi", "ts": "9.1", **fields})))
    assert isinstance(found, Inbound)
    return found


async def test_a_person_has_a_name_from_their_second_message_on(
    adapter: SlackAdapter, at: SlackHarness, fake: FakeSlack
) -> None:
    first = arrived(adapter, at)
    assert first.sender_name == ""
    await adapter.acknowledge(first)
    second = arrived(adapter, at, ts="9.2")
    assert second.sender_name == "Person U5"
    await adapter.acknowledge(second)
    assert len(fake.called("users.info")) == 1
    assert arrived(adapter, at, user="U6").sender_name == ""


async def test_a_name_that_comes_with_the_message_is_not_asked_for(
    adapter: SlackAdapter, at: SlackHarness, fake: FakeSlack
) -> None:
    found = arrived(adapter, at, user_profile={"display_name": "Ada"})
    await adapter.acknowledge(found)
    assert found.sender_name == "Ada"
    assert fake.called("users.info") == []


async def test_names_are_asked_for_once_an_hour_and_kept_until_there_is_another(
    adapter: SlackAdapter, at: SlackHarness, fake: FakeSlack, monkeypatch: pytest.MonkeyPatch
) -> None:
    await adapter.acknowledge(arrived(adapter, at))
    fake.people["U5"] = "Ada"
    later = _names.now() + _names.FRESH_SECONDS + 1
    monkeypatch.setattr(_names, "now", lambda: later)
    assert arrived(adapter, at).sender_name == "Person U5"
    await adapter.acknowledge(arrived(adapter, at))
    assert arrived(adapter, at).sender_name == "Ada"


async def test_without_the_scope_for_names_nothing_goes_wrong_but_the_name(
    adapter: SlackAdapter, at: SlackHarness, fake: FakeSlack
) -> None:
    fake.scopes.remove("users:read")
    found = arrived(adapter, at)
    with pytest.raises(SendError):  # the core goes on without
        await adapter.acknowledge(found)
    await adapter.acknowledge(found)
    assert len(fake.called("users.info")) == 1
    await adapter.send(out("hi"))
    assert await adapter.probe() == "@fake_bot in Fakes, without the scopes users:read"


async def test_a_thread_in_which_we_have_answered_goes_on_without_a_mention(
    adapter: SlackAdapter, at: SlackHarness
) -> None:
    asked = arrived(adapter, at, text=f"<@{BOT}> why?")
    more = {"thread_ts": "9.1", "parent_user_id": "U5"}
    assert not arrived(adapter, at, ts="9.2", **more).addressed
    await adapter.send(out("because", target=asked.target))
    assert arrived(adapter, at, ts="9.3", **more).addressed
    assert not arrived(adapter, at, ts="9.4", channel="C8", **more).addressed
    assert not arrived(adapter, at, ts="9.5", thread_ts="8.0", parent_user_id="U5").addressed
    assert not arrived(adapter, at, ts="9.6").addressed


@given(st.text(st.sampled_from("<>|#!@&;lt ab"), max_size=20))
def test_no_marks_of_a_person_break_the_reader(text: str) -> None:
    assert len(readable(text)) <= len(text)


# --- what goes out ------------------------------------------------------------


async def test_text_goes_out_in_slacks_marks(adapter: SlackAdapter, fake: FakeSlack) -> None:
    await adapter.send(out("**b** 1 < 2 [a](https://example.com) <@U1>"))
    assert fake.sent[0].message["text"] == (
        "*b* 1 &lt; 2 <https://example.com|a> &lt;@U1&gt;"  # nobody is mentioned by an agent's text
    )
    assert fake.sent[0].message["unfurl_links"] is False
    await adapter.send(out("**b** <", plain=True))
    assert fake.sent[1].message["text"] == "**b** &lt;"
    assert fake.sent[1].message["mrkdwn"] is False


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("[a](https://example.com)", "<https://example.com|a>"),
        ("[**a**](HTTP://example.com/?b=1&c=2)", "<HTTP://example.com/?b=1&amp;c=2|*a*>"),
        ("<https://example.com>", "<https://example.com>"),
        ("[a](mailto:a@example.com)", "<mailto:a@example.com|a>"),
        ("[a](tel:+1555)", "<tel:+1555|a>"),
        ("[a](https://example.com/x|y)", "<https://example.com/x%7Cy|a>"),
        ("[a](https://example.com/>b)", "<https://example.com/%3Eb|a>"),
        ("[hello](!channel)", "hello (!channel)"),
        ("![a](!everyone)", "a (!everyone)"),
        ("[hi](@U123)", "hi (@U123)"),
        ("[hi](#C123)", "hi (#C123)"),
        ("[hi](<!subteam^S1|x>)", "hi (!subteam^S1|x)"),
        ("[hi](ftp://example.com)", "hi (ftp://example.com)"),
        ('[hi](https://example.com "<!here>")', 'hi (https://example.com "&lt;!here&gt;")'),
        ("[![a](https://b.c)](https://d.e)", "<https://b.c|a> (https://d.e)"),
        ("[<!here>](https://b.c)", "<https://b.c|&lt;!here&gt;>"),
    ],
)
async def test_links_are_addresses_and_call_nobody(
    adapter: SlackAdapter, fake: FakeSlack, markdown: str, shown: str
) -> None:
    await adapter.send(out(markdown))
    assert fake.sent[0].message["text"] == shown


@given(st.text(st.sampled_from('[]()<>!@#|ab:/ \\"&`*\n'), max_size=40))
def test_no_text_of_an_agent_calls_anybody(text: str) -> None:
    shown = render(f"{text}[a](!here)", MARKS, 40_000, "utf16")
    assert not re.search(r"<[!@#]", shown)


async def test_replies_stay_in_their_thread(adapter: SlackAdapter, fake: FakeSlack) -> None:
    await adapter.send(out("a", target={"thread": "1.0"}))
    await adapter.send(out("b"))
    assert [sent.message.get("thread_ts") for sent in fake.sent] == ["1.0", None]


async def test_an_edit_replaces_the_text_and_a_message_that_is_gone_is_refused(
    adapter: SlackAdapter, fake: FakeSlack
) -> None:
    receipt = await adapter.send(out("one"))
    await adapter.edit(out("two"), receipt.message_id)
    await adapter.edit(out("two"), receipt.message_id)
    assert fake.texts() == ["two"]
    with pytest.raises(Refused):
        await adapter.edit(out("two"), "1.0")


async def test_buttons_stand_under_the_text(adapter: SlackAdapter, fake: FakeSlack) -> None:
    await adapter.send(out("which?", buttons=[Button("A" * 90, "a" * 3000), Button("B", "b")]))
    section, actions = fake.sent[0].message["blocks"]
    assert section["text"]["text"] == "which?"
    first, second = actions["elements"]
    assert (len(first["text"]["text"]), len(first["value"])) == (75, 2000)
    assert (second["value"], second["action_id"]) == ("b", "button-1")


async def test_buttons_under_a_text_too_long_for_them_are_lines_of_it(
    adapter: SlackAdapter, fake: FakeSlack
) -> None:
    await adapter.send(out("&" * 700, buttons=[Button("<Yes>", "y")]))
    assert "blocks" not in fake.sent[0].message
    assert fake.sent[0].message["text"].endswith("\n• &lt;Yes&gt;")


@pytest.fixture
def file(tmp_path: Path) -> File:
    path = tmp_path / "x.bin"
    path.write_bytes(b"content" * 100_000)
    return File("image", path, "image/png", "ä.png", 700_000)


async def test_a_file_goes_out_in_three_steps(
    adapter: SlackAdapter, fake: FakeSlack, file: File
) -> None:
    await adapter.send(out("(again)", file=file, target={"thread": "1.0"}))
    assert list(fake.uploads.values()) == [file.path.read_bytes()]
    (sent,) = fake.sent
    assert (sent.text, sent.message["thread_ts"]) == ("(again)", "1.0")


@pytest.mark.parametrize("step", ["files.getUploadURLExternal", "upload"])
async def test_a_file_that_nobody_sees_yet_may_be_sent_again(
    adapter: SlackAdapter, fake: FakeSlack, file: File, step: str
) -> None:
    for what in ({"status": 500}, {"drop": "after"}):
        fake.fail(step, **what)
        with pytest.raises(Transient):
            await adapter.send(out(file=file))
    assert not fake.sent


async def test_a_file_whose_last_step_got_no_answer_may_be_there(
    adapter: SlackAdapter, fake: FakeSlack, file: File
) -> None:
    fake.fail("files.completeUploadExternal", drop="after")
    with pytest.raises(Unsure):
        await adapter.send(out(file=file))
    assert len(fake.sent) == 1


async def test_a_scope_that_is_missing_for_files_stops_no_texts(
    adapter: SlackAdapter, fake: FakeSlack, file: File
) -> None:
    fake.scopes.remove("files:write")
    with pytest.raises(Refused, match=r"missing_scope \(scope files:write\)"):
        await adapter.send(out(file=file))
    await adapter.send(out("hi"))
    fake.scopes.remove("chat:write")
    with pytest.raises(ChannelDown, match="chat:write"):
        await adapter.send(out("hi"))


async def test_the_wait_is_read_exactly(adapter: SlackAdapter, fake: FakeSlack) -> None:
    fake.fail("chat.postMessage", retry_after=7)
    with pytest.raises(RateLimited) as caught:
        await adapter.send(out("hi"))
    assert caught.value.retry_after == 7.0


@given(st.text(max_size=4000))
def test_escapes_stay_far_below_the_hard_limit(text: str) -> None:
    part = text[: slack.SlackAdapter.capabilities.text_limit]
    outbound = Outbound("k", "C7", part)
    adapter = SlackAdapter(SlackHarness().config(), httpx.MockTransport(lambda request: None))  # type: ignore[arg-type, return-value]  # never called
    assert length(adapter._message(outbound)["text"], "utf16") <= 40_000


# --- files in -----------------------------------------------------------------


async def fetched(adapter: SlackAdapter, url: str) -> bytes:
    return b"".join([piece async for piece in adapter.fetch(Media("image", url))])


async def test_files_are_fetched_with_the_token(adapter: SlackAdapter, fake: FakeSlack) -> None:
    fake.files["F1"] = b"png" * 1000
    assert await fetched(adapter, f"{fake.url}/files/F1") == b"png" * 1000
    with pytest.raises(Refused):
        await fetched(adapter, f"{fake.url}/files/F2")
    fake.fail("file", times=3, status=500)
    with pytest.raises(Transient):
        await fetched(adapter, f"{fake.url}/files/F1")


@pytest.mark.parametrize(
    "url",
    [
        "http://files.slack.com/x",
        "https://files.slack.com.example.com/x",
        "https://example.com/files.slack.com",
        "https://user@example.com/x",
        "file:///etc/passwd",
        "",
    ],
)
async def test_the_token_goes_nowhere_else(adapter: SlackAdapter, url: str) -> None:
    with pytest.raises(Refused):
        await fetched(adapter, url)


async def test_probe_says_who_we_are(adapter: SlackAdapter) -> None:
    assert await adapter.probe() == "@fake_bot in Fakes"
    assert adapter._me == BOT
    assert TOKEN not in await adapter.probe()


async def test_probe_says_which_scopes_are_missing(adapter: SlackAdapter, fake: FakeSlack) -> None:
    fake.scopes = [one for one in fake.scopes if not one.startswith("files:")]
    assert await adapter.probe() == "@fake_bot in Fakes, without the scopes files:read, files:write"
