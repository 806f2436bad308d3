"""What every adapter keeps to. Adapters are found by their files, not listed."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import traceback
from collections.abc import AsyncIterator, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters._split import split
from adapters._text import length
from adapters.base import (
    KINDS,
    Adapter,
    Button,
    Capabilities,
    Cursor,
    Editor,
    File,
    Forbidden,
    Inbound,
    Location,
    Malformed,
    Outbound,
    RateLimited,
    Receipt,
    Rejected,
    SendError,
    Typist,
    Unreadable,
    Unsupported,
    WebhookReceiver,
)
from tests.adapters.harness import (
    SECOND_WAYS,
    Harness,
    adapter_classes,
    adapter_names,
    build,
    harness,
)

NAMES = adapter_names()
WAYS = [*NAMES, *SECOND_WAYS]
RECEIVERS = [name for name in NAMES if issubclass(adapter_classes(name)[0], WebhookReceiver)]
LISTENERS = [name for name in WAYS if hasattr(adapter_classes(name)[0], "listen")]
SITUATIONS = [(name, what) for name in WAYS for what in harness(name).situations]
FORGERIES = [(name, what) for name in RECEIVERS for what in harness(name).forged()]
WITH_FILES = [name for name in WAYS if adapter_classes(name)[0].capabilities.media]
EDITORS = [name for name in NAMES if issubclass(adapter_classes(name)[0], Editor)]
SECRET_WORDS = ("token", "secret", "password", "key")


class Untouched(httpx.AsyncBaseTransport):
    """Fails whoever uses it."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise AssertionError("building an adapter must not call the platform")


class RecordingInlet:
    """The core's side of a listener, in memory."""

    def __init__(self) -> None:
        self.arrivals: list[Inbound | Rejected] = []
        self.position: Cursor | None = None
        self.came = asyncio.Event()

    async def cursor(self) -> Cursor | None:
        return self.position

    async def accept(
        self, arrivals: Sequence[Inbound | Rejected], cursor: str | None = None
    ) -> None:
        self.arrivals += arrivals
        if cursor is not None:
            self.position = Cursor(cursor, 0.0)

    def alive(self) -> None:
        self.came.set()

    def failing(self, detail: str) -> None:
        raise AssertionError(detail)


@pytest.fixture
async def at(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    """The harness of the channel that the test is run for, its platform running."""
    async with harness(request.param) as found:
        found.name = request.param  # type: ignore[attr-defined]  # for the helper below
        yield found


def made(at: Any, config: Any, transport: httpx.AsyncBaseTransport) -> Any:
    return build(at.name, config, transport)


@pytest.mark.parametrize("name", NAMES)
def test_file_declares_one_adapter_named_after_it(name: str) -> None:
    (found,) = adapter_classes(name)
    assert found.name == name
    assert not inspect.isabstract(found)
    assert list(inspect.signature(found).parameters) == ["config", "http"]


@pytest.mark.parametrize("name", NAMES)
def test_file_says_how_to_set_the_channel_up(name: str) -> None:
    text = importlib.import_module(f"adapters.{name}").__doc__ or ""
    assert len(text.strip().splitlines()) >= 3
    assert "OPENCLAW_" in text


@pytest.mark.parametrize("name", NAMES)
def test_settings_have_text_defaults_and_help_and_secrets_are_marked(name: str) -> None:
    config = adapter_classes(name)[0].Config
    assert is_dataclass(config)
    for field in fields(config):
        assert field.default is not MISSING
        assert isinstance(field.default, str)
        assert field.metadata["help"].endswith(".")
        if any(word in field.name for word in SECRET_WORDS):
            assert field.metadata["secret"], f"{field.name} would be printed"


@pytest.mark.parametrize("name", NAMES)
def test_capabilities_make_sense(name: str) -> None:
    found = adapter_classes(name)[0]
    facts: Capabilities = found.capabilities
    parts = split("word 😀 " * 30_000, facts.text_limit - 50, facts.text_unit)
    assert all(length(part, facts.text_unit) <= facts.text_limit for part in parts)
    for rate in (facts.bot_rate, facts.chat_rate, facts.group_rate):
        assert rate is None or (rate.per_second > 0 and rate.burst >= 1)
    assert all(size > 0 for size in facts.media.values())
    assert (facts.typing_seconds is not None) == issubclass(found, Typist)
    assert facts.dedupe_seconds >= 0
    assert facts.edit_seconds > 0


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_configuration_says_what_is_missing(name: str) -> None:
    found = adapter_classes(name)[0]
    problems = found.problems(found.Config(), "")
    assert {problem.slug for problem in problems} == harness(name).empty_problems
    assert all(problem.message and problem.hint for problem in problems)


@pytest.mark.parametrize("at", WAYS, indirect=True)
def test_a_working_configuration_has_no_problem(at: Any) -> None:
    assert adapter_classes(at.name)[0].problems(at.config(), "") == []


@pytest.mark.parametrize("at", WAYS, indirect=True)
async def test_building_touches_nothing(at: Any) -> None:
    assert isinstance(made(at, at.config(), Untouched()), Adapter)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("at", WAYS, indirect=True)
async def test_a_send_ends_with_a_receipt(at: Any, transport: Any, plain: bool) -> None:
    adapter = made(at, at.config(), transport)
    await adapter.open(None)
    receipt = await adapter.send(Outbound("key1", at.chat_id, "1 < 2 & so on", plain=plain))
    assert isinstance(receipt, Receipt)
    assert isinstance(receipt.message_id, str)
    assert receipt.message_id
    assert receipt.chat_id is None
    assert at.texts() in (None, ["1 < 2 & so on"])
    await adapter.close()


@pytest.mark.parametrize("at", WAYS, indirect=True)
async def test_two_sends_have_two_receipts(at: Any, transport: Any) -> None:
    adapter = made(at, at.config(), transport)
    first = await adapter.send(Outbound("key1", at.chat_id, "one"))
    second = await adapter.send(Outbound("key2", at.chat_id, "two"))
    assert first.message_id != second.message_id


@pytest.mark.parametrize("at", WAYS, indirect=True)
async def test_no_text_breaks_a_send(at: Any, transport: Any) -> None:
    adapter = made(at, at.config(), transport)
    for text in ("lone \ud83d half", "nul \0 in it", "\U0010ffff\ue000", "**open", "[x](y" * 99):
        assert (await adapter.send(Outbound("key", at.chat_id, text))).message_id


@pytest.mark.parametrize("at", WAYS, indirect=True)
async def test_closing_one_adapter_leaves_the_transport_to_the_others(
    at: Any, transport: Any
) -> None:
    one, other = made(at, at.config(), transport), made(at, at.config(), transport)
    await one.open(None)
    await one.close()
    assert (await other.send(Outbound("key", at.chat_id, "still here"))).message_id


@pytest.mark.parametrize(("at", "what"), SITUATIONS, indirect=["at"])
async def test_each_failed_send_says_what_kind_it_is(
    at: Any, what: str, transport: Any, caplog: pytest.LogCaptureFixture
) -> None:
    expected, arrange = at.situations[what]
    adapter = made(at, at.config(), transport)
    arrange(at)
    with caplog.at_level(logging.DEBUG), pytest.raises(SendError) as caught:
        await adapter.send(Outbound("key", at.chat_id, "some **bold** words that are private"))
    error = caught.value
    assert type(error) is expected  # its name is the delivery's error code
    assert error.detail
    assert not isinstance(error, RateLimited) or error.retry_after > 0
    told = "".join(traceback.format_exception(error)) + repr(error) + error.detail + caplog.text
    assert not [secret for secret in at.secrets if secret in told]
    assert "words that are private" not in caplog.text


@pytest.mark.parametrize("at", WAYS, indirect=True)
async def test_secrets_are_in_no_repr_and_no_log(
    at: Any, transport: Any, caplog: pytest.LogCaptureFixture
) -> None:
    config = at.config()
    with caplog.at_level(logging.DEBUG):
        adapter = made(at, config, transport)
        await adapter.open(None)
        await adapter.send(Outbound("key", at.chat_id, "private words"))
        await adapter.close()
    told = repr(config) + str(config) + repr(adapter) + caplog.text
    assert not [secret for secret in at.secrets if secret in told]
    assert "private words" not in caplog.text


# --- what is not text ---------------------------------------------------------


def stored(folder: Path, kind: str) -> File:
    path = folder / kind
    path.write_bytes(b"content of a file" * 1000)
    url = f"https://example.com/media/{kind}.bin"
    return File(kind, path, "application/octet-stream", f"a {kind}.bin", 17_000, url)


@pytest.mark.parametrize("at", WITH_FILES, indirect=True)
@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_file_it_can_send_ends_with_a_receipt(
    at: Any, transport: Any, tmp_path: Path, kind: str
) -> None:
    adapter = made(at, at.config(), transport)
    await adapter.open(None)
    assert kind in adapter.capabilities.media or "file" in adapter.capabilities.media
    sent_as = kind if kind in adapter.capabilities.media else "file"
    for number, text in enumerate(["", "(repeated)"]):
        file = stored(tmp_path, sent_as)
        receipt = await adapter.send(Outbound(f"key{number}", at.chat_id, text, file=file))
        assert receipt.message_id


@pytest.mark.parametrize("at", WAYS, indirect=True)
async def test_what_its_facts_promise_it_can_send(at: Any, transport: Any) -> None:
    adapter = made(at, at.config(), transport)
    await adapter.open(None)
    facts: Capabilities = adapter.capabilities
    place, buttons = Location(52.5, 13.4, "here"), [Button(f"b{n}", f"v{n}") for n in range(3)]
    if facts.locations:
        for number, text in enumerate(["", "(repeated)"]):
            message = Outbound(f"place{number}", at.chat_id, text, location=place)
            assert (await adapter.send(message)).message_id
    if facts.buttons:
        message = Outbound("buttons", at.chat_id, "Which?", buttons=buttons[: facts.buttons])
        assert (await adapter.send(message)).message_id
    assert facts.edits == isinstance(adapter, Editor)


@pytest.mark.parametrize("at", EDITORS, indirect=True)
async def test_a_message_can_be_edited_and_edited_to_the_same(at: Any, transport: Any) -> None:
    adapter = made(at, at.config(), transport)
    await adapter.open(None)
    receipt = await adapter.send(Outbound("key", at.chat_id, "Hel"))
    for _ in range(2):
        await adapter.edit(Outbound("key", at.chat_id, "Hello"), receipt.message_id)
    assert at.texts() == ["Hello"]


@pytest.mark.parametrize("at", WAYS, indirect=True)
async def test_probe_is_one_line_for_people_and_changes_nothing(at: Any, transport: Any) -> None:
    line = await made(at, at.config(), transport).probe()
    assert line.strip()
    assert "\n" not in line
    assert not [secret for secret in at.secrets if secret in line]
    assert at.texts() in (None, [])


# --- webhooks -----------------------------------------------------------------


@pytest.mark.parametrize("at", RECEIVERS, indirect=True)
def test_an_authentic_webhook_is_let_in_and_read(at: Any) -> None:
    adapter = made(at, at.webhook_config(), Untouched())
    request = at.delivery("hello")
    assert adapter.handshake(request) is None
    adapter.verify(request)
    (inbound,) = adapter.parse(request)
    assert isinstance(inbound, Inbound)
    assert inbound.text == "hello"
    assert inbound.addressed
    assert inbound.external_id
    assert inbound.user_id


@pytest.mark.parametrize(("at", "what"), FORGERIES, indirect=["at"])
def test_a_forged_webhook_is_refused(at: Any, what: str) -> None:
    adapter = made(at, at.webhook_config(), Untouched())
    with pytest.raises(Forbidden):
        adapter.verify(at.forged()[what])


@pytest.mark.parametrize("at", RECEIVERS, indirect=True)
def test_a_secret_that_is_unset_refuses_everyone(at: Any) -> None:
    adapter = made(at, at.without_secret(), Untouched())
    for request in (at.delivery("hello"), *at.forged().values()):
        with pytest.raises(Forbidden):
            adapter.verify(request)


@pytest.mark.parametrize("at", RECEIVERS, indirect=True)
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"nope", b"\xff\xfe", b'{"a": "\xff"}', b"[" * 100_000, b'{"a":' * 100_000, b"[]",
     b"17", b"null", b'"text"', b"1" * 10_000],
    ids=lambda body: repr(body[:8]),
)  # fmt: skip
def test_what_is_not_a_json_object_is_malformed(at: Any, body: bytes) -> None:
    adapter = made(at, at.webhook_config(), Untouched())
    with pytest.raises(Malformed):
        adapter.parse(at.signed(body))


@pytest.mark.parametrize("at", RECEIVERS, indirect=True)
def test_what_is_not_for_us_is_unsupported(at: Any) -> None:
    adapter = made(at, at.webhook_config(), Untouched())
    with pytest.raises(Unsupported):
        adapter.parse(at.signed(at.unsupported))


@pytest.mark.parametrize("at", RECEIVERS, indirect=True)
def test_what_cannot_be_read_is_set_aside_and_can_be_named(at: Any) -> None:
    adapter = made(at, at.webhook_config(), Untouched())
    try:
        first, again = (adapter.parse(at.signed(at.unreadable)) for _ in range(2))
    except Unreadable as error:
        assert error.reason
        return
    (rejected,) = first
    assert isinstance(rejected, Rejected)
    assert rejected.reason
    assert rejected.payload
    assert rejected.external_id
    assert first == again


@pytest.mark.parametrize("at", RECEIVERS, indirect=True)
def test_the_same_message_delivered_twice_has_the_same_id(at: Any) -> None:
    adapter = made(at, at.webhook_config(), Untouched())
    (first,), (again,) = (adapter.parse(at.delivery("hello", 1)) for _ in range(2))
    (other,) = adapter.parse(at.delivery("hello", 2))
    assert first == again
    assert first.external_id != other.external_id


@pytest.mark.parametrize("at", RECEIVERS, indirect=True)
@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("x" * 1_000_000, "x" * 1_000_000),
        ("a\0b\x01\x1b\u202e", "ab\x01\x1b\u202e"),
        ("half \ud83d and \udc00 half", "half \ufffd and \ufffd half"),
        ("whole 😀 \U0010fffd \ue000", "whole 😀 \U0010fffd \ue000"),
    ],
    ids=["1 MB", "control", "surrogates", "planes"],
)
def test_any_text_comes_through_clean(at: Any, sent: str, read: str) -> None:
    (inbound,) = made(at, at.webhook_config(), Untouched()).parse(at.delivery(sent))
    assert inbound.text == read


# --- listeners ----------------------------------------------------------------


@pytest.mark.parametrize("at", LISTENERS, indirect=True)
async def test_a_listener_says_that_it_works_and_stops_at_once(at: Any, transport: Any) -> None:
    adapter = made(at, at.config(), transport)
    assert adapter.listens is True
    await adapter.open(None)
    inlet = RecordingInlet()
    task = asyncio.create_task(adapter.listen(inlet))
    async with asyncio.timeout(5):
        await inlet.came.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
