"""The entrance has no platform: a reply has arrived when it is stored."""

from __future__ import annotations

from typing import Any

from adapters.openai import OpenaiConfig
from tests.adapters.harness import Harness


class OpenaiHarness(Harness):
    """Nothing to start, nothing that can go wrong."""

    def config(self, **changes: Any) -> OpenaiConfig:
        return OpenaiConfig(**changes)

    def texts(self) -> list[str] | None:
        return None
