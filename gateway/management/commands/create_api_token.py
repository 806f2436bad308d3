"""`manage.py create_api_token NAME`: a token of the HTTP API, shown once."""

from __future__ import annotations

import getpass
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway.api.tokens import SCOPES, BadScope, make_token
from sessions_app import clock
from sessions_app.models import Contact

NAME_LIMIT = 64


class Command(BaseCommand):
    """Prints the token on stdout and what to know about it on stderr."""

    help = (
        "Makes a bearer token for the HTTP API and shows it once. "
        "Example: manage.py create_api_token reports --scope sessions:read --days 30"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="What it is called in the audit.")
        parser.add_argument(
            "--scope",
            action="append",
            default=[],
            metavar="SCOPE",
            help=f"What it may do; give it once for each of: {', '.join(SCOPES)}; or 'all'.",
        )
        parser.add_argument(
            "--contact",
            metavar="CHANNEL:USER_ID",
            help="Only this person's own conversation, for example webchat:guest_1.",
        )
        parser.add_argument("--days", type=float, help="Until when; without it for good.")

    def handle(self, *args: Any, **options: Any) -> None:
        name = " ".join(options["name"].split())
        if not name or len(name) > NAME_LIMIT:
            raise CommandError(f"A name has 1 to {NAME_LIMIT} characters.")
        days = options["days"]
        if days is not None and not 0 < days <= 36_500:
            raise CommandError("Days are a number above zero.")
        scopes = list(SCOPES) if "all" in options["scope"] else options["scope"]
        contact = _contact(options["contact"]) if options["contact"] else None
        expires_at = clock.now() + timedelta(days=days) if days else None
        actor = f"{getpass.getuser()} (command line)"
        try:
            made = make_token(actor, name, scopes, contact, expires_at)
        except BadScope as error:
            raise CommandError(f"{str(error)[0].upper()}{str(error)[1:]}.") from None
        self.stdout.write(made.secret)
        until = f" until {expires_at:%Y-%m-%d %H:%M} UTC" if expires_at else ""
        whom = f" for {contact}" if contact else ""
        self.stderr.write(
            f"{name} may: {', '.join(made.row.scopes)}{whom}{until}. It is not shown again; "
            "API tokens in the admin can be revoked."
        )


def _contact(said: str) -> Contact:
    """Raises `CommandError` where nobody is known by it."""
    channel, _, user_id = said.partition(":")
    found = Contact.objects.filter(channel=channel, user_id=user_id).first()
    if found is None:
        raise CommandError(f"Nobody is known as {said}. Give it as CHANNEL:USER_ID.")
    return found
