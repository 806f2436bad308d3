"""Each channel as the end-to-end, crash and storm tests see it: one file each, one class each."""

from __future__ import annotations

import importlib
import inspect

from tests.adapters.harness import adapter_names
from tests.e2e.channels.base import Channel

WITHOUT = ("webchat", "openai")
WITH_A_PLATFORM = [name for name in adapter_names() if name not in WITHOUT]
"""Every adapter with a platform of its own needs a file here."""

WAYS = [*WITH_A_PLATFORM, "imessage_blue"]
"""The same, and a channel's second way where it has one: names of files here."""


def channel(name: str) -> Channel:
    """The channel `name` with its fake platform, not yet entered."""
    module = importlib.import_module(f"tests.e2e.channels.{name}")
    members = inspect.getmembers(module, inspect.isclass)
    (found,) = [c for _, c in members if c.__module__ == module.__name__ and issubclass(c, Channel)]
    return found()
