"""A past with all that can happen in it; run in `manage.py shell` on a test's data folder."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from gateway.models import Agent, Delivery, Turn
from sessions_app import clock
from sessions_app.models import Attachment, Contact, Message, Session

XSS = (
    "<img src=x onerror=\"window.hurt=1\"><script>window.hurt=1</script> "
    "[a](javascript:window.hurt=1) `</code><svg onload=window.hurt=1>` </pre></textarea></details>"
    "[d](https://example.com/\"onmouseover=\"window.hurt=1) {{ 7|add:7 }} {% now 'Y' %}"
)  # fmt: skip
LONG_NAME = "Wolfeschlegelsteinhausenbergerdorff" * 7
RIGHT_TO_LEFT = "مرحبا، هل يمكنك مساعدتي في كتابة `code` من فضلك؟"
CODE = (
    "Sure. **Two ways**:\n\n1. `pathlib`\n2. a very long word: " + "x" * 200 + "\n\n```python\n"
    "from pathlib import Path\n\nprint(Path('notes.txt').read_text())  # " + "goes on and on, " * 12
    + "\n```\n\n| way | good for |\n|---|---|\n| pathlib | nearly all |\n"
)  # fmt: skip


class Story:
    """Writes one session, exchange after exchange."""

    def __init__(self, name: str, user_id: str, days_ago: float = 2, **fields: Any) -> None:
        self.at = clock.now() - timedelta(days=days_ago)
        self.agent = Agent.objects.first()
        self.contact, _ = Contact.objects.get_or_create(
            channel="webchat",
            user_id=user_id,
            defaults={"name": name[:255], "access": "allowed"},
        )
        self.session = Session.objects.create(
            channel="webchat",
            scope_key=f"user:{user_id}",
            contact=self.contact,
            chat_id=user_id,
            agent="default",
            created_at=self.at,
            **{"expires_at": clock.now() + timedelta(minutes=9), **fields},
        )
        self.seq = 0

    def later(self, **span: float) -> datetime:
        """Time passes."""
        self.at += timedelta(**span)
        return self.at

    def ask(self, text: str, disposition: str = "answered") -> Message:
        """The person writes."""
        self.seq += 1000
        return self._message(self.seq, "user", "user", text, disposition=disposition)

    def turn(self, state: str = "done", **fields: Any) -> Turn:
        """The agent was called."""
        start = self.at + timedelta(milliseconds=40)
        times = {
            "queued_at": self.at,
            "started_at": start,
            "first_token_at": start + timedelta(milliseconds=380),
            "ended_at": start + timedelta(seconds=3),
        }
        return Turn.objects.create(
            session=self.session,
            upto_seq=self.seq,
            agent=self.agent,
            state=state,
            **{"attempts": 1, **times, **fields},
        )

    def answer(self, text: str, parts: int = 1, origin: str = "agent", **fields: Any) -> Message:
        """What came back, in parts that were sent."""
        role = "system" if origin == "system" else "assistant"
        place = self.seq + (1 if origin != "operator" else 500)
        message = self._message(place, role, origin, text)
        for part in range(parts):
            self.part(message, part, state="sent", receipt=f"r-{part}", sent_at=self.at, **fields)
        return message

    def part(self, message: Message, number: int, **fields: Any) -> Delivery:
        """One outgoing part."""
        return Delivery.objects.create(
            session=self.session,
            message=message,
            part=number,
            channel="webchat",
            chat_id=self.session.chat_id,
            text=message.text,
            **{"attempts": 1, **fields},
        )

    def end(self) -> str:
        """The session's id."""
        Session.objects.filter(pk=self.session.pk).update(
            last_seq=max([self.seq, *self.session.messages.values_list("seq", flat=True)]),
            last_activity=self.at,
        )
        return self.session.pk

    def _message(self, seq: int, role: str, origin: str, text: str, **fields: Any) -> Message:
        return Message.objects.create(
            session=self.session,
            seq=seq,
            role=role,
            origin=origin,
            text=text,
            channel="webchat",
            created_at=self.at,
            sender=self.contact.user_id if role == "user" else "",
            **fields,
        )


def everything() -> str:
    """One conversation with all there is, of a person with earlier and later ones."""
    Story("Ada Lovelace", "guest_1", 9, id="sess_0001", state="terminated").end()
    story = Story("Ada Lovelace", "guest_1", id="sess_0002")
    story.ask("Hello! How do I read a file?\nSee https://example.com/docs")
    story.turn(
        usage={"prompt_tokens": 312, "completion_tokens": 188},
        events=[{"kind": "tool_call", "data": {"name": "search", "arguments": {"q": XSS}}}],
    )
    story.later(seconds=4)
    message = story.answer(CODE, parts=2)
    Attachment.objects.create(message=message, kind="photo", name=XSS[:200], size=4096)
    story.later(days=1)
    story.ask(RIGHT_TO_LEFT)
    story.turn()
    story.answer(RIGHT_TO_LEFT + "\n\n- " + RIGHT_TO_LEFT)
    story.later(minutes=5)
    story.ask(XSS)
    story.turn()
    story.answer(f"{XSS}\n\n```html\n{XSS}\n```")
    story.later(hours=3)
    story.ask("This one breaks", "failed")
    story.turn("failed", error_code="interrupted", error_detail=f"no end {XSS}",
               partial_text=f"I was about **to {XSS}", attempts=3)  # fmt: skip
    story.answer("Sorry, something went wrong.", origin="system")
    story.later(minutes=1)
    story.ask("This one crashed us", "failed")
    story.turn("quarantined", error_code="quarantined", crashes=5, ended_at=None)
    story.later(minutes=9)
    story.ask("Did you send it?")
    story.turn()
    message = story.answer("Here it is, in three parts.")
    story.part(message, 1, state="failed", attempts=4, error_code="refused",
               error_detail=f"chat not found {XSS}", trace=[{"detail": XSS}])  # fmt: skip
    story.part(message, 2, state="unsure", error_code="timeout", error_detail="may have arrived")
    story.later(minutes=1)
    story.ask("stop that", "silent")
    story.turn("cancelled", partial_text="Well, let me")
    story.answer("This is Grace. I take over.", origin="operator", parts=0)
    story.later(minutes=1)
    story.ask("Thanks!")
    story.turn(first_token_at=None)
    story.end()
    Story("Ada Lovelace", "guest_1", 1, id="sess_0003", state="terminated").end()
    return story.session.pk


def named(name: str, user_id: str) -> str:
    """A short conversation of somebody with this name."""
    story = Story(name, user_id)
    story.ask("Hello")
    story.turn()
    story.answer("Hello!")
    return story.end()


def stuck() -> str:
    """A short conversation whose answer cannot be sent yet."""
    story = Story("Waiting Long", "guest_stuck")
    story.ask("Hello")
    story.turn()
    message = story.answer("Hello!", parts=0)
    story.part(message, 0, state="queued", not_before=clock.now() + timedelta(days=1))
    return story.end()


def ten_thousand() -> str:
    """A conversation of 10,000 messages."""
    story = Story("Long Talk", "guest_long", 30)
    start = story.at
    rows = []
    for number in range(1, 5001):
        at = start + timedelta(minutes=8 * number)
        for place, role in ((0, "user"), (1, "assistant")):
            rows.append(
                Message(
                    session=story.session, seq=number * 1000 + place, role=role, created_at=at,
                    origin="agent" if place else "user", channel="webchat",
                    text=f"{'Answer' if place else 'Question'} number {number}",
                )
            )  # fmt: skip
    Message.objects.bulk_create(rows, batch_size=2000)
    story.seq = 5000 * 1000
    story.at = clock.now()
    return story.end()
