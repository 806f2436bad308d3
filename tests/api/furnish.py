"""Fills a data folder with people and their things, and prints who may call: run in a process
of its own, on that folder (`python -m tests.api.furnish`)."""

from __future__ import annotations

import json
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "openclaw_site.settings")

import django

django.setup()

from gateway.api.grants import grant  # noqa: E402  (needs Django set up)
from gateway.api.tokens import SCOPES, make_token  # noqa: E402
from gateway.models import Delivery, Turn  # noqa: E402
from tests.api.kit import person, said, session_of  # noqa: E402
from tests.rows import planned  # noqa: E402


def main() -> None:
    """{"token", "grant"} as JSON."""
    for name in ("Ann", "Bea"):
        contact = person(
            name, user_id="guest_1" if name == "Ann" else "guest_2", notes={"cat": "Tom"}
        )
        session = session_of(contact, context={"topic": "cats"})
        for message in said(session, "hello", "and again"):
            Delivery.objects.create(
                session=session,
                message=message,
                channel="webchat",
                chat_id=session.chat_id,
                text="hi",
                state="failed",
            )
        Turn.objects.create(session=session, upto_seq=1000, state="failed")
        planned(session, next_run="2099-01-01T00:00Z").save()
    secret = make_token("furnish", "everything", SCOPES).secret
    print(json.dumps({"token": secret, "grant": grant(session.pk, seconds=86_400)}))


if __name__ == "__main__":
    main()
