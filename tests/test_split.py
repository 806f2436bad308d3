"""Splitting long texts: nothing lost, no limit passed, no code block left open."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters._split import SMALLEST_LIMIT, slices, split
from adapters._text import clean, length
from adapters.base import TextUnit

UNITS: list[TextUnit] = ["utf16", "codepoints", "bytes"]
ANY_TEXT = st.text(st.characters(), max_size=400)  # lone surrogates too
TOKENS = [
    "word", "a", "Sentence one. ", "Was it? ", "。", " ", "  ", "\n", "\n\n", "\n \n", "\t", "```",
    "\n```\n", "\n```python\n", "\n~~~\n", "\n````\n", "\n   ```js\n", "\n      ```\n",
    "`code span`", "`", "[link text](https://example.com/a_b)", "**bold words**", "**", "- item\n",
    "    indented\n",
    "👩‍👩‍👧", "🇩🇪", "e\u0301", "가", "\u1112\u1161\u11ab", "漢字",
    "\ud83d", "\ude00", "\r\n", "\0", "x" * 30,
]  # fmt: skip
MARKDOWN = st.lists(st.sampled_from(TOKENS), max_size=60).map("".join)
FENCE_LINE = re.compile(r"[ \t]*(`{3,}|~{3,})[ \t\r]*")


def check(text: str, limit: int, unit: TextUnit) -> None:
    parts = split(text, limit, unit)
    assert all(length(part, unit) <= limit for part in parts)
    assert all(part.strip() for part in parts)
    if not text.strip():
        assert parts == []
    elif length(text, unit) <= limit:
        assert parts == [text]
    else:
        found = list(slices(text, limit, unit))
        assert [piece.text for piece in found] == parts
        place = 0
        for piece in found:
            dropped(text[place : piece.start])
            assert text[piece.start : piece.end] in piece.text
            added(piece.text, text[piece.start : piece.end])
            place = piece.end
        dropped(text[place:])


def dropped(gap: str) -> None:
    """Only whitespace may go, and a fence that closes what an added one closed already."""
    assert not gap.strip() or FENCE_LINE.fullmatch(gap.strip()), gap


def added(part: str, body: str) -> None:
    """Only whole fence lines may be added: one before, one behind."""
    places = (match.start() for match in re.finditer(f"(?={re.escape(body)})", part))
    assert any(
        re.fullmatch(r"( {0,3}(`{3,}|~{3,})[^\n]*\n)?", part[:at])
        and re.fullmatch(r"(\n {0,3}(`{3,}|~{3,}))?", part[at + len(body) :])
        for at in places
    ), (part, body)


@pytest.mark.parametrize("unit", UNITS)
@given(text=ANY_TEXT, limit=st.integers(4, 60))
@settings(max_examples=200, deadline=None)
def test_any_text_keeps_limit_and_content(unit: TextUnit, text: str, limit: int) -> None:
    check(text, limit, unit)


@pytest.mark.parametrize("unit", UNITS)
@given(text=MARKDOWN, limit=st.integers(4, 120))
@settings(max_examples=300, deadline=None)
def test_markdown_keeps_limit_and_content(unit: TextUnit, text: str, limit: int) -> None:
    check(text, limit, unit)


@given(lines=st.lists(st.text("abc xyz(){};", max_size=30), min_size=20, max_size=60))
@settings(max_examples=100, deadline=None)
def test_each_part_of_a_code_block_is_a_code_block(lines: list[str]) -> None:
    code = "\n".join(line.rstrip() for line in lines)
    parts = split(f"Look:\n\n```python\n{code}\n```\n\nThat was it.", 100, "utf16")
    blocks = [re.findall(r"```python\n(.*?)\n?```", part, re.DOTALL) for part in parts]
    assert all(part.count("```") % 2 == 0 for part in parts)
    rejoined = "\n".join(found for part in blocks for found in part)
    assert rejoined.split() == code.split()


def test_lines_of_code_survive_exactly() -> None:
    code = "\n".join(f"    line {number}  # note" for number in range(200))
    parts = split(f"```py\n{code}\n```", 300, "utf16")
    assert len(parts) > 5
    assert all(part.startswith("```py\n    line") and part.endswith("\n```") for part in parts)
    assert "\n".join(part[6:-4] for part in parts) == code


def test_prose_outside_the_block_is_not_fenced() -> None:
    text = "intro " * 20 + "\n\n~~~\n" + "code\n" * 40 + "~~~\n\n" + "outro " * 20
    parts = split(text, 150, "codepoints")
    assert "~~~" not in parts[0]
    assert "~~~" not in parts[-1]
    assert all(part.count("~~~") == 2 for part in parts if "code" in part)


def test_prefers_paragraphs_then_lines_then_sentences_then_words() -> None:
    assert split("aaaa bbbb.\n\ncccc dddd", 14, "utf16") == ["aaaa bbbb.", "cccc dddd"]
    assert split("aaaa bbbb.\n\ncc\ndddd eeee", 16, "utf16") == ["aaaa bbbb.", "cc\ndddd eeee"]
    assert split("aaaa bbbb\ncccc dddd", 14, "utf16") == ["aaaa bbbb", "cccc dddd"]
    assert split("One two. Three four five", 15, "utf16") == ["One two.", "Three four five"]
    assert split("alpha beta gamma", 12, "utf16") == ["alpha beta", "gamma"]


def test_a_code_block_that_fits_into_a_part_is_not_cut() -> None:
    block = "```\n" + "code line\n" * 7 + "```"
    assert split("An intro to it.\n" * 2 + block, 100, "utf16")[1] == block


def test_a_code_block_too_long_for_a_part_starts_beside_its_introduction() -> None:
    parts = split("Like this:\n```\n" + "code line\n" * 40 + "```", 100, "utf16")
    assert parts[0].startswith("Like this:\n```\ncode line\n")
    assert len(parts[0]) > 80


def test_a_list_keeps_its_indentation() -> None:
    text = "- first item\n  - nested a\n  - nested b\n- second"
    assert split(text, 30, "utf16") == ["- first item\n  - nested a", "  - nested b\n- second"]


def test_keeps_links_code_and_bold_whole_where_there_is_room() -> None:
    for whole in ("[two words](https://example.com)", "`two words`", "**two bold words**"):
        for before in range(5, 50):
            text = "x" * before + " " + whole + " and more words behind it"
            parts = split(text, 55, "utf16")
            assert any(whole in part for part in parts), parts


@pytest.mark.parametrize(
    "cluster", ["👩‍👩‍👧‍👦", "e\u0301\u0302", "🇩🇪", "👍🏽", "\u1112\u1161\u11ab", "\r\n", "❤️"]
)
def test_does_not_cut_grapheme_clusters(cluster: str) -> None:
    for before in range(40):
        text = "x" * before + cluster * 10
        for part in split(text, 45, "utf16"):
            assert part.strip("x").strip().replace(cluster, "").strip() == "", part


def test_never_cuts_a_surrogate_pair_kept_as_two_halves() -> None:
    for before in range(6):
        text = "x" * before + "\ud83d\ude00" * 20
        assert not any(part.endswith("\ud83d") for part in split(text, 7, "utf16"))


def test_counts_as_the_platform_does() -> None:
    text = "aé漢😀\ud800"
    assert [length(text, unit) for unit in UNITS] == [6, 5, 13]
    assert split("😀" * 10, 4, "utf16") == ["😀😀"] * 5
    assert split("😀" * 10, 4, "bytes") == ["😀"] * 10


def test_nothing_from_nothing() -> None:
    assert split("", 10, "utf16") == []
    assert split(" \n\t \u3000" * 50, 10, "utf16") == []


@pytest.mark.parametrize("unit", UNITS)
def test_refuses_a_limit_that_one_character_may_pass(unit: TextUnit) -> None:
    with pytest.raises(ValueError, match="too small"):
        split("text", SMALLEST_LIMIT[unit] - 1, unit)


def test_a_fence_too_long_for_the_limit_is_text() -> None:
    text = "```" + "x" * 100 + "\ncode\n```\nmore"
    check(text, 20, "utf16")
    assert "".join(split(text, 20, "utf16")).replace("```", "").replace("\n", "").startswith("xxx")


@pytest.mark.parametrize(
    "shape",
    [
        "word " * 200_000, "x" * 1_000_000, " " * 999_999 + "x", "\n" * 1_000_000 + "x",
        "[" * 1_000_000, "`" * 1_000_000, "`a b`" * 200_000, "```\ncode\n```\n" * 80_000,
        "```\n" + "line of code\n" * 80_000, "~~~\n" + " " * 1_000_000, "😀" * 1_000_000,
        "e\u0301" * 500_000, "\u0301" * 1_000_000, "🇩" * 1_000_000, "[a](b" * 200_000,
        "**a" * 333_333, ".\"" * 500_000, "\ud83d\ude00" * 500_000,
    ],
    ids=lambda shape: repr(shape[:12]),
)  # fmt: skip
@pytest.mark.parametrize("limit", [4096, 40_000])
def test_a_megabyte_takes_a_moment(shape: str, limit: int) -> None:
    began = time.process_time()
    parts = split(shape, limit, "utf16")
    assert time.process_time() - began < 5  # a tenth of that on an idle machine; squared, minutes
    assert all(length(part, "utf16") <= limit for part in parts)


@given(text=ANY_TEXT)
@settings(max_examples=200, deadline=None)
def test_cleaned_text_can_be_stored_and_sent(text: str) -> None:
    result = clean(text)
    assert "\0" not in result
    assert result.encode().decode() == result
    assert length(result, "utf16") == length(text.replace("\0", ""), "utf16")
    assert clean(result) == result
