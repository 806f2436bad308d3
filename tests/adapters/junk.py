"""Payloads with one place in them replaced by something else, for readers that must not break."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

_JUNK = st.one_of(
    st.none(), st.integers(), st.text(max_size=5), st.lists(st.integers(), max_size=2)
)


def broken(payloads: list[Any]) -> st.SearchStrategy[Any]:
    """One of the payloads, damaged in one place."""
    places = st.lists(st.integers(0, 20), min_size=1, max_size=7)
    return st.builds(_replaced, st.sampled_from(payloads), places, _JUNK)


def _replaced(value: Any, path: list[int], junk: Any) -> Any:
    if not path or not isinstance(value, dict | list) or not value:
        return junk
    copy = dict(value) if isinstance(value, dict) else list(value)
    key: Any = list(copy)[path[0] % len(copy)] if isinstance(copy, dict) else path[0] % len(copy)
    copy[key] = _replaced(copy[key], path[1:], junk)
    return copy
