"""`manage.py invite NAME`: a link by which one guest may use the web chat."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from gateway.invitations import MAX_AGE, Guest, base_url, invitation_url, new_guest
from gateway.ledger import by_hand

NAME_LIMIT = 100


class Command(BaseCommand):
    """Prints the link on stdout and what to know about it on stderr."""

    help = (
        "Prints an invitation link to the web chat for one guest. "
        'Example: manage.py invite "Ada Lovelace"'
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="What the guest is called here.")
        parser.add_argument(
            "--guest",
            metavar="ID",
            help="A new link for the guest you invited before (guest_…), same conversation.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        name = " ".join(options["name"].split())
        if not name or len(name) > NAME_LIMIT:
            raise CommandError(f"A name has 1 to {NAME_LIMIT} characters.")
        user_id = options["guest"]
        if user_id is not None and not user_id.startswith("guest_"):
            raise CommandError("A guest's id starts with guest_; the contact's page shows it.")
        guest = Guest(user_id, name) if user_id else new_guest(name)
        try:
            again = {"again": True} if user_id else {}
            by_hand.keep("invite", [(f"guest {guest.user_id}", {"name": guest.name, **again})])
        except DatabaseError as error:
            raise CommandError(
                f"Not written to the audit: {error}. Run manage.py migrate."
            ) from None
        self.stdout.write(invitation_url(guest.user_id, guest.name, base_url()))
        self.stderr.write(
            f"For {guest.name} ({guest.user_id}). Whoever opens it is this guest; "
            f"it can be opened for {MAX_AGE.days} days."
        )
