"""Cuts a long markdown text into parts that fit a platform's limit.

A part is a literal slice of the text, and where the cut falls into a fenced
code block the fence is closed behind it and opened again, with its info
string, before the next slice. Slices keep their order and leave nothing out
but:

- whitespace around a cut, of which the indentation of the next line is kept;
  inside a code block only the line break at the cut
- a slice that holds nothing but whitespace, and blank lines at either end
- the closing line of a code block where the fence that was added says the same

A cut prefers the end of a paragraph, then of a line, a sentence, a word; the
first two only where they leave the part at least half full. It keeps links,
inline code and bold text whole where there is room. As the last resort it
falls between two characters, beside a grapheme cluster rather than in it.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

from adapters._text import length, width
from adapters.base import TextUnit

SMALLEST_LIMIT: dict[TextUnit, int] = {"utf16": 2, "codepoints": 1, "bytes": 4}
"""Below this a single character may not fit."""

_FENCE = re.compile(r"^([ \t]*)(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)
_SENTENCE = re.compile(r"[.!?…][\"'”’)\]*_]{0,8}(?=\s)|[。！？]")
_WHOLE = re.compile(
    r"`[^`\n]+`|!?\[[^\[\]\n]{0,512}\]\([^()\s]{1,1024}\)|\*\*[^*\n]{1,512}\*\*|~~[^~\n]{1,512}~~"
)
_WHOLE_REACH = 1600  # how far behind the window something that starts in it may end
_SPACES = (" ", "\n", "\t", "\u3000")
_WORD_TRIES = 64  # so many spans without a space between them are no prose
_CLUSTER_REACH = 64  # longer clusters are not text that anyone wrote


def split(text: str, limit: int, unit: TextUnit) -> list[str]:
    """The parts of `text`, each at most `limit` long, counted in `unit`.

    Only whitespace: no parts. Raises `ValueError` for a limit that a single
    character may pass. Takes time in proportion to the length of the text.
    """
    if limit < SMALLEST_LIMIT[unit]:
        raise ValueError(f"a limit of {limit} {unit} is too small")
    if not text or text.isspace():
        return []
    if length(text, unit) <= limit:
        return [text]
    return [piece.text for piece in slices(text, limit, unit)]


@dataclass(frozen=True, slots=True)
class Slice:
    """`source[start:end]` and what was put around it."""

    start: int
    end: int
    text: str


def slices(text: str, limit: int, unit: TextUnit) -> Iterator[Slice]:
    """Where `split` cuts, and what it adds. In order; never overlapping."""
    return _Splitter(text, limit, unit).slices()


@dataclass(frozen=True, slots=True)
class _Fence:
    """A fenced code block: `text[start:end]`, its lines `text[inner:inner_end]`."""

    start: int
    inner: int
    inner_end: int
    end: int
    opening: str
    closing: str
    closed: bool


def _fences(text: str) -> Iterator[_Fence]:
    """The code blocks of a text, by CommonMark's rules for opening and closing lines."""
    opened: re.Match[str] | None = None
    for line in _FENCE.finditer(text):
        _, mark, info = line.groups()
        if opened is None:
            if mark[0] == "~" or "`" not in info:
                opened = line
        elif mark[0] == opened[2][0] and len(mark) >= len(opened[2]) and not info.strip():
            yield _fence(opened, line.start(), line.end(), closed=True)
            opened = None
    if opened is not None:
        yield _fence(opened, len(text), len(text), closed=False)


def _fence(opened: re.Match[str], inner_end: int, end: int, *, closed: bool) -> _Fence:
    indent = opened[1] if len(opened[1].expandtabs(4)) <= 3 else ""
    return _Fence(
        start=opened.start(),
        inner=min(opened.end() + 1, inner_end),
        inner_end=inner_end,
        end=end,
        opening=f"{indent}{opened[2]}{opened[3].rstrip()}\n",
        closing=f"\n{indent}{opened[2]}",
        closed=closed,
    )


@dataclass(frozen=True, slots=True)
class _Cut:
    """The slice ends at `end` with `suffix`; the next begins at `start`, inside `fence` or not."""

    end: int
    start: int
    suffix: str = ""
    fence: _Fence | None = None


class _Splitter:
    """One text being cut, front to back."""

    def __init__(self, text: str, limit: int, unit: TextUnit) -> None:
        self._text = text
        self._limit = limit
        self._unit = unit
        self._narrow = unit == "codepoints" or text.isascii()
        self._fences = [fence for fence in map(self._shortened, _fences(text)) if fence]
        self._starts = [fence.start for fence in self._fences]

    def slices(self) -> Iterator[Slice]:
        start = self._after_space(0, 0)
        fence: _Fence | None = None
        while start < len(self._text):
            prefix = fence.opening if fence else ""
            cut = self._next_cut(start, self._limit - length(prefix, self._unit), fence)
            body = self._text[start : cut.end]
            if body and not body.isspace():
                yield Slice(start, cut.end, prefix + body + cut.suffix)
            start, fence = cut.start, cut.fence

    def _shortened(self, fence: _Fence) -> _Fence | None:
        """The fence, without its info string if that leaves too little room; None without hope."""
        for opening in (fence.opening, fence.closing[1:] + "\n"):
            if length(opening + fence.closing, self._unit) <= self._limit // 2:
                return replace(fence, opening=opening)
        return None

    def _next_cut(self, start: int, room: int, fence: _Fence | None) -> _Cut:
        stop = self._reach(start, room)
        if stop >= len(self._text):
            return _Cut(len(self._text.rstrip()) if fence is None else stop, stop)
        around = self._around(stop)
        if around is None:
            return self._cut_in_prose(start, stop)
        if around.start > start and self._text[start : around.start].strip():
            share = 4 if self._fits(around) else 2
            if around.start - start >= (stop - start) // share:
                return self._outside(start, around.start)
        return self._cut_in_code(start, room, around) or self._cut_in_prose(start, stop)

    def _fits(self, fence: _Fence) -> bool:
        """Whether a code block fits whole into one part."""
        block = self._text[fence.start : min(fence.end, fence.start + self._limit + 1)]
        return length(block, self._unit) <= self._limit

    # --- in code ------------------------------------------------------------

    def _cut_in_code(self, start: int, room: int, fence: _Fence) -> _Cut | None:
        """A cut inside a code block: at the end of a line, or in a line too long for one part."""
        stop = self._reach(start, room - length(fence.closing, self._unit))
        low = max(start, fence.inner)
        stop = min(stop, fence.inner_end)
        if stop <= low:
            return None
        at = self._text.rfind("\n", low + 1, stop + 1)
        if at > low:
            blank = self._text.rfind("\n\n", low + (at - low) * 3 // 4, at)
            at = blank + 1 if blank > low else at
            if at + 1 >= fence.inner_end and fence.closed:
                return _Cut(at, self._after_space(fence.end, fence.end), fence.closing)
            return _Cut(at, at + 1, fence.closing, fence)
        at = self._between_clusters(low, stop)
        return _Cut(at, at, fence.closing, fence)

    # --- in prose -----------------------------------------------------------

    def _cut_in_prose(self, start: int, stop: int) -> _Cut:
        half = start + (stop - start) // 2
        for find in (self._paragraph, self._line):
            at = find(half, stop)
            if at is not None:
                return self._outside(start, at)
        whole = self._whole(start, stop)
        at = self._sentence(half, stop, whole)
        if at is None:
            at = self._word(start, stop, whole)
        if at is None:
            at = self._before_whole(start, stop, whole)
        if at is None:
            at = self._word(start, stop, [])
        if at is None:
            at = self._between_clusters(start, stop)
            return _Cut(at, at)
        return self._outside(start, at)

    def _paragraph(self, low: int, stop: int) -> int | None:
        return self._last("\n\n", low, stop)

    def _line(self, low: int, stop: int) -> int | None:
        return self._last("\n", low, stop)

    def _last(self, ending: str, low: int, stop: int) -> int | None:
        """The last place of `ending` outside code blocks. `stop` itself is a fine place."""
        high = stop + len(ending)
        while (at := self._text.rfind(ending, low, high)) > low:
            fence = self._around(at)
            if fence is None:
                return at
            high = fence.start
        return None

    def _sentence(self, low: int, stop: int, whole: list[tuple[int, int]]) -> int | None:
        found = None
        for match in _SENTENCE.finditer(self._text, low, stop + 1):
            at = match.end()
            if at <= stop and not _holds(whole, at) and self._around(at) is None:
                found = at
        return found

    def _word(self, start: int, stop: int, whole: list[tuple[int, int]]) -> int | None:
        """The last space in the window that stands outside of what is to stay whole."""
        high = stop + 1
        for _ in range(_WORD_TRIES):
            at = max(self._text.rfind(space, start + 1, high) for space in _SPACES)
            if at < 0 or not self._text[start:at].strip():
                return None
            held = _holds(whole, at)
            fence = self._around(at)
            if held is None and fence is None:
                return at
            high = min(held[0] if held else at, fence.start if fence else at)
        return None

    def _before_whole(self, start: int, stop: int, whole: list[tuple[int, int]]) -> int | None:
        """Right before a link or the like that would otherwise be cut in two."""
        held = _holds(whole, stop)
        if held is not None and held[0] > start and self._around(held[0]) is None:
            return held[0]
        return None

    def _whole(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Links, inline code and bold text of the window, as far as they fit into one part."""
        reach = stop + _WHOLE_REACH
        found = (match.span() for match in _WHOLE.finditer(self._text, start, reach))
        return [(a, b) for a, b in found if a < stop and b - a <= stop - start]

    # --- places -------------------------------------------------------------

    def _outside(self, start: int, at: int) -> _Cut:
        """A cut outside code: without the whitespace around it, indentation excepted."""
        end = at
        while end > start and self._text[end - 1].isspace():
            end -= 1
        return _Cut(end, self._after_space(end if end > start else start, at))

    def _after_space(self, low: int, at: int) -> int:
        """Where the next slice starts: behind whitespace, but before its line's indentation."""
        there = at
        while there < len(self._text) and self._text[there].isspace():
            there += 1
        line = self._text.rfind("\n", low, there) + 1
        indented = (line > 0 or at == 0) and there - line <= self._limit // 4
        return line if indented and line >= at else there

    def _around(self, at: int) -> _Fence | None:
        """The code block that a cut at `at` would fall into."""
        index = bisect_right(self._starts, at - 1) - 1
        if index >= 0 and self._fences[index].start < at < self._fences[index].end:
            return self._fences[index]
        if index >= 0 and at == self._fences[index].end and not self._fences[index].closed:
            return self._fences[index]
        return None

    def _reach(self, start: int, room: int) -> int:
        """The furthest place that `room` units lead to."""
        stop = min(len(self._text), start + room)
        if self._narrow:
            return stop
        window = self._text[start:stop]
        if length(window, self._unit) <= room:
            return stop
        sums = list(accumulate(width(char, self._unit) for char in window))
        return start + bisect_right(sums, room)

    def _between_clusters(self, start: int, stop: int) -> int:
        """The last place up to `stop` that is not inside a grapheme cluster."""
        at = stop
        while at > max(start, stop - _CLUSTER_REACH) and self._joined(at, start):
            at -= 1
        if at > start and not self._joined(at, start):
            return at
        pair = stop - 1 > start and "\ud800" <= self._text[stop - 1] <= "\udbff"
        return stop - 1 if pair and "\udc00" <= self._text[stop] <= "\udfff" else stop

    def _joined(self, at: int, start: int) -> bool:
        """Whether the characters on both sides of `at` belong together (roughly UAX #29)."""
        before, after = self._text[at - 1], self._text[at]
        if before < "\x80" and after < "\x80":
            return before == "\r" and after == "\n"
        if before == "\u200d" or _extends(after):
            return True
        if _is_flag(before) and _is_flag(after):
            run = at - 1
            while run > start and at - run < _CLUSTER_REACH and _is_flag(self._text[run - 1]):
                run -= 1
            return (at - run) % 2 == 1
        return "\ud800" <= before <= "\udbff" and "\udc00" <= after <= "\udfff"


def _holds(spans: list[tuple[int, int]], at: int) -> tuple[int, int] | None:
    """The span that a cut at `at` would fall into."""
    index = bisect_right(spans, (at,)) - 1
    if index >= 0 and spans[index][0] < at < spans[index][1]:
        return spans[index]
    return None


def _extends(char: str) -> bool:
    """Combining marks, joiners, variation selectors, skin tones, tags, Hangul vowels and finals."""
    if char < "\u0300":
        return False
    if char in "\u200d\u200c" or "\U0001f3fb" <= char <= "\U0001f3ff":
        return True
    if "\u1160" <= char <= "\u11ff" or "\U000e0020" <= char <= "\U000e007f":
        return True
    return unicodedata.category(char) in ("Mn", "Me", "Mc")


def _is_flag(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"
