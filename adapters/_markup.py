"""Markdown to Telegram's (text, entities), without losing a word.

telegramify-markdown walks the events of pyromark, a CommonMark parser. Its own
`convert` is made for showing: it drops raw HTML, images without a description
and unused link references, reads `a || b || c` as a hidden passage and
`${A}/${B}` as mathematics. An agent's answer must arrive whole, so its walker
is used with those readings off and the dropped kinds written out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pyromark
from telegramify_markdown.config import RenderConfig
from telegramify_markdown.converter import EventWalker

from adapters._text import length

Entity = dict[str, Any]

_OPTIONS = (
    pyromark.Options.ENABLE_TABLES
    | pyromark.Options.ENABLE_STRIKETHROUGH
    | pyromark.Options.ENABLE_TASKLISTS
)
_MARKED = re.compile(
    r"[*_`~\[<\\|]|&[#\w]|^[ \t]{0,3}(?:\#|>|[-+][ \t]|=+[ \t]*$|-+[ \t]*$)", re.MULTILINE
)
_REFERENCE = re.compile(rb"^[ \t>*+\d.)-]*(\[([^\]]{1,999})\]:)", re.MULTILINE)
_LINKABLE = re.compile(r"(https?|tg)://\S", re.IGNORECASE)


def _plain_symbols() -> RenderConfig:
    config = RenderConfig.isolated()
    symbol = config.markdown_symbol
    symbol.heading_level_1 = symbol.heading_level_2 = ""
    symbol.heading_level_3 = symbol.heading_level_4 = ""
    symbol.image = ""
    symbol.unordered_list_item = "•"
    symbol.task_completed, symbol.task_uncompleted = "☑", "☐"
    symbol.horizontal_rule = "———"
    config.cite_expandable = False
    return config


_CONFIG = _plain_symbols()


def render(markdown: str, limit: int) -> tuple[str, list[Entity]]:
    """Telegram's text and entities; offsets and lengths are UTF-16 units.

    A text without markup, or one that would grow past `limit` units or be left
    with nothing to see, comes back as it is, without entities. The text must
    be clean (see `_text.clean`).
    """
    if not _MARKED.search(markdown):
        return markdown, []
    source, events = _parse(markdown)
    text, entities, _ = _Walker(_CONFIG, source).walk(events)
    text = text.rstrip()
    size = length(text, "utf16")
    if not text.strip() or size > limit:
        return markdown, []
    return text, [entity for found in entities if (entity := _entity(found.to_dict(), size))]


def _parse(markdown: str) -> tuple[str, tuple[Any, ...]]:
    """The events of a text in which link references that nothing uses are ordinary text."""
    source = markdown.encode()
    events = tuple(pyromark.events_with_range(markdown, options=_OPTIONS))
    if unused := _unused_references(source, events):
        bounds = [0, *unused, len(source)]
        markdown = b"\\".join(source[a:b] for a, b in pairwise(bounds)).decode()
        events = tuple(pyromark.events_with_range(markdown, options=_OPTIONS))
    return markdown, events


def _unused_references(source: bytes, events: tuple[Any, ...]) -> list[int]:
    """Byte offsets of the `[label]:` lines outside code that no link points to."""
    if not (definitions := list(_REFERENCE.finditer(source))):
        return []
    used: set[str] = set()
    code: list[tuple[int, int]] = []
    for payload, place in events:
        start = payload.get("Start") if isinstance(payload, Mapping) else None
        if isinstance(start, Mapping) and ("Link" in start or "Image" in start):
            used.add(_label((start.get("Link") or start["Image"])["id"]))
        if (isinstance(start, Mapping) and "CodeBlock" in start) or "Code" in payload:
            code.append((place["start"], place["end"]))
    unused = []
    for found in definitions:
        label, at = _label(found[2].decode()), found.start(1)
        if label in used:
            used.discard(label)
        elif not any(a <= at < b for a, b in code):
            unused.append(at)
    return unused


def _label(text: str) -> str:
    return " ".join(text.casefold().split())


def _entity(found: Entity, size: int) -> Entity | None:
    """The entity as far as it lies within the text; None if nothing of it does."""
    found["length"] = min(found["length"], size - found["offset"])
    if found["length"] <= 0 or (found["type"] == "text_link" and not found.get("url")):
        return None
    if language := found.get("language"):
        found["language"] = language.split()[0][:64]
    return found


class _Walker(EventWalker):
    """Writes out what the original drops: raw HTML, and targets that cannot become a link."""

    def __init__(self, config: RenderConfig, source_markdown: str) -> None:
        super().__init__(config, source_markdown)
        self._targets: list[tuple[str, int]] = []
        self._single_tildes: list[bool] = []
        self._table = ""

    def _handle_event(self, event: Any) -> None:
        payload = event[0]
        html = None
        if isinstance(payload, Mapping):
            html = payload.get("Html", payload.get("InlineHtml"))
        if html is not None:
            self._on_text(html)
        else:
            super()._handle_event(event)

    def _on_start(self, tag: Any, source_range: dict[str, int] | None = None) -> None:
        if tag == "HtmlBlock" and not self._list_stack:
            self._ensure_block_spacing(self._source_start(source_range))
        if tag == "Strikethrough":
            self._single_tildes.append(self._is_single_tilde(source_range))
            if self._single_tildes[-1]:
                self._on_text("~")
                return
        if isinstance(tag, Mapping) and "Table" in tag and source_range:
            table = self._source_bytes[source_range["start"] : source_range["end"]]
            self._table = table.decode().strip()
        super()._on_start(tag, source_range)

    def _on_end(self, tag: Any) -> None:
        if tag in ("Link", "Image"):
            self._on_end_target()
            return
        if tag == "Strikethrough" and self._single_tildes.pop():
            self._on_text("~")
            return
        super()._on_end(tag)
        if tag == "HtmlBlock" and not self._list_stack:
            self._mark_block_end()

    def _on_start_link(self, link_data: dict[str, Any]) -> None:
        self._targets.append((link_data.get("dest_url", ""), self._written()))
        self._push_entity("text_link", url=link_data.get("dest_url", ""))

    def _on_start_image(self, image_data: dict[str, Any]) -> None:
        self._on_start_link(image_data)

    def _format_table(self, rows: list[list[str]]) -> str:
        """As written, where the parser dropped cells: `a|b` in code counts as two."""
        cells = "".join(cell for row in rows for cell in row)
        return super()._format_table(rows) if _told(cells) == _told(self._table) else self._table

    def _on_start_code_block(self, kind: Any, source_start: int | None = None) -> None:
        """A sentence behind the fence is no language: it is shown as the first line."""
        super()._on_start_code_block(kind, source_start)
        info = self._code_block_lang
        if len(info.split()) > 1 and not any(sign in info for sign in "={:"):
            self._code_block_lang, self._code_block_parts = "", [f"{info}\n"]

    def _on_end_code_block(self) -> None:
        if not "".join(self._code_block_parts).strip():
            self._code_block_parts = [self._code_block_lang]
        super()._on_end_code_block()

    def _is_single_tilde(self, source_range: dict[str, int] | None) -> bool:
        """`~5` means "about"; two of them strike out."""
        start = self._source_start(source_range) or 0
        return self._source_bytes[start + 1 : start + 2] != b"~"

    def _on_end_target(self) -> None:
        """A link with nothing to tap, or that Telegram cannot open, shows where it leads."""
        url, since = self._targets.pop()
        label = self._since(since)
        shown = bool(_LINKABLE.match(url)) and not self._in_table_cell
        if not label:
            self._on_text(url)
        elif not shown and url not in ("", label):
            self._on_text(f" ({url})")
        if shown:
            self._pop_entity("text_link")
        else:
            self._drop_entity("text_link")

    def _drop_entity(self, kind: str) -> None:
        for index in range(len(self._entity_stack) - 1, -1, -1):
            if self._entity_stack[index].entity_type == kind:
                del self._entity_stack[index]
                return

    def _written(self) -> int:
        return len(self._cell_parts) if self._in_table_cell else len(self._buf._parts)

    def _since(self, place: int) -> str:
        parts = self._cell_parts if self._in_table_cell else self._buf._parts
        return "".join(parts[place:])


def _told(text: str) -> str:
    return "".join(char for char in text if char.isalnum())
