"""Markdown in a platform's own marks, without losing a word.

markdown-it-py reads CommonMark with tables and strikethrough; what a platform
has no marks for is written out: tables as rows, images and links with their
address, raw HTML as it stands. Link definitions are left where they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from adapters._text import length
from adapters.base import TextUnit

_DEPTH = {"maxNesting": 10_000}  # markdown-it drops what is nested deeper without a word
_PARSER = MarkdownIt("commonmark", _DEPTH).enable(["table", "strikethrough"]).disable("reference")
_PARSER.normalizeLink = lambda url: url  # type: ignore[method-assign]  # an address is shown as it was written
_MARKED = re.compile(
    r"[*_`~\[<\\|]|&[#\w]|^[ \t]{0,3}(?:\#|>|[-+][ \t]|\d+[.)][ \t]|=+[ \t]*$|-+[ \t]*$)"
    r"|^(?:[ ]{4}|\t)",
    re.MULTILINE,
)
_NEXT = re.compile(r"\n(?=[^\n])")
_LINE = re.compile(r"[^\s](?:[^\n]*[^\s])?")


def beside(label: str, url: str) -> str:
    """An address behind its label, once."""
    return f"{label} ({url})" if label not in ("", url) else url


@dataclass(frozen=True, slots=True)
class Dialect:
    """A platform's marks; an empty one is not written. `link` gets (label, address)."""

    bold: str = ""
    italic: str = ""
    strike: str = ""
    code: str = ""
    fence: str = ""
    link: Callable[[str, str], str] = beside
    escape: Callable[[str], str] = lambda text: text
    bullet: str = "- "
    quote: str = "> "


PLAIN = Dialect()
"""No marks at all."""


def translate(markdown: str, dialect: Dialect) -> str:
    """The text in the platform's marks. A text without markup comes back as it is, escaped."""
    if not _MARKED.search(markdown):
        return dialect.escape(markdown)
    try:
        tree = SyntaxTreeNode(_PARSER.parse(markdown))
        return _Writer(dialect).blocks(tree.children, "\n\n")
    except RecursionError:
        return dialect.escape(markdown)


def render(markdown: str, dialect: Dialect, limit: int, unit: TextUnit) -> str:
    """`translate`, but the text as it is where the marks would make it longer than `limit`."""
    text = translate(markdown, dialect)
    return text if length(text, unit) <= limit and text.strip() else dialect.escape(markdown)


class _Writer:
    """Writes a syntax tree in one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def blocks(self, nodes: list[SyntaxTreeNode], between: str) -> str:
        return between.join(self._block(node) for node in nodes)

    def _block(self, node: SyntaxTreeNode) -> str:
        dialect = self._dialect
        match node.type:
            case "paragraph":
                return self._inlines(node)
            case "heading":
                return self._wrapped(dialect.bold, self._inlines(node))
            case "fence" | "code_block":
                content = dialect.escape(_code(node))
                return f"{dialect.fence}\n{content}\n{dialect.fence}" if dialect.fence else content
            case "blockquote":
                inner = self.blocks(node.children, "\n\n")
                return "\n".join(dialect.quote + line for line in inner.split("\n"))
            case "bullet_list" | "ordered_list":
                return self._list(node)
            case "table":
                return "\n".join(self._row(row) for part in node.children for row in part.children)
            case "hr":
                return "———"
        return dialect.escape(node.content.rstrip("\n"))  # raw HTML

    def _list(self, node: SyntaxTreeNode) -> str:
        start = int(node.attrs.get("start", 1)) if node.type == "ordered_list" else None
        tight = all(
            child.hidden for item in node.children for child in item.children if _is_text(child)
        )
        items = []
        for number, item in enumerate(node.children):
            marker = self._dialect.bullet if start is None else f"{start + number}. "
            inner = self.blocks(item.children, "\n" if tight else "\n\n")
            items.append(marker + _NEXT.sub("\n" + " " * len(marker), inner))
        return "\n".join(items)

    def _row(self, row: SyntaxTreeNode) -> str:
        return " | ".join(self._inlines(cell) for cell in row.children)

    def _inlines(self, node: SyntaxTreeNode) -> str:
        return "".join(
            self._inline(part)
            for child in node.children
            for part in (child.children if child.type == "inline" else [child])
        )

    def _inline(self, node: SyntaxTreeNode) -> str:
        dialect = self._dialect
        match node.type:
            case "softbreak" | "hardbreak":
                return "\n"
            case "code_inline":
                return f"{dialect.code}{dialect.escape(node.content)}{dialect.code}"
            case "strong":
                return self._wrapped(dialect.bold, self._inlines(node))
            case "em":
                return self._wrapped(dialect.italic, self._inlines(node))
            case "s":
                return self._wrapped(dialect.strike, self._inlines(node))
            case "link":
                return dialect.link(self._inlines(node), dialect.escape(_address(node, "href")))
            case "image":
                return dialect.link(self._inlines(node), dialect.escape(_address(node, "src")))
        return dialect.escape(node.content)

    @staticmethod
    def _wrapped(mark: str, text: str) -> str:
        """Marks around each line: platforms end them there, and at spaces inside."""
        if not mark:
            return text
        return _LINE.sub(lambda line: f"{mark}{line.group()}{mark}", text)


def _code(node: SyntaxTreeNode) -> str:
    """The code; what stands behind the fence only where it is more than a language's name."""
    content = node.content.removesuffix("\n")
    info = node.info.strip()
    return f"{info}\n{content}".strip("\n") if info and (" " in info or not content) else content


def _is_text(node: SyntaxTreeNode) -> bool:
    return node.type == "paragraph"


def _address(node: SyntaxTreeNode, name: str) -> str:
    """Where it leads, and its title."""
    title = node.attrs.get("title")
    return f"{node.attrs.get(name, '')}" + (f' "{title}"' if title else "")
