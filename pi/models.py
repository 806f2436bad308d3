"""From the settings to a model of pydantic-ai, and patience with its passing errors.

A plain name is a model of the OpenAI-compatible server at the base URL;
`provider:name` is that provider of pydantic-ai, with the same key.
"""

from __future__ import annotations

import importlib.util
import inspect
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from pi.config import SERVER_PREFIX, Config, ConfigError

if TYPE_CHECKING:
    from pydantic_ai.models import Model
    from pydantic_ai.providers import Provider

log = logging.getLogger("pi")

SERVICE = "openclaw-model"
PAUSES = (0.5, 1.5)
"""Seconds before a model is asked again after a passing error; then the error is told."""

Sleep = Callable[[float], Awaitable[None]]
Passing = Callable[[Any], bool]


def check(config: Config) -> None:
    """That the library for a server of one's own is there. Raises `ConfigError`."""
    if config.model and importlib.util.find_spec("openai") is None:
        raise ConfigError("OPENCLAW_LLM_MODEL needs the package openai: pip install openai")


def build(config: Config) -> tuple[Model, Any]:
    """The model, and its client to close in the end. Raises `ConfigError`."""
    return _of_provider(config) if config.provider else _of_server(config)


def _provider_class(config: Config) -> type[Provider[Any]]:
    from pydantic_ai.providers import infer_provider_class

    try:
        return infer_provider_class(config.provider)
    except ImportError as problem:
        raise ConfigError(
            f"OPENCLAW_LLM_MODEL={config.model} needs the package of {config.provider}: "
            f'pip install "pydantic-ai-slim[{config.provider}]". If it is a model of a server of '
            f"your own, write {SERVER_PREFIX}{config.model}"
        ) from problem


def _of_provider(config: Config) -> tuple[Model, Any]:
    from pydantic_ai.exceptions import UserError
    from pydantic_ai.models import infer_model

    wanted = {"api_key": config.api_key, "base_url": config.own_url}
    kind = _provider_class(config)
    taken = inspect.signature(kind.__init__).parameters
    given = {name: value for name, value in wanted.items() if value and name in taken}
    try:
        provider = kind(**given)
        return infer_model(config.model, lambda _: provider), provider.client
    except (UserError, ImportError, TypeError, ValueError) as problem:
        raise ConfigError(
            f"OPENCLAW_LLM_MODEL={config.model} cannot be used: {type(problem).__name__}; "
            "it may want OPENCLAW_LLM_API_KEY, or settings of its own (docs/pi.md)"
        ) from problem


def _of_server(config: Config) -> tuple[Model, Any]:
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.profiles.openai import OpenAIModelProfile
    from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

    provider = OpenAICompatibleProvider(
        SERVICE,
        base_url=config.base_url,
        api_key=config.api_key or None,
        profile=OpenAIModelProfile(
            # a stream that just ends is a failure, not an answer
            openai_chat_streaming_requires_finish_reason=True,
            # the chat templates of some models allow one, at the start
            openai_chat_supports_multiple_system_messages=False,
        ),
    )
    return OpenAIChatModel(config.model_name, provider=provider), provider.client


def price_known(config: Config) -> bool:
    """Whether the model's price is known, so that costs can be counted."""
    from genai_prices import Usage, calc_price

    usage = Usage(input_tokens=1, output_tokens=1)
    try:
        if config.provider:
            name = config.provider.partition("-")[0]
            calc_price(usage, config.model_name, provider_id=name)
        else:
            calc_price(usage, config.model_name, provider_api_url=config.base_url)
    except LookupError:
        return False
    return True


def patient(model: Model, passing: Passing, sleep: Sleep) -> Model:
    """The same model, asked again after a passing error as long as it has said nothing."""
    from pydantic_ai.exceptions import AgentRunError
    from pydantic_ai.models.wrapper import WrapperModel

    class Patient(WrapperModel):
        async def request(self, *asked: Any) -> Any:
            for pause in PAUSES:
                try:
                    return await self.wrapped.request(*asked)
                except AgentRunError as problem:
                    await _wait(problem, pause)
            return await self.wrapped.request(*asked)

        @asynccontextmanager
        async def request_stream(self, *asked: Any, **named: Any) -> AsyncGenerator[Any]:
            async with AsyncExitStack() as stack:
                for pause in PAUSES:
                    try:
                        stream = await stack.enter_async_context(
                            self.wrapped.request_stream(*asked, **named)
                        )
                        break
                    except AgentRunError as problem:
                        await _wait(problem, pause)
                else:
                    stream = await stack.enter_async_context(
                        self.wrapped.request_stream(*asked, **named)
                    )
                yield stream

    async def _wait(problem: AgentRunError, pause: float) -> None:
        if not passing(problem):
            raise problem
        log.info("model failed (%s), asking again in %.1f s", type(problem).__name__, pause)
        await sleep(pause)

    return Patient(model)
