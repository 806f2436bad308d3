"""The core's verbs and clock, here too."""

from __future__ import annotations

from tests.core.conftest import agent, verbs

__all__ = ["agent", "verbs"]
