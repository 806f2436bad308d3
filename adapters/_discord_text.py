"""Markdown as Discord shows it: nearly as it is written, tables as code blocks.

Discord's own markdown: docs.discord.com/developers/reference#message-formatting
and the user guide "Markdown Text 101". It has no tables: those stay readable
only in a fixed-width font.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from adapters.base import Button

_FENCE = re.compile(r"[ \t]{0,3}(`{3,}|~{3,})")
_RULE = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*")
BUTTONS_IN_A_ROW = 5
MAX_LABEL = 80
MAX_CUSTOM_ID = 100


def render(markdown: str, limit: int) -> str:
    """The text with each table in a code block; as it is where that would pass `limit`."""
    if "|" not in markdown:
        return markdown
    text = "\n".join(_with_tables_fenced(markdown.split("\n")))
    return text if len(text) <= limit else markdown


def _with_tables_fenced(lines: Sequence[str]) -> list[str]:
    found: list[str] = []
    fence, at = "", 0
    while at < len(lines):
        mark = _FENCE.match(lines[at])
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        end = at if fence else _end_of_table(lines, at)
        if end > at:
            found += ["```", *lines[at:end], "```"]
            at = end
        else:
            found.append(lines[at])
            at += 1
    return found


def _end_of_table(lines: Sequence[str], at: int) -> int:
    """The line behind the table that starts at `at`; `at` itself where none does."""
    head, rule = lines[at], lines[at + 1] if at + 1 < len(lines) else ""
    if "|" not in head or "|" not in rule or not _RULE.fullmatch(rule):
        return at
    end = at
    while end < len(lines) and "|" in lines[end]:
        if "```" in lines[end]:
            return at
        end += 1
    return end


def button_rows(buttons: Sequence[Button]) -> list[dict[str, Any]]:
    """Components for the buttons, five in a row. One value can stand there only once."""
    by_id = {button.value[:MAX_CUSTOM_ID]: button.text[:MAX_LABEL] for button in buttons}
    made = [
        {"type": 2, "style": 2, "label": label or value[:MAX_LABEL], "custom_id": value}
        for value, label in by_id.items()
        if value
    ]
    starts = range(0, len(made), BUTTONS_IN_A_ROW)
    return [{"type": 1, "components": made[at : at + BUTTONS_IN_A_ROW]} for at in starts]
