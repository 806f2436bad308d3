"""Webchat has no platform: a reply has arrived when it is stored."""

from __future__ import annotations

from typing import Any

from adapters.webchat import WebchatConfig
from tests.adapters.harness import Harness


class WebchatHarness(Harness):
    """Nothing to start, nothing that can go wrong."""

    def config(self, **changes: Any) -> WebchatConfig:
        return WebchatConfig(**changes)

    def texts(self) -> list[str] | None:
        return None
