"""Checks of what may stand in a question: a long past, other roles, later fields, nonsense."""

from __future__ import annotations

import orjson

from gateway.agents.rpc import encode
from gateway.conformance.base import Check, Failed, Warned
from gateway.conformance.subject import Subject, ask_with, mark, question, shown

LARGE_MESSAGES = 2000
LARGE_BYTES = 1000
"""A message of the large history: 2,000 of them are 2 MB."""

NONSENSE: tuple[tuple[str, bytes], ...] = (
    ("JSON cut off", b'{"sessionId": "sess_1", "messages": [{"role": "us'),
    ("an empty body", b""),
    ("bytes that are no text", b"\xff\xfe\x00\x01"),
    ("a list", b"[1, 2, 3]"),
    ("messages that are a number", b'{"sessionId": "sess_1", "messages": 7}'),
)


async def check_history(subject: Subject) -> str:
    """A whole conversation goes along, and so do several messages at once; what does not wait
    for an answer gets none."""
    word, left = mark(), mark()
    heard = await subject.ask(ask_with([*_past(word), _user("And what was the word again?")]))
    two = [_user("One more thing."), _user("Are you there?")]
    await subject.ask(ask_with([*_past(word), *two], waiting=2))
    await subject.ask(ask_with([{"role": "system", "content": "Be brief."}, *_past(word)[:1]]))
    stopped = _user(f"Please repeat exactly: {left}")
    hello = await subject.ask(ask_with([*_past(word), stopped, _user("Hello! Who are you?")]))
    if subject.is_rpc and left in hello.final.content:
        raise Warned(
            "a message that does not wait was answered",
            "Answer the last `waiting` messages only: what stands before them was stopped.",
        )
    if word in heard.final.content:
        return "answered, out of the history"
    return f"answered {shown(heard.final.content, 40)}"


async def check_large_history(subject: Subject) -> str:
    """Two thousand messages, two megabytes."""
    filler = "so it went on and on " * (LARGE_BYTES // 21)
    roles = ("user", "assistant")
    messages: list[dict[str, object]] = [
        {"role": roles[number % 2], "content": f"{number}: {filler}"}
        for number in range(LARGE_MESSAGES)
    ]
    asked = ask_with([*messages, _user("Please answer in one short sentence.")])
    size = sum(map(len, asked.history)) / 1e6
    try:
        heard = await subject.ask(asked)
    except Failed as error:
        raise Failed(
            error.seen,
            "Read any size, and drop the oldest messages yourself; "
            "or bound them with OPENCLAW_HISTORY_MESSAGES.",
        ) from None
    return f"{LARGE_MESSAGES + 1} messages, {size:.1f} MB, answered in {heard.seconds:.1f} s"


async def check_unknown_fields(subject: Subject) -> str:
    """Fields that it does not know yet are no reason to refuse."""
    asked = ask_with([{**_user("Hello!"), "fieldOfTomorrow": {"a": [1]}}])
    body = orjson.loads(subject.request(asked, stream=False).content)
    body |= {"fieldOfTomorrow": {"deep": [1, None]}, "anotherOne": "x"}
    got = await subject.exchange(subject.altered(asked, encode(body)))
    if 200 <= got.status < 300:
        return "ignored"
    kind = Failed if subject.is_rpc else Warned
    raise kind(f"HTTP {got.status}", "Ignore fields that you do not know: later versions add some.")


async def check_bad_request(subject: Subject) -> str:
    """Nonsense is refused with a 4xx, and hurts nobody."""
    for what, body in NONSENSE:
        got = await subject.exchange(subject.altered(question("Hello!"), body))
        if got.status >= 500:
            raise Failed(
                f"{what}: HTTP {got.status}",
                "Answer 400: a 5xx says that the same call may work later.",
            )
        if not 400 <= got.status < 500:
            raise Failed(f"{what}: HTTP {got.status}", "Refuse what you cannot read with 400.")
    await subject.ask(question("Are you still there?"))
    return f"{len(NONSENSE)} kinds refused with 4xx"


def _past(word: str) -> list[dict[str, object]]:
    return [
        {**_user(f"Hello! The word is {word}."), "context": {"name": "Ann"}},
        {"role": "assistant", "content": f"Hello! I remember {word}."},
        {
            **_user("Look at this."),
            "attachments": [
                {
                    "kind": "image",
                    "mime": "image/png",
                    "name": "cat.png",
                    "size": 3,
                    "error": "gone",
                }
            ],
        },
        {"role": "assistant", "content": "A cat."},
    ]


def _user(text: str) -> dict[str, object]:
    return {"role": "user", "content": text}


CHECKS = (
    Check("history", check_history),
    Check("large history", check_large_history),
    Check("unknown fields", check_unknown_fields),
    Check("bad request", check_bad_request),
)
