"""Text that any JSON encoder can carry: no half of a surrogate pair."""

from __future__ import annotations


class Mender:
    """Joins surrogate pairs that a model server cut in two, and replaces stray halves.

    Some servers escape characters beyond the first plane as two JSON escapes and
    may end a piece between them.
    """

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        """What can be passed on now; a trailing first half waits for its second."""
        text = self._held + text
        self._held = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return mend(text[: len(text) - len(self._held)])

    def end(self) -> str:
        """What was still held: at most one replacement character."""
        held, self._held = self._held, ""
        return mend(held)


def mend(text: str) -> str:
    """`text` with surrogate pairs joined and lone surrogates as U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
