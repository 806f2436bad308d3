"""`manage.py channels`: what is there, what it can do, how to set it up, whether it works."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from adapters.base import (
    Acknowledger,
    Adapter,
    Capabilities,
    Drafter,
    Editor,
    Listener,
    MediaSource,
    Prompter,
    SendError,
    Settler,
    Typist,
    Watched,
    WebhookReceiver,
)
from gateway import channels
from gateway.http import make_transport
from gateway.terminal import printable

PROBE_SECONDS = 30.0
ROLES = (
    WebhookReceiver,
    Watched,
    Listener,
    Editor,
    Drafter,
    Typist,
    MediaSource,
    Acknowledger,
    Prompter,
    Settler,
)
UNITS = {
    "codepoints": "characters",
    "utf16": "characters (an emoji counts as two)",
    "bytes": "bytes",
}


class Command(BaseCommand):
    """A line or two for every channel; everything about one that is named."""

    help = (
        "Lists the channels: which are enabled, what they can do, what is missing. "
        "Example: manage.py channels webchat --probe"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", nargs="?", help="One channel, with its set-up steps.")
        parser.add_argument(
            "--probe", action="store_true", help="Ask the platforms who we are there."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["name"]
        if name and name not in channels.installed():
            known = ", ".join(channels.installed())
            raise CommandError(f"There is no channel {name!r}. There are {known}.")
        for one in [name] if name else channels.installed():
            self._show(one, whole=bool(name))
        enabled = [one for one in settings.OPENCLAW_CHANNELS if name in (None, one)]
        if options["probe"] and name and not enabled:
            raise CommandError(f"{name} is not enabled: add it to OPENCLAW_CHANNELS to probe it.")
        if options["probe"] and not asyncio.run(self._probe(enabled)):
            sys.exit(1)

    def _show(self, name: str, *, whole: bool) -> None:
        enabled = name in settings.OPENCLAW_CHANNELS
        self.stdout.write(f"{name}: {'enabled' if enabled else 'not enabled'}")
        try:
            adapter = channels.load(name)
        except channels.ChannelError as error:
            self.stdout.write(f"  {error}")
            return
        for line in described(adapter):
            self.stdout.write(f"  {line}")
        if enabled:
            for problem in channels.problems(name):
                self.stdout.write(f"  ! {problem.message} {problem.hint}")
        if whole:
            text = inspect.getdoc(sys.modules[adapter.__module__]) or ""
            self.stdout.write("\n" + text)

    async def _probe(self, names: Iterable[str]) -> bool:
        """Ask each platform. Whether all of them answered well."""
        transport = make_transport()
        try:
            lines = [await self._ask(name, transport) for name in names]
        finally:
            await transport.aclose()
        for name, good, text in lines:
            state = "works" if good else "does not work"
            self.stdout.write(f"{name}: {state}: {printable(text)}")
        return all(good for _, good, _ in lines)

    async def _ask(self, name: str, transport: Any) -> tuple[str, bool, str]:
        if problems := channels.problems(name):
            return name, False, " ".join(problem.message for problem in problems)
        adapter = channels.build(name, transport)
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                return name, True, await adapter.probe()
        except SendError as error:
            return name, False, error.detail
        except TimeoutError:
            return name, False, f"no answer within {PROBE_SECONDS:.0f} s"
        finally:
            await adapter.close()


def described(adapter: type[Adapter]) -> list[str]:
    """What an adapter can do, in a few lines for people."""
    facts: Capabilities = adapter.capabilities
    roles = [role.__name__ for role in ROLES if _has(adapter, role)]
    media = [f"{kind} up to {size_of(size)}" for kind, size in facts.media.items()]
    extras = [
        name
        for name, there in (
            ("locations", facts.locations),
            (f"{facts.buttons} buttons", facts.buttons),
            ("edits", facts.edits),
            ("typing sign", facts.typing_seconds),
        )
        if there
    ]
    return [
        f"text: {facts.text_limit:,} {UNITS[facts.text_unit]} a part, {facts.markup}",
        f"files: {', '.join(media) or 'as links'}",
        f"also: {', '.join(extras) or 'nothing'}",
        f"roles: {', '.join(roles) or 'sends only'}",
    ]


def size_of(size: int) -> str:
    """Bytes for people."""
    return f"{size / 1024 / 1024:g} MB" if size >= 1024 * 1024 else f"{size // 1024} KB"


def _has(adapter: type[Adapter], role: Any) -> bool:
    """Whether a class has all that a role asks for: `issubclass` refuses those with properties."""
    asked = [name for name in vars(role) if not name.startswith("_")]
    return all(hasattr(adapter, name) for name in asked)
