"""The conversation so far, as the brains read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pi.protocol import Message

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage

ATTACHMENT_NOTE = "[attachment:"
LEFT = "left unanswered, and not to be answered or done now"


def pending(messages: Sequence[Message], waiting: int | None = None) -> list[Message]:
    """What the person wrote and waits for an answer: of the last `waiting` messages.

    A gateway that does not say how many these are means all since the last answer.
    """
    start = _answered(messages) if waiting is None else max(len(messages) - waiting, 0)
    return [message for message in messages[start:] if message.role == "user"]


def newest_text(messages: Sequence[Message], waiting: int | None = None) -> str:
    """The text of what waits for an answer."""
    return "\n\n".join(text for one in pending(messages, waiting) if (text := written(one)))


def written(message: Message) -> str:
    """A message's text, with a line for each attachment."""
    notes = [f"{ATTACHMENT_NOTE} {label}]" for label in message.attachments]
    return "\n\n".join([*([message.content] if message.content else []), *notes])


def to_history(
    messages: Sequence[Message], waiting: int | None = None
) -> tuple[list[ModelMessage], str | None]:
    """pydantic-ai's history and the prompt.

    Neighbours of one role become one message, because the chat templates of some
    models refuse two in a row. The prompt is what the person wrote last, None
    where the last message is the system's. What stands before it unanswered, and does
    not wait (it was stopped, or it failed), is marked as such.
    """
    from pydantic_ai import messages as m

    merged = _merge(_left_marked(messages, waiting))
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


def _answered(messages: Sequence[Message]) -> int:
    """Where begins what came after the last answer."""
    return max((at + 1 for at, one in enumerate(messages) if one.role == "assistant"), default=0)


def _left_marked(messages: Sequence[Message], waiting: int | None) -> list[Message]:
    """The same, with a mark around what is not to be answered any more."""
    last = _answered(messages)
    due = last if waiting is None else max(len(messages) - waiting, last)
    marked = [
        Message("user", f"[{LEFT}: {written(one)}]") if one.role == "user" else one
        for one in messages[last:due]
    ]
    return [*messages[:last], *marked, *messages[due:]]


def _merge(messages: Sequence[Message]) -> list[Message]:
    merged: list[Message] = []
    for message in messages:
        content = written(message)
        if merged and merged[-1].role == message.role:
            content = f"{merged.pop().content}\n\n{content}"
        merged.append(Message(message.role, content))
    return merged
