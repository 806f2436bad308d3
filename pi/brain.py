"""What answers: a language model where one is set, the rules where none is.

Both have the same tools, made for each request and bound to its conversation.
The model's libraries are imported on first use: the server listens before they
are loaded, and without a model they never are.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from pi.config import Config
from pi.gateway import Gateway, Http
from pi.mind import Mind
from pi.protocol import Ask, Event, final
from pi.rules import Rules
from pi.toolbox import Toolbox, make_toolbox
from pi.tools.dates import clock_in, clock_of
from pi.transcript import newest_text
from pi.wording import mend


class Brain:
    """Answers requests. `rules` is used where `config` names no model."""

    def __init__(self, config: Config, rules: Rules | None = None) -> None:
        self._config = config
        self._rules = rules or Rules(clock_in(config.timezone))
        self._mind = Mind(config, self._rules.clock, self._rules.sleep) if config.model else None
        self._http = Http()

    @property
    def kind(self) -> str:
        """`model` or `rules`."""
        return "model" if self._mind else "rules"

    @property
    def model(self) -> str | None:
        """The model's name, None without one."""
        return self._config.model or None

    async def load(self) -> None:
        """Import what an answer needs."""
        if self._mind:
            await self._mind.load()

    async def close(self) -> None:
        """Let go of connections to the model and the gateway."""
        if self._mind:
            await self._mind.close()
        await self._http.close()

    async def answer(self, ask: Ask) -> AsyncGenerator[Event]:
        """Tokens, reasoning and tool events as they come, then `final`. Raises `Failed`.

        Closing the iterator cancels what is under way.
        """
        gateway = Gateway(ask, self._http)
        toolbox = make_toolbox(ask, self._config, gateway, self._rules.clock)
        events = (
            self._mind.answer(ask, toolbox, gateway) if self._mind else self._by_rules(ask, toolbox)
        )
        async with aclosing(events):
            async for event in events:
                yield event

    async def _by_rules(self, ask: Ask, toolbox: Toolbox) -> AsyncGenerator[Event]:
        content = ""
        clock, _ = clock_of(ask.person, self._rules.clock)
        text = newest_text(ask.messages, ask.waiting)
        async with aclosing(self._rules.answer(text, toolbox, clock)) as events:
            async for event in events:
                content += event.data["text"] if event.name == "token" else ""
                yield event
        yield final(mend(content), {"brain": "rules"})
