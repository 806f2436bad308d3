"""From an agent's text to what people read: split by the core, written by each real adapter."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters._dialect import render
from adapters._telegram_content import contents
from adapters._text import clean, length
from adapters.base import Outbound, TextUnit
from adapters.discord import DiscordAdapter, DiscordConfig
from adapters.imessage import ImessageAdapter, _words
from adapters.slack import SlackAdapter, SlackConfig
from adapters.telegram import TelegramAdapter
from adapters.whatsapp import MARKS, WhatsappAdapter
from gateway.compose import Composer

MARK = "(repeated after an interruption)"
SLACK_HARD_LIMIT = 40_000
_WORD = re.compile(r"w\d{5}w")

NOWHERE = httpx.MockTransport(lambda request: httpx.Response(500))
DISCORD = DiscordAdapter(DiscordConfig(token="a.b.c"), NOWHERE)
SLACK = SlackAdapter(SlackConfig(), NOWHERE)

Shown = Callable[[Outbound], str]


def _telegram(outbound: Outbound) -> str:
    return str(contents(outbound, TelegramAdapter.capabilities.text_limit).fields["text"])


def _whatsapp(outbound: Outbound) -> str:
    text = clean(outbound.text)
    return text if outbound.plain else render(text, MARKS, 4096, "utf16")


def _discord(outbound: Outbound) -> str:
    return str(DISCORD._content(outbound)["content"])


def _slack(outbound: Outbound) -> str:
    return str(SLACK._message(outbound)["text"])


PLATFORMS: dict[str, tuple[Any, int, TextUnit, Shown]] = {
    "telegram": (TelegramAdapter, 4096, "utf16", _telegram),
    "whatsapp": (WhatsappAdapter, 4096, "utf16", _whatsapp),
    "discord": (DiscordAdapter, 2000, "codepoints", _discord),
    "slack": (SlackAdapter, SLACK_HARD_LIMIT, "utf16", _slack),
    "imessage": (ImessageAdapter, 2000, "codepoints", _words),
}
MARKUP = st.sampled_from(
    ["```\n", "```python\n", "\n```\n", "~~~\n", "**", "_", "`", "# ", "> ", "- ", "1. ", "\n\n",
     "[a](https://example.com/", ")", "| a | b |\n|---|---|\n", "<b>", "&", "😀", "\u0301", " "]
)  # fmt: skip


@st.composite
def answers(draw: st.DrawFn) -> str:
    """Markdown with numbered words, long enough for several parts."""
    bits = draw(st.lists(st.one_of(MARKUP, st.text(max_size=12)), min_size=1, max_size=40))
    repeats = draw(st.integers(1, 40))
    words = (f"w{number:05}w " for number in range(len(bits) * repeats))
    return "".join(bit + next(words) for _ in range(repeats) for bit in bits)


@pytest.mark.parametrize("name", PLATFORMS)
@settings(max_examples=15, deadline=None)
@given(answers())
def test_every_part_fits_and_no_word_is_lost_or_moved(name: str, text: str) -> None:
    adapter, limit, unit, shown = PLATFORMS[name]
    composer = Composer(lambda channel: adapter.capabilities, MARK, lambda one: "")
    parts = composer.text(name, clean(text))
    for plain in (False, True):
        for mark in ("", f"\n{MARK}"):
            seen = []
            for part in parts:
                written = shown(Outbound("key", "5", part.text + mark, plain=plain))
                assert length(written, unit) <= limit
                seen += _WORD.findall(written)
            assert seen == _WORD.findall(text)


@pytest.mark.parametrize("name", [name for name in PLATFORMS if name != "imessage"])
@settings(max_examples=10, deadline=None)
@given(st.integers(1, 2500), st.sampled_from(["", "python", "c++"]))
def test_a_code_block_is_one_in_each_part(name: str, lines: int, language: str) -> None:
    adapter, _, _, shown = PLATFORMS[name]
    composer = Composer(lambda channel: adapter.capabilities, MARK, lambda one: "")
    code = "\n".join(f"w{number:05}w = {number}" for number in range(lines))
    parts = composer.text(name, f"```{language}\n{code}\n```")
    written = [shown(Outbound("key", "5", part.text)) for part in parts]
    if name == "telegram":
        found = [contents(Outbound("key", "5", part.text), 4096).fields for part in parts]
        assert all([one["type"] for one in fields["entities"]] == ["pre"] for fields in found)
    else:
        assert all(one.count("```") == 2 for one in written)
        assert all(one.startswith("```") and one.endswith("```") for one in written)
    assert _WORD.findall("".join(written)) == _WORD.findall(code)
