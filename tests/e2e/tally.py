"""Counts what was said and what was answered, message by message, from the outside.

Every message carries an id like `m000042`; the fake agent repeats the texts it
answers. So each reply names the messages it answers, and loss, doubling, order
and wrong recipients can be counted exactly.
"""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from dataclasses import dataclass, field

from tests.fakes.telegram import FakeTelegram, Sent

MARK = "(repeated after an interruption)"
NOTICE = "Sorry, something went wrong and I could not answer. Please try again."
_ID = re.compile(r"\bm\d{6}\b")


@dataclass(slots=True)
class Answers:
    """The replies in which one message was answered."""

    chat: int
    replies: list[Sent] = field(default_factory=list)


class Tally:
    """`new_id` before saying something, `all_answered` while waiting, `problems` at the end."""

    def __init__(self, telegram: FakeTelegram) -> None:
        self._telegram = telegram
        self._read = 0
        self._chats: set[int] = set()
        self._lock = threading.Lock()
        self.said: dict[str, Answers] = {}
        self.open: set[str] = set()
        self.notices: list[Sent] = []
        self.strange: list[Sent] = []

    def new_id(self, chat: int) -> str:
        """The id of a message that is about to be said in `chat`."""
        with self._lock:
            name = f"m{len(self.said):06d}"
            self.said[name] = Answers(chat)
            self._chats.add(chat)
            self.open.add(name)
            return name

    def all_answered(self) -> bool:
        """Whether every message has a reply by now."""
        self.read()
        return not self.open

    def answered(self, name: str) -> bool:
        """Whether one message has a reply by now."""
        self.read()
        return bool(self.said[name].replies)

    def read(self) -> None:
        """Look at what was sent since the last look."""
        with self._lock:
            sent, self._read = self._telegram.sent[self._read :], len(self._telegram.sent)
            for reply in sent:
                names = _ID.findall(reply.text)
                if reply.text.replace(MARK, "").strip() == NOTICE:
                    self.notices.append(reply)
                elif not names or reply.chat_id not in self._chats:
                    self.strange.append(reply)
                for name in dict.fromkeys(names):
                    self.said[name].replies.append(reply)
                    self.open.discard(name)

    def marked(self) -> int:
        """How many replies carried the mark of a repeat."""
        self.read()
        replies = {id(r): r for answers in self.said.values() for r in answers.replies}
        return sum(MARK in reply.text for reply in replies.values())

    def problems(self, reported: set[str] | None = None) -> dict[str, list[str]]:
        """Broken promises by kind; empty when all were kept. `reported`: failed, and said so."""
        self.read()
        found = {
            "lost": sorted(self.open - (reported or set())),
            "doubled unlabelled": [name for name, a in self.said.items() if _doubled(a)],
            "answered twice": [name for name, a in self.said.items() if len(_texts(a)) > 1],
            "wrong chat": [
                name
                for name, answers in self.said.items()
                if any(reply.chat_id != answers.chat for reply in answers.replies)
            ],
            "out of order": self._out_of_order(),
            "unasked": [f"{reply.chat_id}: {reply.text}" for reply in self.strange]
            + [f"notice to {n.chat_id}" for n in self.notices if n.chat_id not in self._chats],
        }
        return {kind: names for kind, names in found.items() if names}

    def _out_of_order(self) -> list[str]:
        last: defaultdict[int, float] = defaultdict(float)
        late = []
        for name, answers in self.said.items():  # in the order in which they were said
            if answers.replies:
                first = answers.replies[0].at
                if first < last[answers.chat]:
                    late.append(name)
                last[answers.chat] = max(last[answers.chat], first)
        return late


def _doubled(answers: Answers) -> bool:
    return any(MARK not in reply.text for reply in answers.replies[1:])


def _texts(answers: Answers) -> set[str]:
    return {reply.text.replace(MARK, "").strip() for reply in answers.replies}
