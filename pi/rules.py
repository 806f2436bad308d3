"""The brain that needs no model: skills tried in order, and honest about the rest."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date
from typing import TYPE_CHECKING

from pi.skills import MAX_PHRASE, Skill, prepare
from pi.skills.days import Days
from pi.skills.small_talk import ATTACHMENT, EMPTY, UNKNOWN, small_talk
from pi.skills.sums import sums
from pi.tools.dates import Calendar, Clock, local_now

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.models.function import AgentInfo

MAX_QUESTIONS = 5
WORD_SECONDS = 0.02
ANSWER_SECONDS = 1.5
ATTACHMENT_NOTE = "[attachment:"

Sleep = Callable[[float], Awaitable[None]]


class Rules:
    """Answers a message by the first skill that understands it."""

    def __init__(self, clock: Clock = local_now, sleep: Sleep = asyncio.sleep) -> None:
        self._calendar = Calendar(clock)
        self._skills: tuple[Skill, ...] = (small_talk, Days(self._calendar), sums)
        self._sleep = sleep

    @property
    def today(self) -> date:
        """The day it is by this clock."""
        return self._calendar.today

    def reply(self, text: str) -> str:
        """The whole answer. Each of the first few lines is a question of its own."""
        questions = [line.strip() for line in text.splitlines() if line.strip()]
        if not questions:
            return EMPTY
        answers = [self.reply_to(question) for question in questions[:MAX_QUESTIONS]]
        return "\n\n".join(dict.fromkeys(answers))

    def reply_to(self, question: str) -> str:
        """The answer to one question."""
        if question.startswith(ATTACHMENT_NOTE):
            return ATTACHMENT
        if len(question) > MAX_PHRASE:
            return UNKNOWN
        answers = (skill(phrase) for phrase in prepare(question) for skill in self._skills)
        found = next((answer for answer in answers if answer is not None), None)
        return found or UNKNOWN

    async def stream(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        """The answer in words, at a pace one can see, in no more than `ANSWER_SECONDS`."""
        pieces = re.findall(r"\s*\S+\s*", self.reply(newest_text(messages)))
        pause = min(WORD_SECONDS, ANSWER_SECONDS / len(pieces))
        for number, piece in enumerate(pieces):
            if number:
                await self._sleep(pause)
            yield piece


def newest_text(messages: list[ModelMessage]) -> str:
    """What the person wrote since the last answer."""
    from pydantic_ai.messages import ModelResponse, UserPromptPart

    texts: list[str] = []
    for message in messages:
        if isinstance(message, ModelResponse):
            texts = []
            continue
        parts = (part for part in message.parts if isinstance(part, UserPromptPart))
        texts += [part.content for part in parts if isinstance(part.content, str)]
    return "\n\n".join(texts)
