"""What no well-behaved platform sends, over the real socket: a status, one log line, no harm."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.world import SECRET, TOKEN, World, wait_until, world

PERSON = 41
MEGABYTE = 1024 * 1024


@pytest.fixture(autouse=True)
def unharmed(webhook_world: World) -> Iterator[None]:
    """After whatever it was given, the same process answers the next message."""
    pid = webhook_world.gateway.pid
    yield
    webhook_world.say(PERSON)
    webhook_world.settle()
    assert webhook_world.gateway.pid == pid
    assert webhook_world.gateway.returncode is None
    assert SECRET not in webhook_world.gateway.log_text()
    assert TOKEN not in webhook_world.gateway.log_text()


BESIDE = ("gateway.lag:", "gateway.turns:", "gateway.delivery:", "gateway.runtime:")
"""Who may say something just then that has nothing to do with the call."""


def log_lines(world: World, body: bytes | dict[str, Any], secret: str | None = SECRET) -> Any:
    """(status, log lines it caused) of one webhook call."""
    before = len(world.gateway.log_text())
    status = world.post(body, secret)
    lines = world.gateway.log_text()[before:].splitlines()
    return status, [line for line in lines if not any(part in line for part in BESIDE)]


@pytest.mark.parametrize("secret", [None, "", "wrong", f"{SECRET}x", "ä" * 10], ids=repr)
def test_a_wrong_or_missing_secret_is_refused(webhook_world: World, secret: str | None) -> None:
    shown = secret.encode().decode("latin-1") if secret else secret
    update = webhook_world.update(PERSON, "private words")

    status, lines = log_lines(webhook_world, update, shown)

    assert status == 403
    assert len(lines) == 1
    assert "private words" not in lines[0]
    assert not webhook_world.probe.rows("sessions_app.Message", "pk", text="private words")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b"[1, 2]", b"7", b'"text"', b"null", b"[" * 100_000, b"\x00" * 100],
    ids=lambda body: repr(body[:8]),
)
def test_what_is_no_json_object_is_malformed(webhook_world: World, body: bytes) -> None:
    status, lines = log_lines(webhook_world, body)

    assert status == 400
    assert len(lines) == 1


def test_a_body_of_ten_megabytes_is_too_large(webhook_world: World) -> None:
    status, lines = log_lines(webhook_world, b'{"x": "' + b"a" * 10 * MEGABYTE + b'"}')

    assert status == 413
    assert len(lines) == 1
    assert webhook_world.memory_mib() < 200


WRONG_TYPES: list[dict[str, Any]] = [
    {"message": "a text"},
    {"message": {"message_id": 1, "date": 1, "chat": 5, "from": {"id": 5}, "text": "x"}},
    {"message": {"message_id": "1", "chat": {"id": 5, "type": "private"}, "text": "x"}},
    {"message": {"chat": {"id": "5", "type": "private"}, "from": {"id": 5}, "text": "x"}},
    {"message": {"chat": {"id": 5, "type": "private"}, "from": {"id": True}, "text": "x"}},
    {"message": {"chat": {"id": 5, "type": "private"}, "from": {"id": 5}, "text": ["x"]}},
    {"message": {"chat": {"id": 10**30, "type": "private"}, "from": {"id": 5}, "text": "x"}},
]


@pytest.mark.parametrize("content", WRONG_TYPES, ids=lambda content: json.dumps(content)[:40])
def test_wrong_types_are_set_aside(webhook_world: World, content: dict[str, Any]) -> None:
    update = {**webhook_world.update(PERSON, ""), **content}

    status, lines = log_lines(webhook_world, update)

    assert status == 200
    assert len(lines) == 1
    key = f"update:{update['update_id']}"
    rows = webhook_world.probe.rows("gateway.SetAside", "channel", "payload", external_id=key)
    assert [row["channel"] for row in rows] == ["telegram"]
    assert json.loads(rows[0]["payload"]) == update


@pytest.mark.parametrize(
    "content",
    [
        {"my_chat_member": {"chat": {"id": 5}}},
        {"poll": {}},
        {"a_kind_of_next_year": [1]},
        {},
        {"message": {"chat": {"id": 5, "type": "private"}, "from": {"id": 5}, "date": 1,
                     "message_id": 1, "pinned_message": {}}},
    ],
    ids=lambda content: json.dumps(content)[:40],
)  # fmt: skip
def test_unknown_kinds_are_taken_and_ignored(webhook_world: World, content: dict[str, Any]) -> None:
    status, lines = log_lines(webhook_world, {"update_id": 7_000_000, **content})

    assert status == 200
    assert lines == []
    assert not webhook_world.probe.rows("gateway.SetAside", "pk", external_id="update:7000000")


def planes() -> str:
    """Some characters of each Unicode plane, the last two of each among them."""
    starts = [plane * 0x10000 for plane in range(17)]
    return "".join(chr(s + at) for s in starts for at in (0x41, 0x3400, 0xF600, 0xFFFE, 0xFFFF))


CONTROLS = "".join(map(chr, [*range(1, 0x20), *range(0x7F, 0xA0), 0x200E, 0x202E, 0xFEFF, 0xAD]))


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        (planes(), planes()),
        (CONTROLS, CONTROLS),
        ("nul \0 in \0\0 it", "nul  in  it"),
        ("half \ud83d of a pair", "half \ufffd of a pair"),
        ("other \ude00 half", "other \ufffd half"),
        ("turned \ude00\ud83d round", "turned \ufffd\ufffd round"),
        ("e\u0301" * 500 + "\u200d" * 200, "e\u0301" * 500 + "\u200d" * 200),
        ("a" * MEGABYTE, "a" * MEGABYTE),
        ("\U0001f600" * 100_000, "\U0001f600" * 100_000),
    ],
    ids=["planes", "controls", "nul", "high half", "low half", "turned", "marks", "1 MB", "astral"],
)
def test_strange_texts_reach_the_agent(webhook_world: World, text: str, heard: str) -> None:
    name = webhook_world.tally.new_id(PERSON)
    update = webhook_world.update(PERSON, f"{name} {text}.")

    status, lines = log_lines(webhook_world, json.dumps(update).encode())

    assert status == 200
    assert lines == []
    webhook_world.settle()
    call = next(call for call in webhook_world.agent.calls if name in call.asked[-1])
    assert call.asked == [f"{name} {heard}."]


def test_strange_texts_come_back_as_they_were_said(webhook_world: World) -> None:
    name = webhook_world.say(PERSON, f"«{planes()}» \u202e«{CONTROLS}»")
    webhook_world.settle()

    (reply,) = webhook_world.tally.said[name].replies
    assert f"«{planes()}»" in reply.text
    assert f"«{CONTROLS}»" in reply.text


def test_a_text_of_a_megabyte_comes_back_in_parts_and_whole(webhook_world: World) -> None:
    name = webhook_world.tally.new_id(44)
    assert webhook_world.post(webhook_world.update(44, name + " " + "b" * MEGABYTE)) == 200

    wait_until(lambda: sum(t.count("b") for t in webhook_world.telegram.texts(44)) >= MEGABYTE)

    parts = webhook_world.telegram.texts(44)
    assert "".join(parts).replace(" ", "") == f"ack{name}" + "b" * MEGABYTE
    assert max(map(len, parts)) <= 4096


def test_a_poisoned_update_does_not_block_the_polling_batch(tmp_path: Path) -> None:
    with world(tmp_path, "polling", start=False) as made:
        made.say(42)
        for content in WRONG_TYPES:
            made.telegram.push(content)
        made.telegram.push({"a_kind_of_next_year": [1]})
        made.say(42)
        made.gateway.spawn()
        made.settle()
        made.say(43)
        made.settle()

        assert made.gateway.stop() == 0
        assert made.tally.problems() == {}
        assert made.telegram.pending == {}
        assert made.probe.count("gateway.SetAside") == len(WRONG_TYPES)
