"""Stores a past in the data folder that the environment names: `python -m bench.seed 100000`.

Every conversation is still open, every message answered and every answer sent, so that a
start has to look at all that a start looks at.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

import django

if TYPE_CHECKING:
    from sessions_app.models import Message, Session

PER_SESSION = 100
"""Messages of one conversation, half of them answers."""

BATCH = 2000


def store(messages: int) -> None:
    """Add this many messages with the sessions, turns and deliveries that belong to them."""
    from django.db import transaction

    from gateway.models import Delivery, Turn
    from sessions_app.models import Contact, Message, Session

    count = -(-messages // PER_SESSION)
    with transaction.atomic():
        contacts = Contact.objects.bulk_create(
            Contact(channel="telegram", user_id=str(number), access=Contact.Access.ALLOWED)
            for number in range(1, count + 1)
        )
        sessions = Session.objects.bulk_create(
            Session(
                channel="telegram",
                scope_key=f"user:{contact.user_id}",
                contact=contact,
                chat_id=contact.user_id,
                agent="default",
                last_seq=PER_SESSION * 1000,
            )
            for contact in contacts
        )
        Message.objects.bulk_create(list(_messages(sessions))[:messages], batch_size=BATCH)
        answers = Message.objects.filter(role=Message.Role.ASSISTANT)
        Turn.objects.bulk_create(
            [
                Turn(session_id=session, upto_seq=seq, state=Turn.State.DONE, attempts=1)
                for session, seq in answers.values_list("session_id", "seq")
            ],
            batch_size=BATCH,
        )
        Delivery.objects.bulk_create(
            [
                Delivery(
                    session_id=answer.session_id,
                    message=answer,
                    channel="telegram",
                    chat_id=answer.session.chat_id,
                    text=answer.text,
                    state=Delivery.State.SENT,
                    receipt=str(answer.pk),
                )
                for answer in answers.select_related("session")
            ],
            batch_size=BATCH,
        )


def _messages(sessions: list[Session]) -> Iterator[Message]:
    from sessions_app.models import SEQ_STEP, Message

    for session in sessions:
        for number in range(1, PER_SESSION // 2 + 1):
            seq = number * SEQ_STEP
            yield Message(
                session=session,
                seq=seq,
                role=Message.Role.USER,
                origin=Message.Origin.USER,
                text="a stored question",
                channel="telegram",
                external_id=f"{session.chat_id}:{number}",
                sender=session.chat_id,
                disposition=Message.Disposition.ANSWERED,
            )
            yield Message(
                session=session,
                seq=seq + 1,
                role=Message.Role.ASSISTANT,
                origin=Message.Origin.AGENT,
                text="a stored answer, somewhat longer than the question was",
                channel="telegram",
            )


def main() -> None:
    """Store as many messages as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("messages", type=int)
    arguments = parser.parse_args()
    django.setup()
    store(arguments.messages)


if __name__ == "__main__":
    main()
