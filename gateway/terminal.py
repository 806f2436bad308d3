"""Texts of other people on a terminal, which takes some characters for orders."""

from __future__ import annotations


def printable(text: str) -> str:
    """Only what can be seen: no escape sequences, line ends or changes of direction."""
    return "".join(filter(str.isprintable, text))
