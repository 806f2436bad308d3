"""Checks of many at once: each session gets its own answer, and nobody waits for the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from gateway.conformance.base import Check, Failed, Warned
from gateway.conformance.subject import Heard, Subject, mark, question

SESSIONS = 10
ROUNDS = 2
NOTICEABLE_SECONDS = 0.1
"""Answers faster than this tell nothing about waiting."""


async def check_parallel(subject: Subject) -> str:
    """Ten sessions at once, twice: answers belong to their session, and health is answered."""
    hello = "Hello! Please answer in one short sentence."
    alone = min([(await subject.ask(question(hello))).seconds for _ in range(ROUNDS)])
    words = [mark() for _ in range(SESSIONS)]
    started = time.monotonic()
    for _ in range(ROUNDS):
        answers = await _ask_all(subject, words)
        _require_apart(words, answers)
    seconds = (time.monotonic() - started) / ROUNDS
    if alone > NOTICEABLE_SECONDS and seconds > alone * SESSIONS * 0.6:
        raise Warned(
            f"one alone {alone:.1f} s, {SESSIONS} at once {seconds:.1f} s",
            "Calls wait for each other; serve sessions side by side if you can.",
        )
    return f"{SESSIONS} sessions at once, each its own answer, in {seconds:.1f} s"


async def _ask_all(subject: Subject, words: Sequence[str]) -> list[Heard]:
    calls = [
        subject.ask(
            question(
                f"Hello! My word is {word}. Please repeat it.",
                session=f"sess_{word}",
                person=word,
            )
        )
        for word in words
    ]
    results = await asyncio.gather(subject.probe(), *calls, return_exceptions=True)
    health, answers = results[0], results[1:]
    failed = [result for result in answers if isinstance(result, BaseException)]
    for error in failed:
        if not isinstance(error, Failed):
            raise error
        raise Failed(f"{len(failed)} of {len(words)} not answered: {error.seen}", error.hint)
    if isinstance(health, str):
        raise Failed(f"health meanwhile: {health}", "Answer /health also while you work.")
    return [result for result in answers if isinstance(result, Heard)]


def _require_apart(words: Sequence[str], answers: Sequence[Heard]) -> None:
    """No answer holds a word of another session."""
    for word, heard in zip(words, answers, strict=True):
        said = heard.final.content + heard.tokens
        if any(other in said for other in words if other != word):
            raise Failed(
                "an answer belongs to another session",
                "Keep nothing of a call outside of it: it is all in the request.",
            )


CHECKS = (Check("parallel", check_parallel),)
