"""What a browser makes of what people and agents write, however hostile."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.web import browser as browsers
from tests.web.modules import served

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(
        not browsers.CHROMIUM.exists() and not os.environ.get("CI"),
        reason="needs Debian's chromium at /usr/bin/chromium",
    ),
]
SIZE = 32 * 1024
MUCH = 10
"""How many times as long as an ordinary text of its size a hostile one may take."""

_WRITE = """
const { Markdown } = await import("/chat/markdown.js");
const { inline, plain } = await import("/chat/inline.js");
const wholly = (text) => {
  const box = document.createElement("div");
  const markdown = new Markdown(box);
  markdown.append(text);
  markdown.end();
  return box;
};
"""
_SHOW = f"async (text) => {{ {_WRITE} return wholly(text).innerHTML; }}"
_PLAIN = f"""async (text) => {{ {_WRITE}
  return [...plain(text).querySelectorAll("a")].map((link) => link.href);
}}"""

# Milliseconds that each way to show a text takes at its best of three.
_TIME = f"""async (text) => {{ {_WRITE}
  const best = (show) => Math.min(...[1, 2, 3].map(() => {{
    const before = performance.now();
    show(text);
    return performance.now() - before;
  }}));
  return [best(wholly), best(inline), best(plain)];
}}"""


def filled(unit: str) -> str:
    return (unit * (SIZE // len(unit) + 1))[:SIZE]


HOSTILE = {
    "backticks": filled("".join("`" * number + "a" for number in range(1, 70))),
    "ever more backticks": "".join("`" * number + "a" for number in range(1, 255)),
    "brackets": filled("["),
    "half links": filled("[a](https://x("),
    "stars": filled("*"),
    "open stars": filled("**a *b "),
    "open underscores": filled("__a _b "),
    "tildes": filled("~~a "),
    "hashes": "# x" + "#" * SIZE + "y",
    "hashes apart": "# " + filled("# ") + "y",
    "a gap in a heading": "# x" + " " * SIZE + "y",
    "a gap in a fence": "```" + " " * (SIZE // 2) + "a" * (SIZE // 2) + "`",
    "a gap in an item": "- " + " " * SIZE + "\u2028y",
    "a gap in a table": "a|b\n" + " " * SIZE + "x|",
    "nothing but spaces": " " * SIZE,
    "quotes": filled(">"),
    "dots of an address": "https://" + "." * SIZE,
    "everything": filled("**a `b *c _d ~~e [f "),
}


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with served() as url, browsers.running() as browser:
        page = browser.new_page()
        page.goto(f"{url}/chat/inline.js")
        yield page


def test_hostile_texts_take_about_as_long_as_others_of_their_size(page: Page) -> None:
    ordinary = page.evaluate(_TIME, filled("some words, **bold**, `code` and *care*. "))[0]
    slow = []
    for name, text in HOSTILE.items():
        times = page.evaluate(_TIME, text)
        print(f"{name}: {[round(time / ordinary, 2) for time in times]} of {ordinary:.1f} ms")
        if max(times) > MUCH * ordinary:
            slow.append(name)
    assert slow == []


def test_addresses_in_a_persons_words_can_be_followed(page: Page) -> None:
    words = "see `https://a.example/x`, (https://b.example/y). javascript:alert(1) **https://c.example**"
    assert page.evaluate(_PLAIN, words) == [
        "https://a.example/x", "https://b.example/y", "https://c.example/",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("# Title ##", '<h3 dir="auto">Title</h3>'),
        ("``a ` b``", '<p dir="auto"><code>a ` b</code></p>'),
        ("***both***", "<strong><em>both</em></strong>"),
        ("\\`not code\\` but `code`", "`not code` but <code>code</code>"),
        ("\\***bold**", "*<strong>bold</strong>"),
        ("~~~py x\na\n~~~", 'aria-label="py code"><code>a</code>'),
        ("a|b\n:-|-:\n1|2", "<tbody><tr><td"),
        ("> > deep", "<blockquote><blockquote>"),
    ],
)
def test_marks_mean_what_they_meant(page: Page, text: str, html: str) -> None:
    assert html in page.evaluate(_SHOW, text)


def test_quotes_within_quotes_end_somewhere(page: Page) -> None:
    assert page.evaluate(_SHOW, ">" * 30_000 + " deep").count("<blockquote>") == 8
