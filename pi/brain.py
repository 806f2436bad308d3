"""What answers: a language model where one is set, the rules where none is.

Both are agents of pydantic-ai, so what the model can be given (history now,
tools later) is given to either in one way. pydantic-ai and the model's
libraries are imported on first use: the server listens before they are loaded.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from pi.config import Config, ConfigError
from pi.failures import Failed, explain
from pi.protocol import Ask, Event, Message, final
from pi.rules import ATTACHMENT_NOTE, Rules
from pi.tools.dates import long_date
from pi.wording import Mender, mend

if TYPE_CHECKING:
    from pydantic_ai import Agent
    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.usage import RunUsage

MAX_ANSWER_CHARS = 1_000_000
SERVICE = "openclaw-model"


class Brain:
    """Answers requests. `rules` is used where `config` names no model."""

    def __init__(self, config: Config, rules: Rules | None = None) -> None:
        if config.model and importlib.util.find_spec("openai") is None:
            raise ConfigError("OPENCLAW_LLM_MODEL needs the package openai: pip install openai")
        self._config = config
        self._rules = rules or Rules()
        self._loading = asyncio.Lock()
        self._agent: Agent[None, str] | None = None
        self._client: Any = None

    @property
    def kind(self) -> str:
        """`model` or `rules`."""
        return "model" if self._config.model else "rules"

    @property
    def model(self) -> str | None:
        """The model's name, None without one."""
        return self._config.model or None

    async def load(self) -> Agent[None, str]:
        """The agent; the first call imports its libraries, in a thread."""
        async with self._loading:
            if self._agent is None:
                self._agent = await asyncio.to_thread(self._build)
            return self._agent

    async def close(self) -> None:
        """Let go of connections to the model."""
        if self._client is not None:
            await self._client.close()

    async def answer(self, ask: Ask) -> AsyncGenerator[Event]:
        """Tokens and reasoning as they come, then `final`. Raises `Failed`.

        Closing the iterator cancels the model's call.
        """
        agent = await self.load()
        from pydantic_ai.exceptions import AgentRunError  # after load, which imports it aside

        try:
            async with aclosing(self._run(agent, ask)) as events:
                async for event in events:
                    yield event
        except AgentRunError as error:
            raise explain(error, self._config) from error

    async def _run(self, agent: Agent[None, str], ask: Ask) -> AsyncGenerator[Event]:
        from pydantic_ai import AgentRunResultEvent

        history, prompt = to_history(ask.messages)
        menders = {"token": Mender(), "reasoning": Mender()}
        size = 0
        async with agent.run_stream_events(prompt, message_history=history) as events:
            async for event in events:
                if isinstance(event, AgentRunResultEvent):
                    for name, mender in menders.items():
                        if rest := mender.end():
                            yield Event(name, {"text": rest})
                    yield self._final(event.result.output, event.result.usage)
                    return
                name, text = _delta(event)
                size += len(text)
                if size > MAX_ANSWER_CHARS:
                    raise Failed("the model would not stop talking", retryable=False)
                if text and (mended := menders[name].feed(text)):
                    yield Event(name, {"text": mended})

    def _final(self, content: str, usage: RunUsage) -> Event:
        if not content.strip():
            raise Failed("the model gave an empty answer", retryable=False)
        metadata: dict[str, Any] = {"brain": self.kind}
        if self._config.model:
            metadata["model"] = self._config.model
            if usage.input_tokens or usage.output_tokens:
                metadata["usage"] = {
                    "input_tokens": usage.input_tokens,
                    "output_tokens": usage.output_tokens,
                }
        return final(mend(content), metadata)

    def _build(self) -> Agent[None, str]:
        return self._build_model() if self._config.model else self._build_rules()

    def _build_rules(self) -> Agent[None, str]:
        from pydantic_ai import Agent
        from pydantic_ai.models.function import FunctionModel

        return Agent(FunctionModel(stream_function=self._rules.stream, model_name="rules"))

    def _build_model(self) -> Agent[None, str]:
        from pydantic_ai import Agent
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.profiles.openai import OpenAIModelProfile
        from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider
        from pydantic_ai.settings import ModelSettings

        provider = OpenAICompatibleProvider(
            SERVICE,
            base_url=self._config.base_url,
            api_key=self._config.api_key or None,
            profile=OpenAIModelProfile(
                # a stream that just ends is a failure, not an answer
                openai_chat_streaming_requires_finish_reason=True,
                # the chat templates of some models allow one, at the start
                openai_chat_supports_multiple_system_messages=False,
            ),
        )
        self._client = provider.client
        return Agent(
            OpenAIChatModel(self._config.model, provider=provider),
            instructions=self._instructions,
            # retries are the gateway's business: it knows what was already heard
            model_settings=ModelSettings(max_retries=0),
        )

    def _instructions(self) -> str:
        return (
            "You are Pi, an assistant in a chat. Answer briefly and plainly, in the language "
            f"of the person. Today is {long_date(self._rules.today)}."
        )


def _delta(event: object) -> tuple[str, str]:
    """Which kind of text an event adds, and the text; ("", "") for other events."""
    from pydantic_ai import messages as m

    match event:
        case m.PartStartEvent(part=m.TextPart(content=text)):
            return "token", text
        case m.PartDeltaEvent(delta=m.TextPartDelta(content_delta=text)):
            return "token", text
        case m.PartStartEvent(part=m.ThinkingPart(content=text)):
            return "reasoning", text
        case m.PartDeltaEvent(delta=m.ThinkingPartDelta(content_delta=str(text))):
            return "reasoning", text
    return "", ""


def to_history(messages: Sequence[Message]) -> tuple[list[ModelMessage], str | None]:
    """pydantic-ai's history and the prompt.

    Neighbours of one role become one message, because the chat templates of some
    models refuse two in a row. The prompt is what the person wrote last, None
    where the last message is the system's.
    """
    from pydantic_ai import messages as m

    merged = _merge(messages)
    prompt = merged.pop().content if merged[-1].role == "user" else None
    history: list[ModelMessage] = []
    for message in merged:
        if message.role == "assistant":
            history.append(m.ModelResponse(parts=[m.TextPart(message.content)]))
        elif message.role == "user":
            history.append(m.ModelRequest(parts=[m.UserPromptPart(message.content)]))
        else:
            history.append(m.ModelRequest(parts=[m.SystemPromptPart(message.content)]))
    return history, prompt


def _merge(messages: Sequence[Message]) -> list[Message]:
    merged: list[Message] = []
    for message in messages:
        content = _with_attachments(message)
        if merged and merged[-1].role == message.role:
            content = f"{merged.pop().content}\n\n{content}"
        merged.append(Message(message.role, content))
    return merged


def _with_attachments(message: Message) -> str:
    notes = [f"{ATTACHMENT_NOTE} {label}]" for label in message.attachments]
    return "\n\n".join([*([message.content] if message.content else []), *notes])
