"""What the contract suite has to know of one adapter.

Each adapter `adapters/<name>.py` has a `tests/adapters/<name>_harness.py` with
one class `<…>Harness(Harness)`. The suite finds both by their files.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import httpx

import adapters
from adapters.base import Adapter, Request, SendError

Situation = tuple[type[SendError], Callable[[Any], Any]]


class Harness(ABC):
    """One adapter and its fake platform. Entered and left as a context manager."""

    secrets: ClassVar[tuple[str, ...]] = ()
    """Texts that no error, log or repr may hold."""

    empty_problems: ClassVar[set[str]] = set()
    """Slugs of what is wrong with an empty configuration."""

    situations: ClassVar[Mapping[str, Situation]] = {}
    """name: (the error a send must end with, what makes the platform do so)."""

    chat_id: ClassVar[str] = "5"

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stops the platform, where there is one to stop."""
        return

    @abstractmethod
    def config(self, **changes: Any) -> Any:
        """A configuration that works with the fake platform."""

    @abstractmethod
    def texts(self) -> list[str] | None:
        """Texts that reached the platform; None where there is no platform to look at."""

    # --- webhook receivers only: the suite asks no other harness for these ----

    def webhook_config(self) -> Any:
        """A configuration in which webhooks are received."""
        return self.config()

    def without_secret(self) -> Any:
        """The same, its secret forgotten."""
        raise NotImplementedError

    def delivery(self, text: str, number: int = 1) -> Request:
        """An authentic webhook call with one message; the same number is the same message."""
        raise NotImplementedError

    def forged(self) -> Mapping[str, Request]:
        """Calls that are not the platform's, by what is wrong with them."""
        raise NotImplementedError

    def signed(self, body: bytes) -> Request:
        """An authentic call with any body."""
        raise NotImplementedError

    unsupported: ClassVar[bytes] = b""
    """Body that is understood, and nothing for us."""

    unreadable: ClassVar[bytes] = b""
    """Body that is authentic and has wrong types."""


SECOND_WAYS = {"imessage_mac": "imessage"}
"""Harnesses of a channel's second way: file -> adapter."""


def adapter_names() -> list[str]:
    """The channels that have a file."""
    names = (module.name for module in pkgutil.iter_modules(adapters.__path__))
    return sorted(name for name in names if not name.startswith("_") and name != "base")


def adapter_classes(name: str) -> list[type[Adapter]]:
    """The adapters that a file declares: there must be one."""
    module = importlib.import_module(f"adapters.{SECOND_WAYS.get(name, name)}")
    members = inspect.getmembers(module, inspect.isclass)
    return [c for _, c in members if issubclass(c, Adapter) and c.__module__ == module.__name__]


def build(name: str, config: Any, transport: httpx.AsyncBaseTransport) -> Any:
    """The adapter, as the core builds it. Roles are protocols, hence Any."""
    make: Any = adapter_classes(name)[0]
    return make(config, transport)


def harness(name: str) -> Harness:
    """The harness of a channel."""
    module = importlib.import_module(f"tests.adapters.{name}_harness")
    members = inspect.getmembers(module, inspect.isclass)
    (found,) = [c for _, c in members if c.__module__ == module.__name__ and issubclass(c, Harness)]
    return found()
