"""The conversation so far, as the brains read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pi.protocol import Message

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage

ATTACHMENT_NOTE = "[attachment:"


def pending(messages: Sequence[Message]) -> list[Message]:
    """What the person wrote since the last answer."""
    last = max((at for at, one in enumerate(messages) if one.role == "assistant"), default=-1)
    return [message for message in messages[last + 1 :] if message.role == "user"]


def newest_text(messages: Sequence[Message]) -> str:
    """The text of what waits for an answer."""
    return "\n\n".join(text for one in pending(messages) if (text := written(one)))


def written(message: Message) -> str:
    """A message's text, with a line for each attachment."""
    notes = [f"{ATTACHMENT_NOTE} {label}]" for label in message.attachments]
    return "\n\n".join([*([message.content] if message.content else []), *notes])


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
        content = written(message)
        if merged and merged[-1].role == message.role:
            content = f"{merged.pop().content}\n\n{content}"
        merged.append(Message(message.role, content))
    return merged
