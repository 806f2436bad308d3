"""The verbs of the core and their default agent, for what operators do to their rows."""

from __future__ import annotations

from tests.core.conftest import agent, verbs  # noqa: F401  (fixtures: pytest finds them here)
