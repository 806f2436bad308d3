"""How far a long command is: one line on a terminal that is written over; elsewhere nothing."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self, TextIO

WIDTH = 30
EVERY_SECONDS = 0.1


class Progress:
    """A bar for `total` steps (0: unknown), on a stream that people may be looking at."""

    def __init__(self, stream: TextIO, total: int, what: str) -> None:
        self._stream, self._total, self._what = stream, total, what
        self._shown = bool(getattr(stream, "isatty", bool)())
        self._done, self._next = 0, 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._shown:
            self._show()
            self._stream.write("\n")

    def step(self, count: int = 1) -> None:
        """That much further."""
        self._done += count
        now = time.monotonic()
        if self._shown and now >= self._next:
            self._next = now + EVERY_SECONDS
            self._show()

    def _show(self) -> None:
        if self._total:
            part = min(1.0, self._done / self._total)
            full = round(part * WIDTH)
            bar = f"{'█' * full}{'░' * (WIDTH - full)} {part:4.0%} "
        else:
            bar = ""
        of = f" of {self._total:,}" if self._total else ""
        self._stream.write(f"\r{bar}{self._done:,}{of} {self._what} ")
        self._stream.flush()
