"""What texts need before they cross a platform's border: cleaning and counting."""

from __future__ import annotations

import re
from itertools import accumulate, takewhile

from adapters.base import TextUnit

_SURROGATES = re.compile("[\ud800-\udfff]")
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")


def clean(text: str) -> str:
    """The text without NUL, each lone surrogate replaced by U+FFFD.

    Both reach us in JSON escapes; neither can be stored in a database or sent
    as UTF-8. Everything else, control characters too, is kept.
    """
    if text.isascii():
        return text.replace("\0", "")
    return _SURROGATES.sub("\ufffd", text.replace("\0", ""))


def length(text: str, unit: TextUnit) -> int:
    """How long a platform thinks `text` is. A lone surrogate counts like any other character.

    utf16       UTF-16 code units (Telegram, WhatsApp)
    codepoints  Unicode code points (Discord)
    bytes       bytes of UTF-8
    """
    if unit == "codepoints" or text.isascii():
        return len(text)
    if unit == "utf16":
        return len(text) + len(_ASTRAL.findall(text))
    return len(text.encode("utf-8", "surrogatepass"))


def cut(text: str, limit: int, unit: TextUnit) -> str:
    """The beginning of `text` that is at most `limit` long; never half a character."""
    if length(text, unit) <= limit:
        return text
    sums = accumulate(width(char, unit) for char in text)
    return text[: sum(1 for _ in takewhile(lambda size: size <= limit, sums))]


def width(char: str, unit: TextUnit) -> int:
    """The length of one character."""
    if unit == "codepoints" or char < "\x80":
        return 1
    if unit == "utf16":
        return 2 if char > "\uffff" else 1
    return 2 if char < "\u0800" else 3 if char < "\U00010000" else 4
