"""The brain that needs no model: skills tried in order, and honest about the rest."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import datetime

from pi.protocol import Event, token, tool_call, tool_result
from pi.skills import MAX_PHRASE, Call, Skill, prepare
from pi.skills.days import days
from pi.skills.files import NOT_HERE, files, write_file
from pi.skills.memory import memory
from pi.skills.place import place
from pi.skills.plans import plans
from pi.skills.small_talk import ATTACHMENT, EMPTY, NOT_PLANNED, UNKNOWN, small_talk
from pi.skills.sums import sums
from pi.toolbox import Toolbox
from pi.tools.dates import Clock, local_now
from pi.transcript import ATTACHMENT_NOTE

MAX_QUESTIONS = 5
MAX_ADDRESS = 2000
WORD_SECONDS = 0.02
ANSWER_SECONDS = 1.5

Sleep = Callable[[float], Awaitable[None]]


class Rules:
    """Answers a message by the first skill that understands it."""

    def __init__(self, clock: Clock = local_now, sleep: Sleep = asyncio.sleep) -> None:
        self.clock = clock
        self.sleep = sleep

    async def answer(
        self, text: str, toolbox: Toolbox, clock: Clock | None = None
    ) -> AsyncGenerator[Event]:
        """Tool events, then the answer in words at a pace one can see.

        Each of the first few lines is a question of its own. `clock` is the person's.
        """
        now = (clock or self.clock)()
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        questions = [text] if write_file(text) else lines
        answers: list[str] = []
        for question in questions[:MAX_QUESTIONS]:
            found = self.find(question, now)
            if isinstance(found, Call) and found.tool not in toolbox:
                found = NOT_HERE.get(found.tool, UNKNOWN)
            if isinstance(found, Call):
                yield tool_call(found.tool, found.arguments)
                used = await toolbox.use(found.tool, found.arguments)
                yield tool_result(found.tool, used.text)
                found = used.text if used.failed else found.say(used.text)
            answers.append(found)
        async for event in self._paced("\n\n".join(dict.fromkeys(answers)) or EMPTY):
            yield event

    def find(self, question: str, now: datetime | None = None) -> Call | str:
        """The tool for one question, or the answer where no tool is needed."""
        if question.startswith(ATTACHMENT_NOTE):
            return ATTACHMENT
        if found := write_file(question) or _file_or_page(question):
            return found
        if len(question) > MAX_PHRASE:
            return UNKNOWN
        then = now or self.clock()
        lower, cased = prepare(question), prepare(question, keep_case=True)
        answer = (
            _first((small_talk,), lower)
            or _first((place, lambda phrase: plans(phrase, then), memory), cased)
            or _first((lambda phrase: days(phrase, then.date()), sums), lower)
            or UNKNOWN
        )
        return NOT_PLANNED if self._beyond(answer, then) else answer

    def _beyond(self, found: Call | str, now: datetime) -> bool:
        """Whether it plans a task that these rules could not do when its time comes."""
        if not isinstance(found, Call) or found.tool != "plan_task":
            return False
        return self.find(found.arguments["task"], now) in (UNKNOWN, NOT_PLANNED)

    async def _paced(self, answer: str) -> AsyncGenerator[Event]:
        pieces = re.findall(r"\s*\S+\s*", answer)
        pause = min(WORD_SECONDS, ANSWER_SECONDS / len(pieces))
        for number, piece in enumerate(pieces):
            if number:
                await self.sleep(pause)
            yield token(piece)


def _file_or_page(question: str) -> Call | None:
    """An address may be longer than other phrases; it is never cut."""
    return files(question) if len(question) <= MAX_ADDRESS else None


def _first(skills: tuple[Skill, ...], phrases: list[str]) -> Call | str | None:
    answers = (skill(phrase) for phrase in phrases for skill in skills)
    return next((answer for answer in answers if answer is not None), None)
