"""The entrance is closed unless it is switched on; and what a stream tells of an answer."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from gateway import runtime as runtime_module
from gateway.entrance.app import entrance
from gateway.entrance.following import Spoken


async def test_closed_unless_switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    running = SimpleNamespace(lines={"webchat": object()})
    monkeypatch.setattr(runtime_module, "_current", running)
    sent: list[dict[str, Any]] = []

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    scope = {"path": "/v1/models", "method": "GET", "headers": [(b"authorization", b"Bearer x")]}
    await entrance(scope, _nothing, send)
    assert sent[0]["status"] == 404
    assert json.loads(sent[1]["body"])["error"]["code"] == "not_found"


async def _nothing() -> dict[str, Any]:
    return {"type": "http.request", "body": b""}


def frames(*pieces: tuple[int, str]) -> list[dict[str, object]]:
    return [{"offset": offset, "text": text} for offset, text in pieces]


@pytest.mark.parametrize(
    ("pieces", "final", "told"),
    [
        ([(0, "a"), (1, "b")], "ab", "ab"),
        ([(0, "a"), (1, "b\n")], "ab", "ab\n"),
        ([(0, "ab"), (0, "a"), (1, "bc")], "abc", "abc"),
        ([(0, "ab"), (0, "x"), (1, "y")], "xy", "ab\n\nxy"),
        ([(0, "ab")], "other", "ab\n\nother"),
        ([], "all at once", "all at once"),
    ],
    ids=["grows", "blank end", "begins again alike", "begins again anew", "other end", "whole"],
)
def test_what_was_said_is_never_taken_back_or_doubled(
    pieces: list[tuple[int, str]], final: str, told: str
) -> None:
    spoken = Spoken()
    said = "".join(spoken.more(frame) for frame in frames(*pieces))
    assert said + spoken.up_to(final) == told
