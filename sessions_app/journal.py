"""What commands did by hand, told to whoever keeps account of it (the gateway's audit)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Line = tuple[str, dict[str, Any]]
"""(row, more about it)."""

keepers: list[Callable[[str, Sequence[Line]], None]] = []
"""Called with the action and its lines, in the caller's transaction. Filled when Django starts."""


def tell(action: str, lines: Sequence[Line]) -> None:
    """Something was done to these rows."""
    for keep in keepers:
        keep(action, lines)
