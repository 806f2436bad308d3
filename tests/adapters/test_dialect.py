"""Markdown in other marks: every word arrives, whatever an agent wrote."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters._dialect import PLAIN, Dialect, render, translate
from adapters._text import clean, length

MARKS = Dialect(bold="*", italic="_", strike="~", code="`", fence="```")

EXAMPLES = {
    "just text, 2 > 1 & so on": "just text, 2 > 1 & so on",
    "**bold** and *it* and ~~gone~~": "*bold* and _it_ and ~gone~",
    "# Head\n\ntext": "*Head*\n\ntext",
    "**two\nlines**": "*two*\n*lines*",
    "`co*de` and\n\n```py\nx ** 2\n```": "`co*de` and\n\n```\nx ** 2\n```",
    "[here](https://example.com/a_b)": "here (https://example.com/a_b)",
    "<https://example.com>": "https://example.com",
    "![cat](https://example.com/c.png)": "cat (https://example.com/c.png)",
    '[a](https://example.com "title")': 'a (https://example.com "title")',
    "- one\n- two\n  - three": "- one\n- two\n  - three",
    "3. one\n4. two": "3. one\n4. two",
    "1. one\n\n   more\n2. two": "1. one\n\n   more\n2. two",
    "> said\n> so": "> said\n> so",
    "|a|b|\n|-|-|\n|1|**2**|": "a | b\n1 | *2*",
    "x <b>raw</b> &amp; \\*": "x <b>raw</b> & *",
    "<div>\nblock\n</div>": "<div>\nblock\n</div>",
    "[ref]: https://example.com": "[ref]: https://example.com",
    "see [ref][1]\n\n[1]: https://example.com": "see [ref][1]\n\n[1]: https://example.com",
    "``` not a name": "```\nnot a name\n```",
    "a\n\n---\n\nb": "a\n\n———\n\nb",
    "[x](javascript:alert)": "[x](javascript:alert)",
}


@pytest.mark.parametrize("markdown", EXAMPLES)
def test_marks_are_those_of_the_platform(markdown: str) -> None:
    assert translate(markdown, MARKS) == EXAMPLES[markdown]


def test_plain_has_no_marks() -> None:
    assert translate("# A\n\n**b** `c` [d](http://e)", PLAIN) == "A\n\nb c d (http://e)"


def test_what_would_grow_past_the_limit_stays_as_it_is() -> None:
    table = "|a|b|c|\n|-|-|-|\n" + "|1|2|3|\n" * 10
    assert render(table, MARKS, 2 * len(table), "utf16").endswith("1 | 2 | 3")
    assert render(table, MARKS, len(table), "utf16") == table
    grown = "# a\n" * 10
    assert render(grown, Dialect(bold="****"), len(grown), "utf16") == grown


def test_deep_nesting_costs_nobody_anything() -> None:
    deep = "> " * 3000 + "end"
    assert "end" in translate(deep, MARKS)
    assert "end" in translate("*a " * 3000 + "end", MARKS)


WORDS = re.compile(r"[a-z]{3,}")


@settings(max_examples=300)
@given(
    st.lists(
        st.sampled_from(
            [
                "word",
                "other",
                "**b",
                "*i",
                "~~s",
                "`c",
                "```",
                "#",
                ">",
                "-",
                "1.",
                "|",
                "|-|",
                "[t](u)",
                "![i](u)",
                "<b>",
                "</b>",
                "&amp;",
                "\\",
                "\n",
                "\n\n",
                "    ",
                "\t",
                "ende",
                "***",
                "___",
                "---",
            ]
        ),
        max_size=40,
    ).map(" ".join)
)
def test_no_word_is_lost(markdown: str) -> None:
    kept = [word for word in WORDS.findall(translate(markdown, MARKS)) if word != "amp"]
    assert sorted(kept) == sorted(word for word in WORDS.findall(markdown) if word != "amp")


@settings(max_examples=300)
@given(st.text().map(clean), st.integers(1, 200))
def test_any_text_is_written_and_fits_where_it_did(text: str, limit: int) -> None:
    written = render(text, MARKS, limit, "utf16")
    assert clean(written) == written
    assert length(written, "utf16") <= max(limit, length(text, "utf16"))


@given(st.text(alphabet=st.characters(categories=["L", "N"], include_characters=" .,!?\n")))
def test_text_without_marks_is_left_alone(text: str) -> None:
    if not re.search(r"^\s{0,3}\d+[.)]|^ {4}", text, re.MULTILINE):
        assert translate(text, MARKS) == text
