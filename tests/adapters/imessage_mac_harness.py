"""iMessage on a Mac of its own: chat.db and a stand-in for osascript."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from adapters.base import ChannelDown, Refused, Transient, Unsure
from adapters.imessage import ImessageConfig
from tests.adapters.harness import Harness, Situation
from tests.fakes.imessage import FakeMac


def wrong(error: type[Any], /, **what: Any) -> Situation:
    """A send that ends with `error` because Messages does `what`."""
    return error, lambda harness: harness.fake.fail(**what)


class ImessageMacHarness(Harness):
    """A home folder with Messages in it."""

    chat_id = "iMessage;-;+15550000005"
    situations = {
        "no permission": wrong(ChannelDown, number=-1743),
        "no such person": wrong(Refused, number=-1728),
        "a wrong service": wrong(Refused, number=-1700),
        "Messages is not running": wrong(Transient, number=-600),
        "hung up after": wrong(Unsure, number=-1712, sent=True),
        "an error of the script": wrong(Unsure, number=-9999),
        "not delivered": wrong(Refused, error=22),
    }

    def __init__(self) -> None:
        self._stack = ExitStack()

    async def __aenter__(self) -> ImessageMacHarness:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self.fake = self._stack.enter_context(FakeMac(folder / "mac"))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stack.close()

    def config(self, **changes: Any) -> ImessageConfig:
        values = {
            "mode": "chatdb",
            "db": str(self.fake.db),
            "osascript": str(self.fake.osascript),
            "folder": str(self.fake.folder / "pictures"),
        }
        return ImessageConfig(**{**values, **changes})

    def texts(self) -> list[str] | None:
        return [one.text for one in self.fake.sent]
