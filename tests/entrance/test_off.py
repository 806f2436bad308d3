"""The entrance is closed unless it is switched on; and what a stream tells of an answer."""

from __future__ import annotations

import httpx
import pytest

from gateway.entrance.following import Spoken
from tests.conftest import StartGateway


def test_closed_unless_switched_on(gateway_process: StartGateway) -> None:
    gateway = gateway_process({"OPENCLAW_CHANNELS": "webchat"})
    answer = httpx.get(f"{gateway.url}/v1/models", headers={"authorization": "Bearer x"})
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


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
