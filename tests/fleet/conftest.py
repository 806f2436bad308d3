"""The verbs and the default agent, as in the tests of the core."""

from __future__ import annotations

from tests.core.conftest import agent, verbs  # noqa: F401  (pytest finds fixtures by name here)
