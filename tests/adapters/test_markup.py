"""Markdown to entities: nothing lost, nothing invalid, whatever the agent wrote."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters._markup import render
from adapters._split import split
from adapters._text import clean, length
from tests.fakes._telegram_parts import check_text

WORDS = st.text("abcdefghij漢é😀", min_size=1, max_size=8)
MARKS = st.sampled_from([
    "*", "**", "_", "__", "~~", "~", "||", "`", "```\n", "\n```\n", "# ", "> ", "- ", "* ", "1. ",
    "<b>", "</b>", "<div>\n", "\n</div>\n", " | ", "\n|---|---|\n", "\n", "\n\n", " ", "    ", "\\",
    "$", "$$", "![", "[", "](", ")", "]: ", "- [ ] ", "&", "\n---\n", "\t", "=\n", "\r\n", "<!-- ",
])  # fmt: skip
MARKDOWN = st.lists(st.one_of(WORDS, MARKS), max_size=60).map("".join)
LINKS = st.sampled_from([
    "[text](https://example.com/a_b)", "[](https://example.com)", "![alt](https://example.com/x.png)",
    "![](x.png)", "<https://example.com>", "<a@example.com>", "[a][r]\n\n[r]: https://example.com\n",
    "[x](relative/path)", "[x](<>)", "[**b**](https://example.com)", "`[x](y)`", "tg://user?id=1",
])  # fmt: skip


def plain(text: str) -> list[dict[str, Any]]:
    return render(text, 4096)[1]


def of(text: str, kind: str) -> list[str]:
    """The pieces of the rendered text that carry an entity of this kind."""
    shown, entities = render(text, 4096)
    units = shown.encode("utf-16-le")
    return [
        units[2 * e["offset"] : 2 * (e["offset"] + e["length"])].decode("utf-16-le")
        for e in entities
        if e["type"] == kind
    ]


@given(text=MARKDOWN)
@settings(max_examples=500, deadline=None)
def test_every_word_arrives(text: str) -> None:
    shown, _ = render(text, 100_000)
    words = re.findall(r"[a-j漢é😀]+", re.sub(r"(```|~~~)[^\n]*", "", text))
    place = 0
    for word in words:
        found = shown.find(word, place)
        assert found >= 0, (text, shown, word)
        place = found + len(word)


@given(text=st.lists(st.one_of(WORDS, MARKS, LINKS), max_size=60).map("".join))
@settings(max_examples=400, deadline=None)
def test_entities_are_valid_for_any_markdown(text: str) -> None:
    for part in split(text, 200, "utf16"):
        accepted_by_telegram(*render(part, 4096))


@given(text=st.text(st.characters(), max_size=300))
@settings(max_examples=300, deadline=None)
def test_entities_are_valid_for_any_text(text: str) -> None:
    for part in split(clean(text), 4096, "utf16"):
        accepted_by_telegram(*render(part, 4096))


def accepted_by_telegram(text: str, entities: list[dict[str, Any]]) -> None:
    check_text({"text": text, "entities": entities})
    spans = sorted((e["offset"], -e["length"]) for e in entities)
    open_ends: list[int] = []
    for start, negative in spans:  # nested or apart, never half in another
        while open_ends and open_ends[-1] <= start:
            open_ends.pop()
        assert not open_ends or start - negative <= open_ends[-1]
        open_ends.append(start - negative)


@pytest.mark.parametrize(
    ("kind", "markdown", "marked"),
    [
        ("bold", "some **bold 😀** text", "bold 😀"),
        ("italic", "😀 *leaning*", "leaning"),
        ("strikethrough", "~~gone~~", "gone"),
        ("code", "use `pip install`", "pip install"),
        ("pre", "```python\nx = 1\n```", "x = 1"),
        ("text_link", "see [the docs](https://example.com)", "the docs"),
        ("blockquote", "> quoted", "quoted"),
        ("bold", "# Title", "Title"),
    ],
)
def test_marks_up(kind: str, markdown: str, marked: str) -> None:
    assert of(markdown, kind) == [marked]


def test_code_keeps_its_language_and_its_backslashes() -> None:
    text, entities = render("```bash title=x\necho [a]: \\* <b> **x**\n```", 4096)
    assert text == "echo [a]: \\* <b> **x**"
    assert [(e["type"], e["language"]) for e in entities] == [("pre", "bash")]


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("plain words, 1. and - so on", "plain words, 1. and - so on"),
        ("use the <div> tag", "use the <div> tag"),
        ("<p>\nhello\n</p>", "<p>\nhello\n</p>"),
        ("if a || b || c", "if a || b || c"),
        ("${A}/${B} costs $5 or $6", "${A}/${B} costs $5 or $6"),
        ("about ~5 or ~a~", "about ~5 or ~a~"),
        ("![](https://example.com/x.png)", "https://example.com/x.png"),
        ("![a cat](cat.png)", "a cat (cat.png)"),
        ("[notes](docs/notes.md)", "notes (docs/notes.md)"),
        ("[unused]: https://example.com", "[unused]: https://example.com"),
        ("- [a\nb]: c", "• [a\nb]: c"),
        ("| a | b |\n|---|---|\n| [x](https://e.org) | y |", None),
        ("| a | b |\n|---|---|\n| `x|y` | z |", "| a | b |\n|---|---|\n| `x|y` | z |"),
        ("| a | bee |\n|---|---|\n| eff | g |", "a   | bee\n----+----\neff | g"),
        ("```Two words\ncode\n```", "Two words\ncode"),
        ("~~~wow~~~", "wow~~~"),
        ("- one\n- two", "• one\n• two"),
        ("# Title\ntext", "Title\ntext"),
        ("- [ ] open\n- [x] done", "☐ open\n☑ done"),
        ("a\\*b", "a*b"),
    ],
)
def test_shows_all_of_it_and_adds_no_decoration(markdown: str, shown: str | None) -> None:
    text, _ = render(markdown, 4096)
    if shown is None:
        assert "x (https://e.org)" in text
    else:
        assert text == shown


def test_text_without_markup_is_left_alone() -> None:
    text = "Dear all,\n\n\n   well-known 3.5 + 4 = 7.5 (sure).  \n\nBye!"
    assert render(text, 4096) == (text, [])


def test_nothing_to_see_is_sent_as_it_is() -> None:
    for text in ("```\n```", "****", "[](", "# ", "***"):
        shown, _ = render(text, 4096)
        assert shown.strip()


def test_what_would_pass_the_limit_is_left_alone() -> None:
    text = "| a | b |\n|---|---|\n| " + "w" * 50 + " | y |\n" + "| x | y |\n" * 20
    assert length(render(text, 4096)[0], "utf16") > length(text, "utf16")
    assert render(text, length(text, "utf16")) == (text, [])
