"""What an agent can do wrong, and the one clear error that comes of it."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from time import monotonic

import httpx
import pytest

from gateway.agents.base import AgentError, Event, Final, Limits, Target, Token
from gateway.agents.client import AgentClient
from tests.agents.conftest import LIMITS, Heard, hear, hear_bytes, question
from tests.fakes.agent import FakeAgent
from tests.process import free_port

REPLY = "one two three four five six seven eight"


@asynccontextmanager
async def within(
    transport: httpx.AsyncBaseTransport, **seconds: float
) -> AsyncIterator[AgentClient]:
    """A client with these limits; the others are long."""
    client = AgentClient(transport, replace(LIMITS, **seconds))
    yield client
    await client.aclose()


@pytest.fixture
async def hasty(transport: httpx.AsyncBaseTransport) -> AsyncIterator[AgentClient]:
    """A client that waits for no beginning."""
    async with within(transport, first_token_seconds=1.0) as client:
        yield client


async def told(client: AgentClient, fake: FakeAgent, fault: str, form: str = "sse") -> Heard:
    fake.behave(fault=fault, form=form, reply=REPLY)
    return await hear(client, Target("fake", fake.url))


def error_of(heard: Heard) -> tuple[str, bool]:
    assert heard.error is not None, heard.events
    return heard.error.code, heard.error.retryable


async def test_agent_that_is_down_is_unreachable(client: AgentClient) -> None:
    heard = await hear(client, Target("gone", f"http://127.0.0.1:{free_port()}/rpc/message"))
    assert error_of(heard) == ("unreachable", True)


async def test_host_without_address_is_unreachable(client: AgentClient) -> None:
    heard = await hear(client, Target("gone", "http://agent.invalid/rpc/message"))
    assert error_of(heard) == ("unreachable", True)


@pytest.mark.parametrize(
    "target",
    [
        Target("a", "ftp://127.0.0.1/rpc/message"),
        Target("a", "http://127.0.0.1:99999999/rpc/message"),
        Target("a", "http:///rpc/message"),
        Target("a", ""),
        Target("a", "http://127.0.0.1:1/v1", "smoke signals"),
    ],
)
async def test_agent_that_cannot_be_called_is_not_called_again(
    client: AgentClient, target: Target
) -> None:
    assert error_of(await hear(client, target)) == ("unreachable", False)
    assert await client.probe(target)


@pytest.mark.parametrize("key", ["not-a\nheader", "schlüssel"])
async def test_key_that_is_no_header_is_not_sent(
    fake: FakeAgent, client: AgentClient, key: str
) -> None:
    target = Target("a", fake.openai_url, "openai", api_key=key)
    assert error_of(await hear(client, target)) == ("unreachable", False)
    assert await client.probe(target)
    assert fake.calls == []


async def test_agent_comes_back(fake: FakeAgent, client: AgentClient, target: Target) -> None:
    await hear(client, target)
    await fake.refuse()
    # The first one may still meet the connection that was kept: it is found dead.
    heard = await hear(client, target)
    assert error_of(heard) in [("interrupted", True), ("unreachable", True)]
    assert error_of(await hear(client, target)) == ("unreachable", True)
    await fake.listen()
    assert (await hear(client, target)).final


@pytest.mark.parametrize("fault", ["hang", "hang_headers", "keepalive"])
async def test_silence_before_the_first_event(
    fake: FakeAgent, hasty: AgentClient, fault: str
) -> None:
    heard = await told(hasty, fake, fault)
    assert (error_of(heard), heard.events) == (("timeout_first", True), [])
    await fake.until(lambda: [call.closed_early for call in fake.calls] == [True])


async def test_silence_in_mid_answer(fake: FakeAgent, transport: httpx.AsyncBaseTransport) -> None:
    async with within(transport, between_tokens_seconds=0.5) as client:
        heard = await told(client, fake, "hang_middle")
    assert (error_of(heard), heard.text) == (("timeout_between", False), "one two three four")
    await fake.until(lambda: [call.closed_early for call in fake.calls] == [True])


async def test_endless_answer_ends_at_the_total_limit(
    fake: FakeAgent, transport: httpx.AsyncBaseTransport
) -> None:
    async with within(transport, total_seconds=2.0) as client:
        heard = await told(client, fake, "endless")
    assert error_of(heard) == ("timeout_total", False)
    assert heard.text.startswith("oneone")
    await fake.until(lambda: [call.closed_early for call in fake.calls] == [True])


async def test_comments_keep_a_silent_agent_alive(
    fake: FakeAgent, transport: httpx.AsyncBaseTransport
) -> None:
    patience = b'event: token\ndata: {"text": "a"}\n\n' + b": hm\n" * 60
    fake.behave(body=patience, content_type="text/event-stream", chunk=8, delay=0.05)
    started = monotonic()
    async with within(transport, between_tokens_seconds=2.0) as client:
        heard = await hear(client, Target("fake", fake.url))
    assert (heard.text, heard.code) == ("a", "interrupted")
    assert monotonic() - started > 2.0


@pytest.mark.parametrize(
    ("fault", "code", "retryable", "text"),
    [
        ("close", "interrupted", True, ""),
        ("close_middle", "interrupted", True, "one two three four"),
        ("reset_middle", "interrupted", True, "one two three four"),
        ("no_final", "interrupted", True, REPLY),
        ("error", "reported", True, "one two three four"),
        ("error_first", "reported", True, ""),
        ("garbage", "malformed", False, ""),
        ("garbage_body", "malformed", False, ""),
        ("wrong_type", "malformed", False, ""),
        ("gzip", "malformed", False, ""),
        ("redirect", "malformed", False, ""),
    ],
)
async def test_fault_is_one_clear_error_and_keeps_what_was_said(
    fake: FakeAgent, client: AgentClient, fault: str, code: str, retryable: bool, text: str
) -> None:
    heard = await told(client, fake, fault)
    assert (error_of(heard), heard.text) == ((code, retryable), text)
    assert all(isinstance(event, Token) for event in heard.events)


@pytest.mark.parametrize("form", ["ndjson", "text"])
@pytest.mark.parametrize("fault", ["close_middle", "reset_middle"])
async def test_cut_stream_is_no_answer_in_any_form(
    fake: FakeAgent, client: AgentClient, form: str, fault: str
) -> None:
    heard = await told(client, fake, fault, form)
    assert heard.code == "interrupted"
    assert heard.text.startswith("one two three four")


@pytest.mark.parametrize("form", ["text", "json"])
async def test_body_shorter_than_promised_is_no_answer(
    fake: FakeAgent, client: AgentClient, form: str
) -> None:
    assert error_of(await told(client, fake, "short", form)) == ("interrupted", True)


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (400, "status_4xx", False),
        (404, "status_4xx", False),
        (408, "status_4xx", True),
        (425, "status_4xx", True),
        (429, "status_4xx", True),
        (500, "status_5xx", True),
        (503, "status_5xx", True),
    ],
)
async def test_status_decides_about_the_next_try(
    fake: FakeAgent, client: AgentClient, target: Target, status: int, code: str, retryable: bool
) -> None:
    fake.behave(status=status, retry_after="7")
    heard = await hear(client, target)
    assert heard.error is not None
    assert error_of(heard) == (code, retryable)
    assert heard.error.retry_after == 7.0
    assert heard.error.detail == f"HTTP {status}: refused by the fake"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'"text"',
        b"null",
        b"{",
        b"{}",
        b'{"content": 7}',
        b'{"content": null}',
        b'{"content": " \\n "}',
        b'{"content": "a", "silent": "no"}',
        b'{"content": "a", "attachments": {}}',
        b'{"content": "a", "attachments": [{}]}',
        b'{"content": "a", "attachments": ["http://example.com"]}',
        b'{"content": "a", "metadata": []}',
        b'{"content": "a", "metadata": {"n": NaN}}',
        b'{"content": "a", "metadata": {"n": 1e999}}',
        b'{"content": "a\x00"}',
        b"[" * 100_000,
    ],
)
async def test_malformed_answers(body: bytes) -> None:
    assert error_of(await hear_bytes(body, "application/json")) == ("malformed", False)


@pytest.mark.parametrize(
    "data",
    ["", "null", "7", "{}", '{"text": null}', '{"text": 7}', '["text"]', "{", '{"text": "a}'],
)
async def test_malformed_tokens(data: str) -> None:
    stream = f'event: token\ndata: {{"text": "ok"}}\n\nevent: token\ndata: {data}\n\n'
    heard = await hear_bytes(stream.encode(), "text/event-stream")
    assert (error_of(heard), heard.text) == (("malformed", False), "ok")


@pytest.mark.parametrize("line", ["7", "{", "[]", "{}", '{"type": 7}', '{"type": "token"}'])
async def test_malformed_lines(line: str) -> None:
    heard = await hear_bytes(line.encode() + b"\n", "application/x-ndjson")
    assert error_of(heard) == ("malformed", False)


@pytest.mark.parametrize("kind", ["", "text/html", "application/xml", "nonsense"])
async def test_unknown_content_types(kind: str) -> None:
    assert error_of(await hear_bytes(b'{"content": "a"}', kind)) == ("malformed", False)


@pytest.mark.parametrize("data", ["null", "7", '{"message": 7}', '{"message": "a\\ud800"}'])
async def test_reported_error_need_not_be_well_made(data: str) -> None:
    heard = await hear_bytes(f"event: error\ndata: {data}\n\n".encode(), "text/event-stream")
    assert heard.code in ("reported", "malformed")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"])
async def test_agent_that_never_reads_the_question_is_given_up(
    hasty: AgentClient, answer: bytes
) -> None:
    deaf: list[asyncio.StreamWriter] = []

    async def ignore(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(answer)
        deaf.append(writer)

    server = await asyncio.start_server(ignore, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    long = question("x" * 20_000_000)
    heard = await hear(hasty, Target("deaf", f"http://127.0.0.1:{port}/rpc/message"), long)
    assert error_of(heard) == ("timeout_first", True)
    server.close()
    for writer in deaf:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize("fault", ["huge", "huge_line"])
@pytest.mark.parametrize("form", ["sse", "ndjson", "text", "json"])
async def test_oversized_answer_is_cut_off_and_memory_stays_flat(
    fake: FakeAgent, transport: httpx.AsyncBaseTransport, fault: str, form: str
) -> None:
    client = AgentClient(transport, Limits(max_bytes=1024 * 1024))
    fake.behave(fault=fault, form=form)
    tracemalloc.start()
    try:
        async with aclosing(client.ask(Target("fake", fake.url), question())) as events:
            with pytest.raises(AgentError) as caught:
                async for event in events:
                    assert isinstance(event, Token)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (caught.value.code, caught.value.retryable) == ("too_large", False)
    assert peak < 16 * 1024 * 1024
    await fake.until(lambda: [call.closed_early for call in fake.calls] == [True])


async def test_cancelled_task_closes_the_connection(
    fake: FakeAgent, client: AgentClient, target: Target
) -> None:
    fake.behave(fault="hang_middle", reply=REPLY)
    first = asyncio.Event()

    async def listen() -> None:
        async for _ in client.ask(target, question()):
            first.set()

    task = asyncio.create_task(listen())
    await first.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await fake.until(lambda: [call.closed_early for call in fake.calls] == [True])


async def test_task_cancelled_before_the_answer_begins_closes_the_connection(
    fake: FakeAgent, client: AgentClient, target: Target
) -> None:
    fake.behave(fault="hang")
    task = asyncio.create_task(hear(client, target))
    await fake.until(lambda: bool(fake.calls))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await fake.until(lambda: [call.closed_early for call in fake.calls] == [True])


async def test_closed_generator_closes_the_connection(
    fake: FakeAgent, client: AgentClient, target: Target
) -> None:
    fake.behave(fault="endless")
    events: list[Event] = []
    async with aclosing(client.ask(target, question())) as stream:
        async for event in stream:
            events.append(event)
            if len(events) == 3:
                break
    await fake.until(lambda: [call.closed_early for call in fake.calls] == [True])


async def test_agent_that_lingers_after_final_delays_nobody(
    fake: FakeAgent, client: AgentClient, target: Target
) -> None:
    fake.behave(fault="hang_after", reply="done")
    started = monotonic()
    assert (await hear(client, target)).events[-1] == Final("done")
    assert monotonic() - started < 4.0  # waiting for its end would take five seconds
    await fake.until(lambda: [call.closed_early for call in fake.calls] == [True])


async def test_slow_consumer_is_not_a_silent_agent(
    fake: FakeAgent, transport: httpx.AsyncBaseTransport
) -> None:
    fake.behave(reply="a b", delay=0.02)
    kept: list[Event] = []
    async with (
        within(transport, between_tokens_seconds=1.0) as client,
        aclosing(client.ask(Target("fake", fake.url), question())) as stream,
    ):
        async for event in stream:
            kept.append(event)
            await asyncio.sleep(1.2 if len(kept) == 1 else 0)
    assert isinstance(kept[-1], Final)
